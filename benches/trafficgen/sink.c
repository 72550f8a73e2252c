// SPDX-License-Identifier: Apache-2.0
// Receives what `send --rate` made, on an ordinary UDP socket, and accounts for every sequence number.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "trafficgen.h"

#define BURST 64
#define QUIET_MS 100

int sink(const struct options *o)
{
	// Without a count nothing says how much memory one bit for each sequence number takes.
	uint64_t expected = o->count, words = expected / 64 + 1;
	uint64_t *seen = calloc(words, sizeof *seen);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 64 << 20;
	if (!seen || fd < 0)
		die("opening a UDP socket");
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(o->dst_port) };
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die("binding the UDP socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
		die("setting the receive buffer");

	struct mark marks[BURST];
	struct iovec vectors[BURST];
	struct mmsghdr messages[BURST] = { 0 };
	for (int i = 0; i < BURST; i++) {
		vectors[i] = (struct iovec){ .iov_base = &marks[i], .iov_len = sizeof marks[i] };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}

	uint64_t received = 0, distinct = 0, doubled = 0, overtaken = 0, foreign = 0, next = 0;
	puts("ready");
	fflush(stdout);
	double start = now();
	while (!stop && distinct < expected && (o->seconds <= 0 || now() < start + o->seconds)) {
		int n = recvmmsg(fd, messages, BURST, MSG_DONTWAIT, NULL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				die("receiving");
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, QUIET_MS);
			continue;
		}
		for (int i = 0; i < n; i++) {
			uint64_t sequence = ntohl(marks[i].sequence);
			if (messages[i].msg_len < sizeof marks[i] || ntohl(marks[i].magic) != MAGIC || sequence >= expected) {
				foreign++;
				continue;
			}
			received++;
			uint64_t bit = 1ull << (sequence % 64), *word = &seen[sequence / 64];
			doubled += (*word & bit) != 0;
			distinct += (*word & bit) == 0;
			*word |= bit;
			overtaken += sequence < next;
			if (sequence >= next)
				next = sequence + 1;
		}
	}
	printf("{\"received\": %lu, \"lost\": %lu, \"doubled\": %lu, \"overtaken\": %lu, \"foreign\": %lu, \"seconds\": %.3f}\n",
	       received, expected - distinct, doubled, overtaken, foreign, now() - start);
	free(seen);
	return 0;
}
