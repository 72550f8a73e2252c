// SPDX-License-Identifier: Apache-2.0
// Offers UDP/IPv4 frames to an interface, at a rate or as fast as one core can, and counts what arrives.
// Results are one line of JSON on standard output.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trafficgen.h"

static const char usage[] =
	"usage: trafficgen send --if IF --src-mac M --dst-mac M --src-ip A --dst-ip A [options]\n"
	"       trafficgen sink --count N [--dst-port P] [--seconds S] [--cpu N]\n"
	"options of send:\n"
	"  --rate PPS      send at this rate through a packet socket (default: live XDP frames, unlimited)\n"
	"  --seconds S     stop after S seconds        --count N      stop after N frames\n"
	"  --size BYTES    frame without FCS (60)      --cpu N        pin to this core\n"
	"  --flows N       source ports (1)            --dst-count N  consecutive destinations (1)\n"
	"  --dst-port P    (5678)\n";

volatile int stop;

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void die(const char *what)
{
	fprintf(stderr, "trafficgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void refuse(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "trafficgen: --%s %s: expected %s\n", option, value ? value : "(not given)", expected);
	exit(2);
}

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

uint32_t sum_without_destination(const void *ip)
{
	uint16_t words[10];
	uint32_t sum = 0;
	memcpy(words, ip, sizeof words);
	for (int i = 0; i < 8; i++) /* the ninth and tenth word are the destination */
		if (i != 5) /* the checksum itself */
			sum += ntohs(words[i]);
	return sum;
}

void frame_template(const struct options *o, uint8_t *frame)
{
	struct headers *h = (struct headers *)frame;
	memset(frame, 0, o->size);
	memcpy(h->eth.ether_shost, &o->src_mac, ETH_ALEN);
	memcpy(h->eth.ether_dhost, &o->dst_mac, ETH_ALEN);
	h->eth.ether_type = htons(ETHERTYPE_IP);
	h->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(o->size - sizeof h->eth)),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = htonl(o->src_ip),
		.daddr = htonl(o->dst_ip),
	};
	uint32_t sum = sum_without_destination(&h->ip) + (o->dst_ip >> 16) + (o->dst_ip & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	h->ip.check = htons((uint16_t)~sum);
	/* A UDP checksum of 0 means "none" (RFC 768). */
	h->udp.source = htons(1024);
	h->udp.dest = htons(o->dst_port);
	h->udp.len = htons((uint16_t)(o->size - sizeof h->eth - sizeof h->ip));
	h->mark.magic = htonl(MAGIC);
}

static double number(const char *option, const char *value, double least, double most)
{
	char *end;
	double n = strtod(value, &end);
	if (end == value || *end || n < least || n > most) {
		char range[64];
		snprintf(range, sizeof range, "a number from %.0f to %.0f", least, most);
		refuse(option, value, range);
	}
	return n;
}

static uint32_t address(const char *option, const char *value)
{
	struct in_addr a;
	if (inet_pton(AF_INET, value, &a) != 1)
		refuse(option, value, "an IPv4 address");
	return ntohl(a.s_addr);
}

static struct ether_addr mac(const char *option, const char *value)
{
	struct ether_addr a;
	if (!ether_aton_r(value, &a))
		refuse(option, value, "a MAC address");
	return a;
}

static struct options parse(int argc, char **argv)
{
	struct options o = { .dst_count = 1, .flows = 1, .dst_port = 5678, .size = MIN_FRAME, .cpu = -1 };
	static const struct option names[] = {
		{ "if", 1, 0, 'i' },      { "src-mac", 1, 0, 's' }, { "dst-mac", 1, 0, 'd' },   { "src-ip", 1, 0, 'S' },
		{ "dst-ip", 1, 0, 'D' },  { "rate", 1, 0, 'r' },    { "seconds", 1, 0, 't' },   { "count", 1, 0, 'c' },
		{ "size", 1, 0, 'l' },    { "cpu", 1, 0, 'p' },     { "flows", 1, 0, 'f' },     { "dst-count", 1, 0, 'n' },
		{ "dst-port", 1, 0, 'P' }, { 0 },
	};
	int c, at = 0;
	while ((c = getopt_long(argc, argv, "", names, &at)) != -1) {
		const char *name = c == '?' ? "" : names[at].name;
		switch (c) {
		case 'i': o.interface = optarg; break;
		case 's': o.src_mac = mac(name, optarg); break;
		case 'd': o.dst_mac = mac(name, optarg); break;
		case 'S': o.src_ip = address(name, optarg); break;
		case 'D': o.dst_ip = address(name, optarg); break;
		case 'r': o.rate = number(name, optarg, 1, 1e8); break;
		case 't': o.seconds = number(name, optarg, 0, 1e6); break;
		case 'c': o.count = (uint64_t)number(name, optarg, 1, 4e9); break;
		case 'l': o.size = (unsigned)number(name, optarg, MIN_FRAME, MAX_FRAME); break;
		case 'p': o.cpu = (int)number(name, optarg, 0, CPU_SETSIZE - 1); break;
		case 'f': o.flows = (uint32_t)number(name, optarg, 1, 64511); break;
		case 'n': o.dst_count = (uint32_t)number(name, optarg, 1, 1 << 24); break;
		case 'P': o.dst_port = (uint16_t)number(name, optarg, 1, 65535); break;
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind != argc) {
		fprintf(stderr, "trafficgen: unexpected word `%s`\n", argv[optind]);
		exit(2);
	}
	return o;
}

int main(int argc, char **argv)
{
	int sending = argc > 1 && !strcmp(argv[1], "send");
	if (!sending && (argc < 2 || strcmp(argv[1], "sink"))) {
		fputs(usage, stderr);
		return 2;
	}
	struct options o = parse(argc - 1, argv + 1);
	if (o.cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(o.cpu, &set);
		if (sched_setaffinity(0, sizeof set, &set))
			die("pinning to the core");
	}
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (!sending) {
		if (!o.count)
			refuse("count", NULL, "the number of frames that the sender makes");
		return sink(&o);
	}
	if (!o.interface)
		refuse("if", NULL, "an interface name");
	o.ifindex = if_nametoindex(o.interface);
	if (!o.ifindex)
		die(o.interface);
	if (!o.src_ip || !o.dst_ip)
		refuse("src-ip and --dst-ip", NULL, "two IPv4 addresses");
	double start = now();
	uint64_t sent = o.rate > 0 ? send_paced(&o) : send_live(&o);
	double seconds = now() - start;
	printf("{\"sent\": %lu, \"seconds\": %.3f, \"mpps\": %.3f}\n", sent, seconds, (double)sent / seconds / 1e6);
	return 0;
}
