/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A drained flow: the server has answered before the request's body had ended
 * (an early answer), or has closed its side. What the client says from then on is
 * acknowledged by us and thrown away.
 *
 * As Envoy does, an early answer goes through whole, and then the connection is
 * closed. Where an answer ends is not known here; it is taken for whole when
 *
 *   the client has acknowledged all of it, and has room for more,
 *   the client has sent more than the request's body (or, in chunks, perhaps
 *   so), or its FIN, and
 *   neither the server nor the client's acknowledgement has moved for a while.
 *
 * A packet that lacks only the last is dropped: it comes again. To acknowledge it
 * would be to promise an answer to the request in it.
 *
 * The server's own segments acknowledge less than we do, and the client drops
 * them when that is further back than the largest window it has seen (RFC 5961 5.2).
 * So no more than DRAIN_AHEAD is acknowledged before the answer is whole, except to
 * a client that has no room: it may be one that reads when it has sent all.
 */
#ifndef BPFAST_LIB_DRAIN_H
#define BPFAST_LIB_DRAIN_H

#include "flow.h"

/*
 * How long it must have been quiet. Behind the body's end a client speaks when it has
 * its answer, or pipelines. Else it is a guess, which has to outlast a round trip
 * to the server and TCP's probe of a window that is nearly full (200 ms).
 */
#define QUIET_BEHIND_NS 100000000LL
#define QUIET_GUESS_NS 500000000LL
#define DRAIN_AHEAD 65535
#define TCP_WINDOW_AT 14

/* What is to become of a packet of a drained flow. */
enum drain {
	DRAIN_TO_SERVER = 0, /* what it acknowledges, without payload */
	DRAIN_ACKNOWLEDGE,   /* to the client; the payload is thrown away */
	DRAIN_DROP,
	DRAIN_CLOSE, /* FIN to the client */
};

/* Behind answer_end: bytes of a body of known length. */
static __always_inline u64 drain_left(const struct flow *flow)
{
	return flow->head.phase == PHASE_BODY && !in_chunks(&flow->head) ? flow->head.length : 0;
}

/* Has the client room for more? */
static __always_inline int drain_room(FRAME *ctx, const struct context *c)
{
	u16 window = 0;

	return !frame_load(ctx, c->packet.l4 + TCP_WINDOW_AT, &window, sizeof(window)) && window;
}

/* A packet with payload or FIN. */
static __always_inline u32 drain_bytes(FRAME *ctx, const struct context *c, const struct flow *flow,
				       u64 now)
{
	const struct packet *packet = &c->packet;
	u32 end = packet->seq + packet->length, closed = watched(flow->server) & SERVER_FIN;
	s64 ahead = distance(end, flow->answer_end);
	int chunked = in_chunks(&flow->head), fin = packet->flags & TCP_FIN;
	int behind = !chunked && ahead > 0 && (u64)ahead > drain_left(flow);
	int room = drain_room(ctx, c), heard = room && packet->ack == watched(flow->sent);
	s64 quiet = now - flow->server_time; /* the watcher's clock may be ahead */

	if (!closed && (behind || fin || (chunked && heard && ahead > 0))) {
		if (heard && ahead >= 0 && !after(packet->seq, flow->answer_end) &&
		    quiet > (behind ? QUIET_BEHIND_NS : QUIET_GUESS_NS))
			return DRAIN_CLOSE;
		return DRAIN_DROP;
	}
	if (ahead <= 0 || !room || end - flow->expected <= DRAIN_AHEAD)
		return DRAIN_ACKNOWLEDGE;
	return heard && (closed || quiet > QUIET_GUESS_NS) ? DRAIN_ACKNOWLEDGE : DRAIN_DROP;
}

/* Under the claim. Not for resets. */
static __always_inline u32 drain(FRAME *ctx, struct context *c, struct flow *flow)
{
	struct packet *packet = &c->packet;
	u32 sent = watched(flow->sent);
	u64 now = bpf_ktime_get_ns();

	if (!near(packet->seq, flow->answer_end) || after(packet->ack, sent) ||
	    !near(packet->ack, sent)) {
		c->reason = REASON_BAD_NUMBERS;
		return DRAIN_DROP;
	}
	flow->stage_time = now;
	/* The server must learn of it, or it would wait for its own timer; payload comes again. */
	if (after(packet->ack, flow->client_acked)) {
		flow->client_acked = packet->ack;
		flow->server_time = now;
		if (!flow->resets)
			return DRAIN_TO_SERVER;
	}
	if (!packet->length && !(packet->flags & TCP_FIN))
		return DRAIN_TO_SERVER;
	return drain_bytes(ctx, c, flow, now);
}

/* Bytes up to `end` are acknowledged: what of the body is left? */
static __always_inline void drain_to(struct flow *flow, u32 end)
{
	s32 ahead = distance(end, flow->answer_end);
	u64 left = drain_left(flow);

	if (ahead <= 0)
		return;
	if (left)
		flow->head.length = (u64)ahead < left ? left - ahead : 0;
	flow->answer_end = end;
}

#endif /* BPFAST_LIB_DRAIN_H */
