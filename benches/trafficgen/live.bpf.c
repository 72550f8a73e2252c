// SPDX-License-Identifier: Apache-2.0
// Makes one frame of each run: the kernel hands in a page of its own, this program writes the headers and sends it out
// of an interface. No skb exists, so one core offers far more than a forwarder on
// another core can take.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "live.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct live_state);
} state SEC(".maps");

SEC("xdp")
int make_frame(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct live_state *s = bpf_map_lookup_elem(&state, &zero);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);

	if (!s || (void *)(udp + 1) > end)
		return XDP_ABORTED;
	if (s->limit && s->made >= s->limit)
		return XDP_DROP;

	__u32 dst = s->dst_ip + s->dst_at;
	if (++s->dst_at >= s->dst_count)
		s->dst_at = 0;
	__u32 sum = s->ip_sum + (dst >> 16) + (dst & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	// The page may be one that a forwarder changed, so all headers are written again.
	__builtin_memcpy(data, s->headers, sizeof s->headers);
	ip->daddr = bpf_htonl(dst);
	ip->check = bpf_htons((__u16)~sum);

	udp->source = bpf_htons(1024 + s->flow_at);
	if (++s->flow_at >= s->flows)
		s->flow_at = 0;
	s->made++;
	return bpf_redirect(s->ifindex, 0);
}

char _license[] SEC("license") = "Apache-2.0";
