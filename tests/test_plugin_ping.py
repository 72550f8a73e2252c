# SPDX-License-Identifier: Apache-2.0
"""Pings from the router itself: to real kernels, behind one, to nobody."""

import json
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab.plugins import PluginFolder
from lab.weft import CliError, binary

QUICK = "interval 0.02"


@pytest.fixture
def net(network, lab):
    # A worker per port: one sends, and answers come to the other one too.
    return network(more=PluginFolder(lab, "ping").settings, workers=2, first_worker_core=0)


def _ping(net, words):
    return net.weft.cli_json(f"ping {words}")


def _start(net, words):
    """A client that waits for the answer, while the test does something else."""
    client = [binary("weftctl"), "--socket", net.weft.socket, "--json", f"ping {words}"]
    return subprocess.Popen(client, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _requests(wire):
    frames = (Ether(frame) for frame in wire.frames())
    return [frame for frame in frames if ICMP in frame and frame[ICMP].type == 8]


def test_bursts(net):
    b = net.sites[1]
    # As many as a burst has do not wait for a neighbour.
    _ping(net, f"{b.host_ip} repeat 1 timeout 5")
    done = _ping(net, f"{b.host_ip} repeat 2 burst 20 interval 0.2 timeout 5")
    assert (done["sent"], done["received"]) == (40, 40)
    with pytest.raises(CliError, match="at most 65535 requests"):
        net.weft.cli(f"ping {b.host_ip} repeat 300 burst 256")


@pytest.mark.parametrize("size", [0, 56, 1000, 1472, 1473, 9000, 65507])
def test_a_host_answers(net, size):
    b = net.sites[1]
    # More fragments than packets may wait for a neighbour.
    _ping(net, f"{b.host_ip} repeat 1 timeout 5")
    done = _ping(net, f"{b.host_ip} repeat 5 {QUICK} size {size} timeout 5")
    assert done["source"] == b.router_ip, "that of the interface by which it leaves"
    assert (done["sent"], done["received"], done["errors"], done["duplicates"], done["damaged"]) == (5, 5, 0, 0, 0)
    assert [answer["sequence"] for answer in done["answers"]] == list(range(5))
    assert all(answer["ttl"] == 64 for answer in done["answers"])
    assert 0 < done["rtt_ms"]["min"] <= done["rtt_ms"]["avg"] <= done["rtt_ms"]["max"] < 5000
    counted = {reason: count for (node, reason), count in net.weft.errors().items() if node == "ping"}
    assert counted == {"answer to a ping of this router": 6}


def test_what_an_operator_reads(net):
    b = net.sites[1]
    said = net.weft.cli(f"ping {b.host_ip} repeat 2 {QUICK} timeout 5").splitlines()
    assert said[0] == f"PING {b.host_ip} from {b.router_ip}: 56 data bytes"
    assert said[1].startswith(f"64 bytes from {b.host_ip}: seq=0 ttl=64 time=")
    assert said[3] == f"ping {b.host_ip}: 2 sent, 2 received, 0% packet loss"
    assert said[4].startswith("rtt min/avg/max = ")


def test_source_and_own_addresses(net):
    a, b = net.sites
    with Wire(b.host, "eth0") as wire:
        done = _ping(net, f"{b.host_ip} repeat 1 source {a.router_ip} ttl 9 size 3 timeout 5")
        request = _requests(wire)[0]
    assert done["received"] == 1, "the host sends its answer to the other address by way of the router"
    assert (request[IP].src, request[IP].ttl, request[IP].len) == (a.router_ip, 9, 31)
    done = _ping(net, f"{a.router_ip} repeat 2 {QUICK} timeout 5")
    assert (done["source"], done["received"]) == (a.router_ip, 2)


def test_nobody_answers(net):
    b = net.sites[1]
    nobody = b.host_ip.rsplit(".", 1)[0] + ".99"
    done = _ping(net, f"{nobody} repeat 3 {QUICK} timeout 0.2")
    assert (done["sent"], done["received"], done["rtt_ms"]) == (3, 0, None)
    assert "100% packet loss" in net.weft.cli(f"ping {nobody} repeat 1 timeout 0.1")


@pytest.fixture
def behind(net, lab):
    """A host behind the right one, which forwards; some networks there are unreachable."""
    b = net.sites[1]
    far = lab.namespace("far")
    lab.veth(b.host, "eth1", far, "eth0")
    b.host.sysctl(net__ipv4__ip_forward=1)
    b.host.ip("addr", "add", "10.9.0.1/24", "dev", "eth1")
    far.ip("addr", "add", "10.9.0.2/24", "dev", "eth0")
    far.ip("route", "add", "default", "via", "10.9.0.1")
    b.host.ip("route", "add", "unreachable", "10.10.0.0/24")
    b.host.ip("route", "add", "prohibit", "10.11.0.0/24")
    for network in ("10.9.0.0/24", "10.10.0.0/24", "10.11.0.0/24"):
        net.weft.cli(f"ip route add {network} via {b.host_ip} {b.port}")
    return net


def test_behind_a_router(behind):
    b = behind.sites[1]
    done = _ping(behind, f"10.9.0.2 repeat 3 {QUICK} timeout 5")
    assert (done["source"], done["received"]) == (b.router_ip, 3)
    assert {answer["ttl"] for answer in done["answers"]} == {63}

    def error(words):
        done = _ping(behind, f"{words} repeat 1 timeout 5")
        assert (done["received"], done["errors"]) == (0, 1)
        return done["answers"][0]

    assert error("10.9.0.2 ttl 1") == {"sequence": 0, "from": b.host_ip, "error": "time to live exceeded"}
    assert error("10.10.0.1")["error"] == "destination host unreachable"
    assert error("10.11.0.1")["error"] == "administratively prohibited"
    said = behind.weft.cli("ping 10.9.0.2 ttl 1 repeat 1 timeout 5")
    assert f"From {b.host_ip}: seq=0 time to live exceeded\n" in said


def test_by_another_table(network, lab):
    net = network(more=PluginFolder(lab, "ping").settings, ports={"p1": {"table": 7}})
    b = net.sites[1]
    done = _ping(net, f"{b.host_ip} table 7 repeat 2 {QUICK} timeout 5")
    assert (done["source"], done["received"]) == (b.router_ip, 2)
    with pytest.raises(CliError, match=f"no route to {b.host_ip} in table 0"):
        _ping(net, b.host_ip)


def test_duplicates_and_foreign_data(net):
    b = net.sites[1]
    b.host.sysctl(net__ipv4__icmp_echo_ignore_all=1)
    with Wire(b.host, "eth0") as wire:
        client = _start(net, f"{b.host_ip} repeat 2 interval 0.5 timeout 20")
        poll_until(lambda: len(_requests(wire)) >= 2, 15, "two requests")
        requests = _requests(wire)

        def reply(request, data):
            ip, icmp = request[IP], request[ICMP]
            return (Ether(src=request.dst, dst=request.src) / IP(src=ip.dst, dst=ip.src) /
                    ICMP(type=0, id=icmp.id, seq=icmp.seq) / data)

        first, second = (bytes(request[ICMP].payload) for request in requests[:2])
        wire.send(reply(requests[1], first))
        wire.send(reply(requests[0], first))
        wire.send(reply(requests[0], first))
        poll_until(lambda: net.weft.errors().get(("ping", "second answer to one request of a ping of this router")), 10,
                   "the duplicate was seen")
        wire.send(reply(requests[1], second))
    done = json.loads(client.communicate(timeout=30)[0])
    assert (done["sent"], done["received"], done["duplicates"], done["damaged"]) == (2, 2, 1, 1)


def test_the_main_thread_serves_others_meanwhile(net):
    client = _start(net, f"{net.sites[1].host_ip} repeat 100 interval 0.1")
    for _ in range(5):
        assert net.weft.main_thread_answers()
    assert _ping(net, f"{net.sites[0].host_ip} repeat 2 {QUICK} timeout 5")["received"] == 2, "two pings at a time"
    assert client.poll() is None
    client.kill()
    client.wait()


def test_a_client_that_goes_away_ends_its_ping(net):
    b = net.sites[1]
    # More than there may be at a time.
    for _ in range(20):
        client = _start(net, f"{b.host_ip} repeat 1000 interval 1")
        sent = net.weft.node_packets("ping")
        poll_until(lambda: net.weft.node_packets("ping") != sent or client.poll() is not None, 10, "an answer")
        assert client.poll() is None, client.stdout.read()
        client.kill()
        client.wait()
    assert _ping(net, f"{b.host_ip} repeat 1 timeout 5")["received"] == 1


def test_unload_and_reload_in_the_middle(net):
    b = net.sites[1]
    at_rest = net.weft.buffers_used()

    def begin():
        seen = sum(net.weft.node_packets("ping").values())
        client = _start(net, f"{b.host_ip} repeat 1000 interval 0.05")
        poll_until(lambda: sum(net.weft.node_packets("ping").values()) > seen, 10, "an answer")
        return client

    client = begin()
    net.weft.cli("plugin reload ping")
    assert "the plugin was replaced meanwhile" in client.communicate(timeout=20)[0]
    client = begin()
    net.weft.cli("plugin unload ping")
    assert "plugin 'ping' is gone" in client.communicate(timeout=20)[0]
    assert "2 received" in b.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, b.router_ip)
    net.weft.cli("plugin load ping")
    assert _ping(net, f"{b.host_ip} repeat 2 {QUICK} timeout 5")["received"] == 2
    poll_until(lambda: net.weft.buffers_used() == at_rest, 10, "all buffers are back")


def test_from_a_file_of_commands(net):
    """Nobody waits there: the result is in the log."""
    b = net.sites[1]
    commands = net.weft.folder / "commands"
    commands.write_text(f"ping {b.host_ip} repeat 2 {QUICK}\n")
    assert net.weft.cli(f"exec {commands}") == "ping: started\n"
    poll_until(lambda: f"ping {b.host_ip}: 2 sent, 2 received" in net.weft.log_text(), 20, "the log has the result")


def test_refusals(net):
    def refused(words, why):
        with pytest.raises(CliError, match=why):
            net.weft.cli(f"ping {words}")

    refused("", "expected IP address")
    refused("nowhere", "expected IP address, found .*nowhere")
    refused("224.0.0.1", "expected the address of one host")
    refused("192.0.2.1", "no route to 192.0.2.1 in table 0")
    refused("10.1.0.2 repeat 0", "expected repeat from 1 to 65535, found 0")
    refused("10.1.0.2 interval NaN", "expected interval from 0.01 to 60, found NaN")
    refused("10.1.0.2 size 65508", "expected size from 0 to 65507, found 65508")
    refused("10.1.0.2 table 9", "table 9")
    refused("10.1.0.2 flood", "expected repeat, burst, interval")


def six(site, number, **sysctl):
    """Gives a site IPv6: of 2001:db8:N::/64, ::1 is the router's and ::2 the host's."""
    site.host.sysctl(**{f"net__ipv6__conf__{name}__disable_ipv6": 0 for name in ("lo", "eth0")},
                     net__ipv6__conf__eth0__accept_dad=0, **sysctl)
    site.host.ip("addr", "add", f"2001:db8:{number}::2/64", "dev", "eth0", "nodad")
    site.host.ip("route", "add", "default", "via", f"2001:db8:{number}::1")
    return f"2001:db8:{number}::1/64"


@pytest.fixture
def net6(net):
    for number, site in enumerate(net.sites, 1):
        net.weft.cli(f"set interface ip address {site.port} {six(site, number)}")
    poll_until(lambda: _ping(net, "2001:db8:2::2 repeat 1 timeout 1")["received"] == 1, 20, "the host answers")
    return net


@pytest.mark.parametrize("size", [0, 56, 1232, 1452, 1453, 9000, 65507])
def test_a_host_answers_by_ipv6(net6, size):
    done = _ping(net6, f"2001:db8:2::2 repeat 5 {QUICK} size {size} timeout 5")
    assert done["source"] == "2001:db8:2::1", "that of the interface by which it leaves"
    assert (done["sent"], done["received"], done["errors"], done["duplicates"], done["damaged"]) == (5, 5, 0, 0, 0)
    assert all(answer["ttl"] == 64 for answer in done["answers"])


def test_ipv6_of_a_link_of_this_router_and_of_a_small_mtu(net6):
    b = net6.sites[1]
    link_local = next(info["local"] for link in json.loads(b.host.ip("-6", "-j", "addr", "show", "dev", "eth0"))
                      for info in link["addr_info"] if info["scope"] == "link")
    done = _ping(net6, f"{link_local} interface {b.port} repeat 3 {QUICK} timeout 5")
    assert done["received"] == 3 and done["source"].startswith("fe80::")
    with pytest.raises(CliError, match="says nothing without its link"):
        _ping(net6, link_local)
    with pytest.raises(CliError, match=f"is the address of {b.port} itself"):
        _ping(net6, f"{done['source']} interface {b.port}")
    assert _ping(net6, f"2001:db8:1::1 repeat 2 {QUICK} timeout 5")["received"] == 2, "an own address"
    done = _ping(net6, f"2001:db8:2::2 source 2001:db8:1::1 repeat 2 burst 20 interval 0.2 ttl 9 timeout 5")
    assert (done["sent"], done["received"]) == (40, 40)
    net6.weft.cli(f"set interface mtu 1280 {b.port}")
    assert _ping(net6, f"2001:db8:2::2 repeat 2 {QUICK} size 1452 timeout 5")["received"] == 2
    assert _ping(net6, f"2001:db8:2::2 repeat 2 {QUICK} size 5000 timeout 5")["received"] == 2
    with pytest.raises(CliError, match="expected a source of IPv6"):
        _ping(net6, f"2001:db8:2::2 source {b.router_ip}")
    for nobody in ("::", "ff02::1"):
        with pytest.raises(CliError, match="expected the address of one host"):
            _ping(net6, nobody)


def test_ipv6_behind_a_router_and_errors(net6, lab):
    b = net6.sites[1]
    far = lab.namespace("far")
    lab.veth(b.host, "eth1", far, "eth0")
    for host, names in ((b.host, ("eth1",)), (far, ("lo", "eth0"))):
        host.sysctl(**{f"net__ipv6__conf__{name}__disable_ipv6": 0 for name in names}, **{f"net__ipv6__conf__{names[-1]}__accept_dad": 0})
    b.host.sysctl(net__ipv6__conf__all__forwarding=1)
    b.host.ip("route", "replace", "default", "via", "2001:db8:2::1")
    b.host.ip("addr", "add", "2001:db8:9::1/64", "dev", "eth1", "nodad")
    far.ip("addr", "add", "2001:db8:9::2/64", "dev", "eth0", "nodad")
    far.ip("route", "add", "default", "via", "2001:db8:9::1")
    b.host.ip("-6", "route", "add", "prohibit", "2001:db8:11::/48")
    for network in ("2001:db8:9::/64", "2001:db8:11::/48"):
        net6.weft.cli(f"ip route add {network} via 2001:db8:2::2 {b.port}")
    poll_until(lambda: _ping(net6, "2001:db8:9::2 repeat 1 timeout 1")["received"] == 1, 20, "the far host answers")
    done = _ping(net6, f"2001:db8:9::2 repeat 3 {QUICK} timeout 5")
    assert {answer["ttl"] for answer in done["answers"]} == {63}
    expired = _ping(net6, "2001:db8:9::2 ttl 1 repeat 1 timeout 5")
    assert expired["errors"] == 1 and expired["answers"][0]["error"] == "hop limit exceeded", expired
    assert expired["answers"][0]["from"] == "2001:db8:2::2"
    refused = _ping(net6, "2001:db8:11::1 repeat 1 timeout 5")
    assert refused["answers"][0]["error"] == "administratively prohibited", refused
    assert f"From 2001:db8:2::2: seq=0 hop limit exceeded\n" in net6.weft.cli("ping 2001:db8:9::2 ttl 1 repeat 1 timeout 5")
