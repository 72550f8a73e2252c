// SPDX-License-Identifier: Apache-2.0
// DPDK's environment on one core, without huge pages, devices and files.
#pragma once

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_errno.h>

static void start_eal(char *program)
{
	/* The core is the one on which we were started. The widest vectors that rte_acl has are off by default. */
	char core[16];
	char *arguments[] = {program, "--no-huge", "-m", "4096", "--no-pci", "--no-telemetry", "--no-shconf",
			     "--force-max-simd-bitwidth=512", "--log-level=3", "-l", core};
	/* Under SCHED_FIFO on one core, rte_eal_init waits for ever for threads that it has made itself. */
	int policy = sched_getscheduler(0);
	struct sched_param realtime, ordinary = {0};

	snprintf(core, sizeof(core), "%d", sched_getcpu());
	sched_getparam(0, &realtime);
	sched_setscheduler(0, SCHED_OTHER, &ordinary);
	if (rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) < 0) {
		fprintf(stderr, "%s: rte_eal_init: %s\n", program, rte_strerror(rte_errno));
		exit(1);
	}
	sched_setscheduler(0, policy, &realtime);
}
