// SPDX-License-Identifier: Apache-2.0
//
// Hands frames of a port to the AF_XDP socket of the queue that they arrived on.
//
// Either every frame, or ("pinhole") those that a filter names, while the host's stack keeps the
// rest. Whatever this program doesn't want or can't parse is passed to the kernel, and so is a
// frame of a queue without a socket: a port that isn't running leaves its host reachable.
//
// XDP cannot give a frame to both. Those that both need, of ARP and of neighbour discovery, go to
// the kernel, and a packet socket gives Weft a copy (neighbors.rs).
//
// Frames that span several buffers come only if the port asks for them: the section is plain "xdp",
// and the flag that "xdp.frags" stands for is set before loading. Without it the kernel refuses an MTU
// that would need them, instead of Weft cutting frames off. What is looked at here stands in the first.

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Set before the program is loaded; the verifier then removes the branch that isn't taken.
const volatile __u8 take_all = 1;

// Socket by receive queue. Resized to the number of queues before loading.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

// The filter. A key that is present takes the frame; the values mean nothing.

struct prefix {
	__u32 length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u8);
} destinations SEC(".maps");

struct prefix6 {
	__u32 length;
	struct in6_addr address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, __u8);
} destinations6 SEC(".maps");

struct service {
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct service);
	__type(value, __u8);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be16);
	__type(value, __u8);
} ethertypes SEC(".maps");

struct vlan {
	__be16 tag;
	__be16 ethertype;
};

static __always_inline int is_service(__u8 protocol, const void *transport, const void *end)
{
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
		return 0;
	// These protocols begin with the source and the destination port.
	const __be16 *ports = transport;
	if ((const void *)(ports + 2) > end)
		return 0;
	struct service service = { .port = ports[1], .protocol = protocol };
	return bpf_map_lookup_elem(&services, &service) != 0;
}

static __always_inline int is_wanted4(const struct iphdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return 0;
	struct prefix host = { .length = 32, .address = ip->daddr };
	if (bpf_map_lookup_elem(&destinations, &host))
		return 1;
	// Fragments are left to the kernel whole, the first one too: only it carries the port, and
	// whoever gets one fragment must get all of them to put the packet together.
	if (ip->frag_off & bpf_htons(0x3fff)) // more fragments, or an offset
		return 0;
	return is_service(ip->protocol, (const void *)ip + ip->ihl * 4, end);
}

// Extension headers, that of fragments among them, are not looked behind.
static __always_inline int is_wanted6(const struct ipv6hdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end || ip->version != 6)
		return 0;
	if (ip->nexthdr == IPPROTO_ICMPV6) {
		const struct icmp6hdr *icmp = (const void *)(ip + 1);
		if ((const void *)(icmp + 1) > end)
			return 0;
		// Router solicitation to neighbour advertisement: both sides need them.
		if (icmp->icmp6_type >= 133 && icmp->icmp6_type <= 136)
			return 0;
	}
	struct prefix6 host = { .length = 128, .address = ip->daddr };
	return bpf_map_lookup_elem(&destinations6, &host) || is_service(ip->nexthdr, ip + 1, end);
}

static __always_inline int is_wanted(const void *data, const void *end)
{
	const struct ethhdr *ethernet = data;
	if ((const void *)(ethernet + 1) > end)
		return 0;
	__be16 ethertype = ethernet->h_proto;
	const void *next = ethernet + 1;

	if (bpf_map_lookup_elem(&ethertypes, &ethertype))
		return 1;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		const struct vlan *vlan = next;
		if ((const void *)(vlan + 1) > end)
			return 0;
		ethertype = vlan->ethertype;
		next = vlan + 1;
		if (bpf_map_lookup_elem(&ethertypes, &ethertype))
			return 1;
	}
	if (ethertype == bpf_htons(ETH_P_IP))
		return is_wanted4(next, end);
	return ethertype == bpf_htons(ETH_P_IPV6) && is_wanted6(next, end);
}

SEC("xdp")
int weft_port(struct xdp_md *ctx)
{
	if (!take_all && !is_wanted((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	// The last argument is what comes of a queue without a socket.
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Apache-2.0";
