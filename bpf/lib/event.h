/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Events of verdicts and answers, at most EVENTS_A_SECOND a CPU: a flood of denied requests
 * must not become a flood of work for the reader. What is not sent is counted.
 */
#ifndef BPFAST_LIB_EVENT_H
#define BPFAST_LIB_EVENT_H

#include "verdict.h"

/* One token window a CPU; `now` is an argument so that only callers read the clock. */
static __always_inline struct rate *rate_get(u64 now)
{
	u32 zero = 0;
	struct rate *rate = bpf_map_lookup_elem(MAP(MAP_RATES), &zero);

	if (rate && now - rate->since > RATE_WINDOW_NS) {
		rate->since = now;
		rate->events = 0;
		rate->resets = 0;
	}
	return rate;
}

static __always_inline int rate_takes_event(u64 now)
{
	struct rate *rate = rate_get(now);

	if (!rate || rate->events >= EVENTS_A_SECOND)
		return 0;
	rate->events++;
	return 1;
}

static __always_inline int rate_takes_reset(u64 now)
{
	struct rate *rate = rate_get(now);

	if (!rate || rate->resets >= RESETS_A_SECOND)
		return 0;
	rate->resets++;
	return 1;
}

/* The first bytes of the current head and what lies behind it, from the copy that is kept anyway. */
static __always_inline u32 event_head(struct event *event, struct context *c, struct flow *flow)
{
	u32 index = c->head.start - c->copy_base;
	u32 bytes = c->kept_end - c->head.start;
	u32 i;

	if (index >= INLINE_COPY || bytes > LARGE_COPY)
		return 0;
	if (bytes > INLINE_COPY - index)
		bytes = INLINE_COPY - index;
	if (bytes > EVENT_BYTES)
		bytes = EVENT_BYTES;
	bytes = bounded(bytes, EVENT_BYTES * 2 - 1);
#pragma clang loop unroll(disable)
	for (i = 0; i < EVENT_BYTES; i++) {
		opaque(i);
		if (i >= bytes)
			break;
		event->bytes[bounded(i, EVENT_BYTES - 1)] =
			flow->copy[bounded(index + i, INLINE_COPY - 1)];
	}
	return i;
}

/* Report a verdict on the head in `c`; `flow` may be 0 (no head is shown then). */
static __always_inline void report(struct context *c, struct flow *flow, u32 verdict, u32 reason)
{
	struct event *event;
	u64 now;

	if (c->event_mode == EVENTS_NONE ||
	    (c->event_mode == EVENTS_DENIED && verdict == VERDICT_ALLOW))
		return;
	now = bpf_ktime_get_ns();
	if (verdict == VERDICT_ALLOW && !c->asked_time) {
		c->asked_time = now;
		c->asked_at = flow ? c->head.start - flow->client_start : 0;
	}
	event = rate_takes_event(now) ? bpf_ringbuf_reserve(MAP(MAP_EVENTS), sizeof(*event), 0) : 0;
	if (!event) {
		count(COUNT_EVENTS_LOST);
		return;
	}
	event->time = now;
	event->nanoseconds = c->began ? now - c->began : 0;
	event->peer = c->direction == DIRECTION_EGRESS ? c->key.local : c->key.peer;
	event->endpoint = c->endpoint;
	event->rule_set = flow ? flow->rule_set : 0;
	event->serial = flow ? c->head.serial : 0;
	event->rule = verdict == VERDICT_ALLOW ? c->rule : RULE_NONE;
	event->offset = flow ? c->head.start - flow->client_start : 0;
	event->peer_port = swap16(c->key.peer_port);
	event->port = swap16(c->key.port);
	event->verdict = verdict;
	event->reason = reason;
	event->direction = c->direction;
	event->length = flow ? event_head(event, c, flow) : 0;
	/* The reader looks by itself: waking it costs more than the event. */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* Report that an answer has begun; `asked` is when its request passed, `asked_at` where it stood. */
static __always_inline void report_response(const struct endpoint *endpoint,
					    const struct flow_key *key, u64 asked, u32 asked_at,
					    u32 status)
{
	u32 direction = endpoint->flags & ENDPOINT_EGRESS ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	struct response *response;
	u64 now = bpf_ktime_get_ns();

	response = rate_takes_event(now) ?
			   bpf_ringbuf_reserve(MAP(MAP_EVENTS), sizeof(*response), 0) :
			   0;
	if (!response) {
		count(COUNT_EVENTS_LOST);
		return;
	}
	response->time = now;
	response->nanoseconds = now - asked;
	response->peer = direction == DIRECTION_EGRESS ? key->local : key->peer;
	response->endpoint = key->endpoint;
	response->offset = asked_at;
	response->peer_port = swap16(key->peer_port);
	response->port = swap16(key->port);
	response->status = status;
	response->direction = direction;
	bpf_ringbuf_submit(response, BPF_RB_NO_WAKEUP);
}

#endif /* BPFAST_LIB_EVENT_H */
