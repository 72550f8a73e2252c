// SPDX-License-Identifier: Apache-2.0
// A given rate: a packet socket that bypasses the queueing discipline and sleeps between bursts, so that the core stays
// free for others, and that knows of every frame whether the interface took it.
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "trafficgen.h"

#define BURST 64
#define TICK_NS 500000 /* pause while nothing is due */

uint64_t send_paced(const struct options *o)
{
	static uint8_t frames[BURST][MAX_FRAME];
	struct mmsghdr messages[BURST] = { 0 };
	struct iovec vectors[BURST];
	for (int i = 0; i < BURST; i++) {
		frame_template(o, frames[i]);
		vectors[i] = (struct iovec){ .iov_base = frames[i], .iov_len = o->size };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}
	uint32_t ip_sum = sum_without_destination(&((struct headers *)frames[0])->ip);

	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	if (fd < 0)
		die("opening a packet socket");
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int)o->ifindex };
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die("binding the packet socket");
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one))
		die("setting PACKET_QDISC_BYPASS");

	uint64_t sent = 0;
	double start = now();
	while (!stop && (!o->count || sent < o->count)) {
		double elapsed = now() - start;
		if (o->seconds > 0 && elapsed >= o->seconds)
			break;
		uint64_t due = (uint64_t)(elapsed * o->rate);
		if (o->count && due > o->count)
			due = o->count;
		if (due <= sent) {
			nanosleep(&(struct timespec){ .tv_nsec = TICK_NS }, NULL);
			continue;
		}
		int burst = due - sent < BURST ? (int)(due - sent) : BURST;
		for (int i = 0; i < burst; i++) {
			struct headers *h = (struct headers *)frames[i];
			uint64_t n = sent + (uint64_t)i;
			uint32_t dst = o->dst_ip + (uint32_t)(n % o->dst_count);
			uint32_t sum = ip_sum + (dst >> 16) + (dst & 0xffff);
			sum = (sum & 0xffff) + (sum >> 16);
			sum = (sum & 0xffff) + (sum >> 16);
			h->ip.daddr = htonl(dst);
			h->ip.check = htons((uint16_t)~sum);
			h->udp.source = htons((uint16_t)(1024 + n % o->flows));
			h->mark.sequence = htonl((uint32_t)n);
		}
		// A frame that the interface refuses (ENOBUFS: the far ring is full) is not counted and is offered again.
		int taken = sendmmsg(fd, messages, (unsigned)burst, 0);
		if (taken < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			die("sending");
		if (taken > 0)
			sent += (uint64_t)taken;
	}
	close(fd);
	return sent;
}
