// SPDX-License-Identifier: Apache-2.0
// The rival of the flow table: DPDK's rte_hash, bulk lookups of random keys of 16 bytes, and insertions.
//
// usage: flows KEYS
// Then, for each line on standard input: "hit N" looks up N random keys that are there, "new N" empties the table and adds
// N keys. The answer is one line: clocks of the time stamp counter per key. A key costs one CRC hash as DPDK's examples do
// it, and for a hit one load of the data that it points to; there is no packet, no state and no counter.

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_debug.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#include "eal.h"

#define BULK 64

struct key {
	uint64_t addresses;
	uint64_t rest;
};

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void add_all(struct rte_hash *table, struct key *keys, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (rte_hash_add_key_data(table, &keys[i], (void *)(uintptr_t)i) < 0)
			rte_exit(EXIT_FAILURE, "no room for key %u\n", i);
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;

	if (count == 0) {
		fprintf(stderr, "usage: %s KEYS\n", argv[0]);
		return 2;
	}
	start_eal(argv[0]);
	struct rte_hash_parameters parameters = {
		.name = "flows",
		.entries = count * 2,
		.key_len = sizeof(struct key),
		.hash_func = rte_hash_crc,
		.socket_id = SOCKET_ID_ANY,
	};
	struct rte_hash *table = rte_hash_create(&parameters);
	struct key *keys = calloc(count, sizeof(*keys));

	if (table == NULL || keys == NULL)
		rte_exit(EXIT_FAILURE, "no memory for %u keys\n", count);
	for (uint32_t i = 0; i < count; i++)
		keys[i] = (struct key){.addresses = next_random(), .rest = i};
	add_all(table, keys, count);

	char what[8];
	uint32_t wanted;

	while (scanf("%7s %" SCNu32, what, &wanted) == 2) {
		uint64_t clocks = 0, found = 0;

		if (strcmp(what, "new") == 0) {
			rte_hash_reset(table);
			uint64_t start = rte_rdtsc();

			wanted = wanted < count ? wanted : count;
			add_all(table, keys, wanted);
			clocks = rte_rdtsc() - start;
			found = wanted;
		} else {
			struct key bulk[BULK];
			const void *pointers[BULK];
			void *data[BULK];

			if (rte_hash_count(table) != (int32_t)count) {
				rte_hash_reset(table);
				add_all(table, keys, count);
			}
			for (uint32_t done = 0; done < wanted; done += BULK) {
				// As packets of a vector: the key lies in the first-level cache.
				for (int i = 0; i < BULK; i++) {
					bulk[i] = keys[next_random() % count];
					pointers[i] = &bulk[i];
				}
				uint64_t mask = 0, start = rte_rdtsc();

				rte_hash_lookup_bulk_data(table, pointers, BULK, &mask, data);
				clocks += rte_rdtsc() - start;
				found += (uint64_t)__builtin_popcountll(mask);
			}
			wanted = (wanted + BULK - 1) / BULK * BULK;
		}
		if (found != wanted)
			rte_exit(EXIT_FAILURE, "%" PRIu64 " of %u keys found\n", found, wanted);
		printf("%.1f\n", (double)clocks / wanted);
		fflush(stdout);
	}
	return 0;
}
