// SPDX-License-Identifier: Apache-2.0
// Unlimited rate: BPF_PROG_TEST_RUN with live frames runs an XDP program that redirects frames out of the interface.
// The far end of a veth takes redirected frames only while it has an XDP program or GRO enabled.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "live.h"
#include "trafficgen.h"

// The object that clang made of live.bpf.c, placed here by the assembler.
extern const char live_object[], live_object_end[];
__asm__(".section .rodata\n.balign 8\n.global live_object, live_object_end\n"
	"live_object: .incbin \"" LIVE_OBJECT "\"\nlive_object_end:\n.previous\n");

static void on_alarm(int signal)
{
	(void)signal;
	stop = 1;
}

uint64_t send_live(const struct options *o)
{
	uint8_t frame[MAX_FRAME];
	frame_template(o, frame);

	struct bpf_object *object = bpf_object__open_mem(live_object, live_object_end - live_object, NULL);
	if (!object || bpf_object__load(object))
		die("loading the XDP program");
	struct live_state state = {
		.limit = o->count,
		.ifindex = o->ifindex,
		.dst_ip = o->dst_ip,
		.dst_count = o->dst_count,
		.flows = o->flows,
		.ip_sum = sum_without_destination(&((struct headers *)frame)->ip),
	};
	memcpy(state.headers, frame, sizeof state.headers);
	uint32_t zero = 0;
	int map = bpf_object__find_map_fd_by_name(object, "state");
	if (bpf_map_update_elem(map, &zero, &state, BPF_ANY))
		die("writing the program's state");

	// A run sleeps when it begins and ends, so one run is as long as it can be and a signal ends it.
	struct sigaction action = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &action, NULL);
	long us = (long)((o->seconds - (long)o->seconds) * 1e6);
	struct itimerval timer = { .it_value = { .tv_sec = (long)o->seconds, .tv_usec = us } };
	setitimer(ITIMER_REAL, &timer, NULL);

	struct xdp_md context = { .data_end = o->size };
	int program = bpf_program__fd(bpf_object__find_program_by_name(object, "make_frame"));
	while (!stop && (!o->count || state.made < o->count)) {
		uint64_t left = o->count ? o->count - state.made : UINT64_MAX;
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = o->size, .ctx_in = &context,
			    .ctx_size_in = sizeof context, .repeat = left < 1000000000 ? left : 1000000000,
			    .batch_size = 64, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
		if (bpf_prog_test_run_opts(program, &run) && errno != EINTR)
			die("running the XDP program");
		if (bpf_map_lookup_elem(map, &zero, &state))
			die("reading the program's state");
	}
	bpf_object__close(object);
	return state.made;
}
