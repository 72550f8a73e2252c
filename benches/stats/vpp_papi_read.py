# SPDX-License-Identifier: Apache-2.0
"""The rival of `weft-bench stats`: the same reads by VPP's own client, vpp_papi. Prints nanoseconds."""

import sys
import time

from vpp_papi.vpp_stats import VPPStats

socket, *names = sys.argv[1:]
stats = VPPStats(socket)
stats.connect()


def nanoseconds(read, times):
    start = time.perf_counter_ns()
    for _ in range(times):
        read()
    return (time.perf_counter_ns() - start) / times


for name in names:
    print(nanoseconds(lambda: stats[name], 100))
everything = list(stats.directory)
print(nanoseconds(lambda: stats.dump(everything), 1))
