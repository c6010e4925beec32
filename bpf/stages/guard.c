/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * GUARD (tcx, behind an XDP chain on the same device): what has not been through
 * the chain does not get in.
 *
 * Generic XDP is skipped for packets that nft `fwd` or tc mirred ever
 * redirected, so a client with NET_ADMIN in its own namespace walks past the
 * chain; tcx sees all. The mark is cleared before anybody else sees it.
 */

static __always_inline int stage_guard(FRAME *skb)
{
	u32 number = (u32)bpf_pseudo_fd(0, ENDPOINT_IMMEDIATE);
	struct endpoint *endpoint = endpoint_get(number);
	struct packet packet;
	u64 *mark;
	int kind;

	if (!endpoint)
		return keep_out(REASON_INTERNAL);
	if (!(endpoint->flags & ENDPOINT_ENFORCED))
		return unjudged();
	mark = (void *)(long)skb->data_meta;
	if ((void *)(mark + 1) <= (void *)(long)skb->data && *mark == endpoint->mark) {
		*mark = 0;
		/* A segment made from a GSO frame is one segment now. */
		if (skb->gso_size && skb->len < skb->gso_size)
			bpf_skb_change_tail(skb, skb->len, 0);
		return unjudged();
	}
	bpf_skb_pull_data(skb, 0);
	kind = parse_packet((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len,
			    &packet);
	if (kind == PACKET_NOT_IP)
		return unjudged();
	return keep_out(REASON_NO_MARK);
}
