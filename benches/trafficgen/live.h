/* SPDX-License-Identifier: Apache-2.0 */
/* What the generator's process and its XDP program share: one element of an array map. */
#pragma once

#define LIVE_HEADERS 42

struct live_state {
	__u64 made;      /* frames redirected */
	__u64 limit;     /* stop making after so many; 0: no limit */
	__u32 ifindex;
	__u32 dst_ip;    /* host order */
	__u32 dst_count;
	__u32 dst_at;    /* next destination, 0..dst_count */
	__u32 flows;
	__u32 flow_at;   /* next flow, 0..flows */
	__u32 ip_sum;    /* of the IPv4 header without its destination */
	__u8 headers[LIVE_HEADERS]; /* Ethernet, IPv4, UDP, without what differs */
};
