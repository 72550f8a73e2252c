/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>

#define MAX_FRAME 1514
#define MAGIC 0x57656674u /* "Weft" */

/* The UDP payload: enough to find a lost, doubled or overtaking packet. */
struct mark {
	uint32_t magic;
	uint32_t sequence;
} __attribute__((packed));

struct headers {
	struct ether_header eth;
	struct iphdr ip;
	struct udphdr udp;
	struct mark mark;
} __attribute__((packed));

#define MIN_FRAME 60 /* of Ethernet, without the frame check sequence */
_Static_assert(sizeof(struct headers) <= MIN_FRAME, "the headers fit the smallest frame");

struct options {
	const char *interface;
	unsigned ifindex;
	struct ether_addr src_mac, dst_mac;
	uint32_t src_ip, dst_ip; /* host order */
	uint32_t dst_count;      /* destinations dst_ip, dst_ip + 1, ... in turn */
	uint32_t flows;          /* source ports from 1024, in turn */
	uint16_t dst_port;
	unsigned size;
	int cpu;        /* -1: not pinned */
	double seconds; /* 0: no limit */
	uint64_t count; /* 0: no limit */
	double rate;    /* frames a second, 0: as many as the core makes */
};

extern volatile int stop;

double now(void);
void die(const char *what); /* with errno */
void frame_template(const struct options *o, uint8_t *frame);

/* One's complement sum of the IPv4 header without its destination, not folded. */
uint32_t sum_without_destination(const void *ip);

uint64_t send_live(const struct options *o);
uint64_t send_paced(const struct options *o);
int sink(const struct options *o);
