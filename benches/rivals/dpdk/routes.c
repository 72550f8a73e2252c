/* SPDX-License-Identifier: Apache-2.0
 *
 * DPDK's IPv6 lookups as rivals: rte_fib6 (the widest vectors that the processor has) and rte_lpm6, bulk lookup of both.
 *
 * usage: routes fib|lpm FILE
 *
 * FILE: one line "routes N", N lines "address length next-hop", one line "addresses N", N lines of an address; addresses are 32
 * hexadecimal digits, next hops numbers from 1. Prints "ready <bytes> <milliseconds to build>", then for each line on stdin
 * runs one round over all addresses in bursts of 256 and prints the clocks per address. On "results" it prints, for each
 * address, its next hop, or 0.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_fib6.h>
#include <rte_lpm6.h>
#include <rte_malloc.h>

#include "eal.h"

#define BURST 256
#define TABLES (1 << 19)

struct route {
	uint8_t address[16], length;
	uint32_t next_hop;
};

static struct route *routes;
static uint8_t (*addresses)[16];
static uint32_t route_count, address_count;
static struct rte_fib6 *fib;
static struct rte_lpm6 *lpm;

static void fail(const char *what)
{
	fprintf(stderr, "routes: %s: %s\n", what, rte_strerror(rte_errno));
	exit(1);
}

static void read_address(FILE *file, uint8_t address[16])
{
	for (int i = 0; i < 16; i++)
		if (fscanf(file, i ? "%2hhx" : " %2hhx", &address[i]) != 1)
			fail("an address");
}

static void load(const char *path)
{
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "routes %" SCNu32, &route_count) != 1)
		fail(path);
	routes = calloc(route_count, sizeof(*routes));
	for (uint32_t i = 0; i < route_count; i++) {
		read_address(file, routes[i].address);
		if (fscanf(file, "%" SCNu8 " %" SCNu32, &routes[i].length, &routes[i].next_hop) != 2)
			fail("a route");
	}
	if (fscanf(file, " addresses %" SCNu32, &address_count) != 1)
		fail("addresses");
	addresses = calloc(address_count, sizeof(*addresses));
	for (uint32_t i = 0; i < address_count; i++)
		read_address(file, addresses[i]);
	fclose(file);
}

static void build_fib(void)
{
	struct rte_fib6_conf config = {
		.type = RTE_FIB6_TRIE, .default_nh = 0, .max_routes = (int)route_count * 2,
		.trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = TABLES },
	};
	fib = rte_fib6_create("rival", 0, &config);
	if (!fib)
		fail("rte_fib6_create");
	if (rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512))
		fprintf(stderr, "routes: rte_fib6 does not use AVX-512 here\n");
	for (uint32_t i = 0; i < route_count; i++)
		if (rte_fib6_add(fib, routes[i].address, routes[i].length, routes[i].next_hop))
			fail("rte_fib6_add");
}

static void build_lpm(void)
{
	struct rte_lpm6_config config = { .max_rules = route_count * 2, .number_tbl8s = TABLES };
	lpm = rte_lpm6_create("rival", 0, &config);
	if (!lpm)
		fail("rte_lpm6_create");
	for (uint32_t i = 0; i < route_count; i++)
		if (rte_lpm6_add(lpm, routes[i].address, routes[i].length, routes[i].next_hop))
			fail("rte_lpm6_add");
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[1], "fib") && strcmp(argv[1], "lpm"))) {
		fprintf(stderr, "usage: routes fib|lpm FILE\n");
		return 2;
	}
	start_eal(argv[0]);
	load(argv[2]);
	struct timespec start, end;
	struct rte_malloc_socket_stats before, after;
	rte_malloc_get_socket_stats(0, &before);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (!strcmp(argv[1], "fib"))
		build_fib();
	else
		build_lpm();
	clock_gettime(CLOCK_MONOTONIC, &end);
	rte_malloc_get_socket_stats(0, &after);
	printf("ready %zu %.1f\n", after.heap_allocsz_bytes - before.heap_allocsz_bytes,
	       (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6);
	fflush(stdout);

	/* As in a graph: addresses are written into the same few buffers before each lookup, and found in the cache. */
	static uint8_t hot[BURST][16];
	static uint64_t of_fib[BURST];
	static int32_t of_lpm[BURST];
	char line[32];
	while (fgets(line, sizeof(line), stdin)) {
		int print = !strncmp(line, "results", 7);
		uint64_t clocks = 0;
		for (uint32_t first = 0; first + BURST <= address_count; first += BURST) {
			memcpy(hot, &addresses[first], sizeof(hot));
			uint64_t since = rte_rdtsc();
			if (fib)
				rte_fib6_lookup_bulk(fib, hot, of_fib, BURST);
			else
				rte_lpm6_lookup_bulk_func(lpm, hot, of_lpm, BURST);
			clocks += rte_rdtsc() - since;
			for (uint32_t i = 0; print && i < BURST; i++)
				printf("%d\n", fib ? (int)of_fib[i] : of_lpm[i] < 0 ? 0 : of_lpm[i]);
		}
		if (!print)
			printf("%.2f\n", (double)clocks / (address_count / BURST * BURST));
		fflush(stdout);
	}
	return 0;
}
