/* SPDX-License-Identifier: Apache-2.0
 *
 * DPDK's classifiers as rivals: rte_acl for rules with wildcards, rte_hash bulk lookup for sessions.
 *
 * usage: rules acl|hash FILE
 *
 * FILE: one line "rules N", N lines of rules, one line "packets N", N lines of packets. A rule is
 *   source length destination length first last first last protocol mask
 * (addresses as numbers in host order, source ports, destination ports), a packet is
 *   source destination source-port destination-port protocol
 * Rules are in the order in which they are asked. Prints "ready <bytes> <milliseconds to build>", then for each line on
 * stdin runs one round over all packets in bursts of 256 and prints the clocks per packet. On "results" it prints, for each
 * packet, the number of its rule (or -1).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_malloc.h>

#include "eal.h"

#define BURST 256

struct packet {
	uint8_t protocol;
	uint8_t padding[3];
	uint32_t source, destination;	/* network order */
	uint16_t source_port, destination_port;
} __attribute__((aligned(16)));

enum { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };

RTE_ACL_RULE_DEF(rule, FIELDS);

/* The first field is one byte; all others come in groups of four bytes (rte_acl.h). */
static const struct rte_acl_field_def fields[FIELDS] = {
	{ RTE_ACL_FIELD_TYPE_BITMASK, 1, PROTOCOL, 0, offsetof(struct packet, protocol) },
	{ RTE_ACL_FIELD_TYPE_MASK, 4, SOURCE, 1, offsetof(struct packet, source) },
	{ RTE_ACL_FIELD_TYPE_MASK, 4, DESTINATION, 2, offsetof(struct packet, destination) },
	{ RTE_ACL_FIELD_TYPE_RANGE, 2, SOURCE_PORT, 3, offsetof(struct packet, source_port) },
	{ RTE_ACL_FIELD_TYPE_RANGE, 2, DESTINATION_PORT, 3, offsetof(struct packet, destination_port) },
};

static struct packet *packets;
static uint32_t packet_count, rule_count;
static struct rule *rules;

static void fail(const char *what)
{
	fprintf(stderr, "rules: %s: %s\n", what, rte_strerror(rte_errno));
	exit(1);
}

static void load(const char *path)
{
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "rules %" SCNu32, &rule_count) != 1)
		fail(path);
	rules = calloc(rule_count, sizeof(*rules));
	for (uint32_t i = 0; i < rule_count; i++) {
		uint32_t source, destination, v[8];
		if (fscanf(file, "%u %u %u %u %u %u %u %u %u %u", &source, &v[0], &destination, &v[1], &v[2], &v[3],
			   &v[4], &v[5], &v[6], &v[7]) != 10)
			fail("a rule");
		struct rule *rule = &rules[i];
		rule->data.category_mask = 1;
		/* Higher wins. */
		rule->data.priority = (int32_t)(rule_count - i);
		rule->data.userdata = i + 1;
		rule->field[PROTOCOL].value.u8 = (uint8_t)v[6];
		rule->field[PROTOCOL].mask_range.u8 = (uint8_t)v[7];
		rule->field[SOURCE].value.u32 = source;
		rule->field[SOURCE].mask_range.u32 = v[0];
		rule->field[DESTINATION].value.u32 = destination;
		rule->field[DESTINATION].mask_range.u32 = v[1];
		rule->field[SOURCE_PORT].value.u16 = (uint16_t)v[2];
		rule->field[SOURCE_PORT].mask_range.u16 = (uint16_t)v[3];
		rule->field[DESTINATION_PORT].value.u16 = (uint16_t)v[4];
		rule->field[DESTINATION_PORT].mask_range.u16 = (uint16_t)v[5];
	}
	if (fscanf(file, " packets %" SCNu32, &packet_count) != 1)
		fail("packets");
	packets = aligned_alloc(64, sizeof(*packets) * packet_count);
	memset(packets, 0, sizeof(*packets) * packet_count);
	for (uint32_t i = 0; i < packet_count; i++) {
		uint32_t v[5];
		if (fscanf(file, "%u %u %u %u %u", &v[0], &v[1], &v[2], &v[3], &v[4]) != 5)
			fail("a packet");
		packets[i].source = rte_cpu_to_be_32(v[0]);
		packets[i].destination = rte_cpu_to_be_32(v[1]);
		packets[i].source_port = rte_cpu_to_be_16((uint16_t)v[2]);
		packets[i].destination_port = rte_cpu_to_be_16((uint16_t)v[3]);
		packets[i].protocol = (uint8_t)v[4];
	}
	fclose(file);
}

static struct rte_acl_ctx *acl;
static struct rte_hash *hash;

static void build_acl(void)
{
	struct rte_acl_param param = { "rival", SOCKET_ID_ANY, RTE_ACL_RULE_SZ(FIELDS), rule_count };
	struct rte_acl_config config = { .num_categories = 1, .num_fields = FIELDS };
	memcpy(config.defs, fields, sizeof(fields));
	acl = rte_acl_create(&param);
	if (!acl || rte_acl_add_rules(acl, (struct rte_acl_rule *)rules, rule_count) || rte_acl_build(acl, &config))
		fail("rte_acl");
}

static void build_hash(void)
{
	struct rte_hash_parameters param = {
		.name = "rival", .entries = rule_count * 2, .key_len = sizeof(struct packet), .hash_func = rte_hash_crc,
		.socket_id = 0,
	};
	hash = rte_hash_create(&param);
	if (!hash)
		fail("rte_hash_create");
	for (uint32_t i = 0; i < rule_count; i++) {
		struct packet key = { 0 };
		key.protocol = rules[i].field[PROTOCOL].value.u8;
		key.source = rte_cpu_to_be_32(rules[i].field[SOURCE].value.u32);
		key.destination = rte_cpu_to_be_32(rules[i].field[DESTINATION].value.u32);
		key.source_port = rte_cpu_to_be_16(rules[i].field[SOURCE_PORT].value.u16);
		key.destination_port = rte_cpu_to_be_16(rules[i].field[DESTINATION_PORT].value.u16);
		if (rte_hash_add_key_data(hash, &key, (void *)(uintptr_t)(i + 1)) < 0)
			fail("rte_hash_add_key_data");
	}
}

static void look_up(const uint8_t **data, uint32_t *results)
{
	if (acl) {
		rte_acl_classify(acl, data, results, BURST, 1);
		return;
	}
	for (uint32_t i = 0; i < BURST; i += RTE_HASH_LOOKUP_BULK_MAX) {
		uint64_t hits;
		void *found[RTE_HASH_LOOKUP_BULK_MAX];
		rte_hash_lookup_bulk_data(hash, (const void **)&data[i], RTE_HASH_LOOKUP_BULK_MAX, &hits, found);
		for (uint32_t j = 0; j < RTE_HASH_LOOKUP_BULK_MAX; j++)
			results[i + j] = hits >> j & 1 ? (uint32_t)(uintptr_t)found[j] : 0;
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: rules acl|hash FILE\n");
		return 2;
	}
	start_eal(argv[0]);
	load(argv[2]);
	struct timespec start, end;
	struct rte_malloc_socket_stats before, after;
	rte_malloc_get_socket_stats(0, &before);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (!strcmp(argv[1], "acl"))
		build_acl();
	else
		build_hash();
	clock_gettime(CLOCK_MONOTONIC, &end);
	rte_malloc_get_socket_stats(0, &after);
	printf("ready %zu %.1f\n", after.heap_allocsz_bytes - before.heap_allocsz_bytes,
	       (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6);
	fflush(stdout);

	/* As in a graph: packets are written into the same few buffers before each lookup, and found in the cache. */
	static struct packet hot[BURST];
	const uint8_t *data[BURST];
	uint32_t results[BURST];
	for (uint32_t i = 0; i < BURST; i++)
		data[i] = (const uint8_t *)&hot[i];
	char line[32];
	while (fgets(line, sizeof(line), stdin)) {
		int print = !strncmp(line, "results", 7);
		uint64_t clocks = 0;
		for (uint32_t first = 0; first + BURST <= packet_count; first += BURST) {
			memcpy(hot, &packets[first], sizeof(hot));
			uint64_t before = rte_rdtsc();
			look_up(data, results);
			clocks += rte_rdtsc() - before;
			for (uint32_t i = 0; print && i < BURST; i++)
				printf("%d\n", (int)results[i] - 1);
		}
		if (!print)
			printf("%.2f\n", (double)clocks / (packet_count / BURST * BURST));
		fflush(stdout);
	}
	return 0;
}
