/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SWEEP: never attached; user space runs it (BPF_PROG_TEST_RUN) on a flow that
 * it names in the map of the same name, since a flow may only be deleted under
 * its claim and only a program can take that.
 */

/* Another CPU may have written a time after `now` was read. */
static __always_inline int is_past(u64 time, u64 now)
{
	return (s64)(now - time) > 0;
}

static __always_inline int is_stale(const struct flow *flow, u64 now)
{
	u32 server = watched(flow->server);

	if (server & SERVER_RST)
		return 1;
	if (flow->stage == FLOW_DRAINED && !is_past(flow->server_time + ANSWERED_NS, now))
		return 0; /* a long answer is still on its way */
	if (flow->stage != FLOW_OPEN)
		return is_past(flow->stage_time + ANSWERED_NS, now);
	return server & SERVER_FIN && is_past(flow->server_time + SERVER_FIN_NS, now);
}

static __always_inline int stage_sweep(FRAME *ctx)
{
	u32 zero = 0;
	struct sweep *sweep = bpf_map_lookup_elem(MAP(MAP_SWEEP), &zero);
	struct flow_key key;
	struct flow *flow;

	if (!sweep)
		return XDP_ABORTED;
	sweep->deleted = 0;
	key = sweep->key;
	flow = flow_get(&key);
	if (!flow || !flow_claim(flow, &key))
		return XDP_PASS;
	if (sweep->force || is_stale(flow, bpf_ktime_get_ns())) {
		flow_delete(flow, &key);
		sweep->deleted = 1;
	} else {
		flow_release(flow);
	}
	return XDP_PASS;
}
