# SPDX-License-Identifier: Apache-2.0
"""weft-exporter in front of a real daemon: its metrics through the parsers of Prometheus' own Python client, its page
through Chromium."""

import http.server
import re
import signal
import subprocess
import threading
import time
import urllib.request
from html.parser import HTMLParser

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from lab import poll_until
from lab.weft import PLAIN_WAY, TREE, binary

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
# Of `show interface --json`, and the metric that must say the same.
INTERFACE_METRICS = {
    "rx_packets": "weft_interface_receive_packets_total",
    "rx_bytes": "weft_interface_receive_bytes_total",
    "tx_packets": "weft_interface_transmit_packets_total",
    "tx_bytes": "weft_interface_transmit_bytes_total",
    "drops": "weft_interface_drops_total",
    "punt": "weft_interface_punts_total",
    "ip4": "weft_interface_receive_ip4_packets_total",
    "ip6": "weft_interface_receive_ip6_packets_total",
    "rx_no_buf": "weft_interface_receive_no_buffer_total",
    "rx_miss": "weft_interface_receive_missed_total",
    "rx_error": "weft_interface_receive_errors_total",
    "tx_error": "weft_interface_transmit_errors_total",
}


class Exporter:
    """One exporter on a free port of the host; the statistics socket is a file, whatever namespace its daemon is in."""

    def __init__(self, socket, *options):
        words = [binary("weft-exporter"), "--listen", "127.0.0.1:0", "--socket", socket, *options]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.search(r"serving (http://\S+/)", line)
        assert found, f"the exporter did not start: {line}{self.process.stderr.read()}"
        self.url = found[1]

    def get(self, path="", accept="*/*"):
        request = urllib.request.Request(self.url + path, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    def samples(self):
        """{(name, labels): value}"""
        families = parse_prometheus(self.get("metrics")[1])
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def value(self, name, **labels):
        return self.samples().get((name, frozenset(labels.items())))

    def up(self):
        return self.value("weft_up") == 1

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        self.process.stderr.close()


@pytest.fixture
def exporter():
    made = []

    def make(weft, *options):
        made.append(Exporter(weft.runtime / "stats.sock", *options))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(5)
            each.process.stderr.close()


def test_metrics_equal_what_weft_shows(network, trafficgen, exporter):
    net = network()
    a, b = net.sites
    web = exporter(net.weft)
    a.host.run("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    a.host.run("ping", "-c", 2, "-i", 0.05, "-W", 1, "192.0.2.1", check=False)
    flow = trafficgen.flow(a, b, rate=5000, flows=16)
    poll_until(lambda: (web.value("weft_interface_receive_packets_total", interface=a.port) or 0) > 5000, 30,
               "the exporter sees traffic while it flows")
    flow.stop()

    def differences():
        """Where metrics and commands differ; a stray frame between the two is forgiven by asking again."""
        samples = web.samples()
        expected = {(metric, frozenset({("interface", i["name"])})): i[key]
                    for i in net.weft.cli_json("show interface")["interfaces"]
                    for key, metric in INTERFACE_METRICS.items()}
        for e in net.weft.cli_json("show errors")["errors"]:
            labels = {"node": e["node"], "reason": e["counter"], "severity": e["severity"], "kind": e["kind"]}
            expected["weft_node_errors_total", frozenset(labels.items())] = e["count"]
        for thread in net.weft.cli_json("show runtime")["threads"]:
            for node in thread["nodes"]:
                if node["vectors"]:
                    expected["weft_node_packets_total", frozenset({("node", node["name"])})] = node["vectors"]
        assert len(expected) > 30, "Weft shows figures"
        return {key: (samples.get(key), value) for key, value in expected.items() if samples.get(key) != value}

    last = {}

    def equal():
        last.clear()
        last.update(differences())
        return not last

    try:
        poll_until(equal, 20, "metrics equal what commands show")
    except AssertionError:
        raise AssertionError(f"metric and command differ: {last}") from None
    # What comes along the edges to a node is what it was given.
    samples = web.samples()
    given = samples["weft_node_packets_total", frozenset({("node", PLAIN_WAY[1])})]
    edges = [value for (name, labels), value in samples.items()
             if name == "weft_edge_packets_total" and ("to", PLAIN_WAY[1]) in labels]
    assert edges and sum(edges) == given > 5000


def test_both_formats_are_valid(network, exporter):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    for options in ((), ("--per-thread",)):
        web = exporter(net.weft, *options)
        kind, text = web.get("metrics")
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        classic = {family.name: family for family in parse_prometheus(text)}
        kind, text = web.get("metrics", accept=OPENMETRICS)
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        modern = {family.name: family for family in parse_openmetrics(text)}
        assert len(modern) > 20
        for name, family in modern.items():
            assert family.type in ("counter", "gauge", "info") and family.documentation.endswith("."), family
            series = [(s.name, frozenset(s.labels.items())) for s in family.samples]
            assert series and len(set(series)) == len(series), f"{name}: series twice"
        assert modern["weft_interface_receive_bytes"].unit == "bytes"
        # The older parser keeps the suffix of an info in its family's name.
        assert {name.removesuffix("_info") for name in classic} == set(modern)
        assert all(family.type in ("counter", "gauge") for family in classic.values())
        web.stop()


def test_the_dashboard_shows_what_a_daemon_exports(network, exporter):
    net = network()
    web = exporter(net.weft)
    wanted = set(re.findall(r"weft_[a-z0-9_]+", (TREE / "stats/exporter/grafana/weft.json").read_text()))
    # Edges come and go with the traffic, pools with the collector: all that is asked for is there in the end.
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    poll_until(lambda: wanted <= {name for name, _ in web.samples()}, 20, f"all of {sorted(wanted)}")


def test_daemons_come_and_go(network, exporter):
    net = network()
    web = exporter(net.weft)
    assert web.up()
    first = web.value("weft_start_time_seconds")
    net.weft.stop()
    assert not web.up() and web.value("weft_heartbeats_total") is None
    # Start times are told in seconds.
    poll_until(lambda: time.time() > first + 1, 5, "the clock goes on")
    net.weft.start()
    assert web.up() and web.value("weft_start_time_seconds") > first
    # Killed, it leaves its socket file behind.
    net.weft.kill()
    poll_until(lambda: not web.up(), 20, "the exporter notices that the daemon was killed")
    net.weft.start()
    poll_until(web.up, 20, "the exporter finds the next daemon")
    # Stopped, it is there still: its counters can be read.
    net.weft.process.send_signal(signal.SIGSTOP)
    try:
        assert web.up() and web.value("weft_interface_receive_packets_total", interface="p0") is not None
    finally:
        net.weft.process.send_signal(signal.SIGCONT)
    web.stop()


# The page -------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Nodes and edges of a page."""

    def __init__(self, html):
        super().__init__()
        self.nodes, self.edges = set(), {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "data-node" in attributes:
            self.nodes.add(attributes["data-node"])
        if "data-from" in attributes:
            width = float(re.search(r"stroke-width: ?([0-9.]+)px", attributes["style"])[1])
            ends = attributes["data-from"], attributes["data-to"]
            self.edges[ends] = float(attributes["data-rate"]), width


def chromium(lab, url, *options):
    """The DOM of the page after some of its time, and what its console said."""
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={lab.folder('chromium')}", "--window-size=1500,1000", *options, "--dump-dom", url],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_in_a_browser(lab, network, trafficgen, exporter):
    net = network()
    a, b = net.sites
    web = exporter(net.weft)
    # The first one waits for its neighbour, aside from the way.
    a.host.run("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    nodes = ["af-xdp-input", *PLAIN_WAY, f"{b.port}-tx"]
    way = list(zip(nodes, nodes[1:]))

    def drawn():
        return Page(web.get()[1])

    poll_until(lambda: set(way) <= drawn().edges.keys() and not any(r for r, _ in drawn().edges.values()), 30,
               "the way of the ping is drawn, at rest")
    idle = {ends: width for ends, (_, width) in drawn().edges.items()}
    flow = trafficgen.flow(a, b, rate=5000, flows=16)
    poll_until(lambda: drawn().edges[way[-1]][0] > 500, 30, "traffic is drawn")
    seen = []

    def in_browser():
        """Whether the browser saw traffic on the whole way: on a busy machine it may load in a second without."""
        seen[:] = chromium(lab, web.url)
        page = Page(seen[0])
        assert {node for ends in way for node in ends} <= page.nodes
        return all(page.edges[ends][0] > 100 and page.edges[ends][1] > idle[ends] * 1.5 for ends in way)

    poll_until(in_browser, 120, "every edge on the way has a rate, and is wider than at rest")
    html, console = seen
    assert "clocks/packet" in html and "vectors/call" in html
    assert not console, console
    # Drawn anew by its own script: what the DOM says later is of later traffic.
    flow.stop()
    poll_until(lambda: drawn().edges[way[-1]][0] == 0, 30, "the end of the traffic is drawn")
    unused = Page(web.get("?all")[1]).nodes - drawn().nodes
    assert "pg-input" in unused, "`?all` draws nodes that no packet came to"
    # Names of interfaces come from operators.
    assert "<script>" not in re.sub(r"<script>.*?</script>", "", html, count=1, flags=re.S)


def test_the_page_refreshes_itself(lab, network, trafficgen, exporter):
    net = network()
    a, b = net.sites
    web = exporter(net.weft)
    # The first one waits for its neighbour, aside from the way.
    a.host.run("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    last = PLAIN_WAY[-1], f"{b.port}-tx"

    def page(condition, what):
        """The first page whose edges are so."""
        def look():
            html = web.get()[1]
            return html if condition(Page(html).edges) else None
        return poll_until(look, 30, what)

    at_rest = page(lambda edges: last in edges, "a page of the ping")
    flow = trafficgen.flow(a, b, rate=5000, flows=16)
    busy = page(lambda edges: edges[last][0] > 500, "a page of traffic")
    flow.stop()
    # Loaded at rest, asked again under traffic, and then left alone.
    asked = []

    class Stub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if len(asked) > 4:
                return self.send_error(503)
            body = (at_rest if len(asked) == 1 else busy).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            html, console = chromium(lab, f"http://127.0.0.1:{server.server_port}/", "--virtual-time-budget=3500")
        finally:
            server.shutdown()
    assert len(asked) > 1, "the script asks"
    assert Page(html).edges == Page(busy).edges
    assert not console, console
