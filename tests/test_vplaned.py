# SPDX-License-Identifier: Apache-2.0
"""Weft driven by a double of vplaned: what `ip` does to the TAPs in the kernel reaches the forwarding tables."""

import json
import re

import pytest
import zmq

from lab import Broker, Weft, poll_until, sites
from lab import weft as words
from lab.vplaned import Vplaned

SECONDS = 20


class Driven:
    """A router whose addresses and routes are the kernel's, on TAPs that the double made."""

    def __init__(self, lab, broker=None, more="", **options):
        self.lab = lab
        self.router = lab.namespace("router")
        # Weft forwards on an interface if the kernel does; the kernel itself only forwards what Weft leaves to it.
        self.router.sysctl(net__ipv4__ip_forward=1)
        self.sites = sites(lab, self.router, 2)
        self.folder = lab.folder("vplaned")
        self.console = f"ipc://{self.folder}/console"
        self.double = Vplaned(lab, self.router, self.folder, **options)
        ports = [words.Port(site.port) for site in self.sites]
        section = self.double.section(self.console)
        if broker is not None:
            self.broker = Broker(lab, self.folder, broker).start()
            section = section.replace("{", f"{{ route-broker {self.broker.control}", 1)
        self.weft = Weft(lab, self.router, ports, more=f"{section}\n{more}")

    def start(self):
        self.double.start()
        self.weft.start()
        self.ready()
        return self

    def ready(self):
        try:
            poll_until(lambda: self.weft.cli_json("show vplaned")["state"] == "ready", SECONDS, "the session is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.weft.cli('show vplaned')}\n{self.double.words()[-20:]}\n"
                                 f"{self.weft.log_text()}") from None

    def configure(self):
        """As an administrator: the TAPs are set up and get the routers' addresses."""
        for site in self.sites:
            tap = f"dp0{site.port}"
            self.router.ip("link", "set", tap, "up")
            self.router.ip("addr", "replace", site.router_address, "dev", tap)
        self.reachable()

    def reachable(self):
        a, b = self.sites
        poll_until(lambda: a.host.run("ping", "-c", 1, "-W", 1, b.host_ip, check=False).returncode == 0, SECONDS,
                   f"host B answers through Weft; the log:\n{self.weft.log_text()}")

    def ask(self, command, console=None):
        """What the console answers."""
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.linger, client.rcvtimeo = 0, 10_000
            client.connect(console or self.console)
            client.send(command if isinstance(command, bytes) else command.encode())
            status, output = client.recv_multipart()
            return status.decode(), output.decode()

    def fib(self):
        """Routes of vplaned and addresses; no counters, and nothing that Weft learns by itself."""
        tables = self.weft.cli_json("show ip fib")["tables"]
        routes = {(table["table"], route["prefix"]): source["paths"] for table in tables for route in table["routes"]
                  for source in route["sources"] if source["owner"] == "vplaned"}
        return [routes, self.weft.cli_json("show interface addr")]


    def index(self, site):
        """The kernel's number of a port's TAP."""
        return self.router.links()[f"dp0{site.port}"]["ifindex"]

    def route(self, prefix, table=0):
        """The paths of a route of vplaned or the broker, or nothing."""
        return self.fib()[0].get((table, prefix))


@pytest.fixture
def driven(lab):
    def make(**options):
        return Driven(lab, **options).start()

    return make


def test_the_kernels_addresses_and_routes_forward(driven):
    net = driven()
    net.configure()
    a, b = net.sites
    # Routes follow: a network behind host B.
    b.host.ip("addr", "add", "172.16.5.1/32", "dev", "lo")
    net.router.ip("route", "add", "172.16.5.0/24", "via", b.host_ip)
    poll_until(lambda: a.host.run("ping", "-c", 1, "-W", 1, "172.16.5.1", check=False).returncode == 0, SECONDS,
               "the route forwards")
    net.router.ip("route", "del", "172.16.5.0/24")
    poll_until(lambda: "Unreachable" in a.host.run("ping", "-c", 1, "-W", 1, "172.16.5.1", check=False).stdout, SECONDS,
               "the route is gone")
    net.router.ip("link", "set", "dp0p1", "down")
    poll_until(lambda: a.host.run("ping", "-c", 1, "-W", 1, b.host_ip, check=False).returncode != 0, SECONDS,
               "an interface that is down forwards nothing")


def test_links_are_reported_and_reported_again(driven):
    net = driven()
    poll_until(lambda: net.double.words().count("LINKUP") >= 6, SECONDS, "both ports' links are told every second")
    site = net.sites[0]
    site.host.ip("link", "set", "eth0", "down")
    poll_until(lambda: "LINKDOWN" in net.double.words(), SECONDS, "a lost carrier is told")


def test_the_host_is_reached_through_the_shadow_of_the_port(driven):
    net = driven()
    net.configure()
    a = net.sites[0]
    net.router.sysctl(net__ipv4__conf__all__rp_filter=0)
    with net.router.socket() as listener, a.host.socket() as client:
        listener.bind((a.router_ip, 2222))
        listener.listen()
        listener.settimeout(SECONDS)
        client.settimeout(SECONDS)
        client.connect((a.router_ip, 2222))
        connection, _ = listener.accept()
        with connection:
            client.sendall(b"through the shadow")
            assert connection.recv(64) == b"through the shadow"


def test_quick_changes_in_the_kernel_settle_on_the_last(driven):
    """What the TAP says is never written back to it: two values would chase each other for ever."""
    net = driven()
    net.configure()
    a, b = net.sites
    macs = [f"02:de:00:00:00:{last:02x}" for last in (1, 2, 3)]
    for mac in macs:
        net.router.ip("link", "set", "dp0p0", "address", mac)
    for mtu in (1400, 1300, 1450):
        net.router.ip("link", "set", "dp0p0", "mtu", mtu)
    for state in ("down", "up", "down", "up"):
        net.router.ip("link", "set", "dp0p0", state)

    def settled():
        links = net.router.links()
        own = net.weft.cli_json("show interface")["interfaces"]
        port = next(each for each in own if each["name"] == "p0")
        return [links["dp0p0"]["address"], links["p0"]["address"], links["dp0p0"]["mtu"], port["mtu"], port["admin_up"]]

    poll_until(lambda: settled() == [macs[-1], macs[-1], 1450, 1450, True], SECONDS, "the last values hold everywhere")
    heard = net.weft.cli_json("show vplaned")["sequence"]
    # The address went with the state, as in any kernel.
    net.router.ip("addr", "replace", a.router_address, "dev", "dp0p0")
    net.reachable()
    assert "20 received" in a.host.output("ping", "-c", 20, "-i", 0.05, "-W", 1, b.host_ip)
    assert net.weft.cli_json("show vplaned")["sequence"] - heard < 20, "nobody answers a change with another"
    assert settled() == [macs[-1], macs[-1], 1450, 1450, True]


def test_a_tap_that_is_deleted_is_made_again(driven):
    net = driven()
    net.configure()
    before = net.router.links()["dp0p0"]["ifindex"]
    net.router.ip("link", "del", "dp0p0")
    poll_until(lambda: net.router.links().get("dp0p0", {}).get("ifindex", before) != before, SECONDS,
               "vplaned has made another one")
    net.configure()
    assert net.weft.log_text().count("was deleted; the port is registered again") == 1


def test_commands_that_fail_come_back_as_events(driven):
    net = driven()
    net.double.command("npf-cfg zone add inside")
    net.double.command("nosuch command")
    net.double.command("poe enable dp0p0")
    net.double.command("ip4 redirects enable")
    poll_until(lambda: len(net.double.events()) == 2, SECONDS, "both are reported")
    assert net.double.events() == ["npf-cfg zone add inside", "nosuch command"]
    ignored = net.weft.cli_json("show vplaned ignored")["commands"]
    assert [(entry["name"], entry["harmless"]) for entry in ignored] == [("nosuch", False), ("poe", True)]


def test_the_console_answers(driven):
    net = driven()
    net.configure()
    a = net.sites[0]
    for endpoint in (net.console, f"{net.console}-vplsh"):
        status, output = net.ask("ifconfig -a", endpoint)
        assert status == "OK"
        assert {entry["name"] for entry in json.loads(output)["interfaces"]} == {"dp0p0", "dp0p1"}
    status, output = net.ask(f"route lookup {a.host_ip}")
    assert status == "OK"
    assert json.loads(output)["route_lookup"][0]["ifname"] == "dp0p0"
    assert [hop["ifname"] for hop in json.loads(output)["route_lookup"][0]["next_hop"]] == ["dp0p0"]
    def asked(command):
        status, output = net.ask(command)
        assert status == "OK", output
        return json.loads(output) if output else None

    (entry,) = asked("ifconfig dp0p0")["interfaces"]
    assert (entry["vrf_id"], entry["ip_forwarding"], entry["ipv4"]["rp_filter"]) == (1, 1, 0)
    assert entry["xstatistics"]["rx_good_packets"] >= 1 and len(entry["statistics"]["rx_pps_avg"]) == 3
    net.router.sysctl(net__ipv4__conf__dp0p0__rp_filter=1)
    poll_until(lambda: asked("ifconfig dp0p0")["interfaces"][0]["ip_rp_filter"] == 1, SECONDS, "the kernel's setting is told")
    net.router.sysctl(net__ipv4__conf__dp0p0__rp_filter=0)
    assert {entry["vrf_id"] for entry in asked("vrf")["vrf_table"]} == {1}
    every = [route["prefix"] for route in asked("route all")["route_show"]]
    assert [route["prefix"] for route in asked("route vrf_id 1 table 254 all")["route_show"]] == every
    address, length = every[0].split("/")
    following = asked(f"route show get-next {address} {length} 2")["route_show"]
    assert [route["prefix"] for route in following] == every[1:3] + ["more"]
    assert asked("local vrf_id 1") == asked("local") and net.ask("local vrf_id 77")[0] == "ERROR"
    assert set(asked("arp get")) == {"Aging time", "Max entries"}
    assert a.host_ip in [each["ip"] for each in asked("arp show dp0p0")["arp"]]
    asked(f"arp flush to {a.host_ip}")
    assert a.host_ip not in [each["ip"] for each in asked("arp")["arp"]]
    net.reachable()
    asked("arp flush dev dp0p0")
    net.reachable()
    told = asked("netstat")
    assert told["ip"]["InReceives"] >= 2 and told["arp"]["rx_request"] >= 1 and {"icmp", "ip6", "icmp6", "nd6"} <= set(told)
    assert net.ask("bogus") == ("ERROR", "Unknown command: bogus\n")
    assert net.ask(b"\xff\x00")[0] == "ERROR"
    assert "ifconfig" in net.ask("help")[1]


def test_a_healthy_start_warns_of_nothing(driven):
    net = driven()
    net.configure()
    net.router.run("tc", "qdisc", "replace", "dev", "dp0p0", "root", "pfifo", "limit", 100)
    net.reachable()
    warned = [line for line in net.weft.log_text().splitlines() if "WARN" in line and "vplaned" in line]
    assert warned == []


def test_nobody_who_answers_is_logged_once(lab):
    net = Driven(lab)
    net.weft.start()
    poll_until(lambda: "nobody answers at" in net.weft.log_text(), SECONDS, "the log says that there is no vplaned")
    assert net.weft.log_text().count("nobody answers at") == 1
    assert net.weft.cli_json("show vplaned")["state"] != "ready"
    net.weft.stop()


def test_an_address_of_vrrp_is_the_hosts_and_what_has_no_effect_is_said_once(driven):
    net = driven()
    net.configure()
    a = net.sites[0]
    address, mac = f"{a.host_ip.rpartition('.')[0]}.200", "00:00:5e:00:01:07"
    net.router.ip("link", "add", "vrrp0", "link", "dp0p0", "address", mac, "type", "macvlan", "mode", "bridge")
    net.router.ip("link", "set", "vrrp0", "up")
    # Else the port itself answers for all addresses of the host.
    net.router.sysctl(net__ipv4__conf__dp0p0__arp_ignore=1)
    net.router.ip("addr", "add", f"{address}/32", "dev", "vrrp0")

    def resolved():
        a.host.run("ping", "-c", 1, "-W", 1, address, check=False)
        return mac in a.host.run("ip", "neigh", "show", address).stdout

    poll_until(resolved, SECONDS, "the host's TAP hears the question for its address")
    poll_until(lambda: "macvlan" in net.weft.cli("show vplaned"), SECONDS, "the link is listed")
    for command in ("storm-ctl SET dp0p0 unicast 10", "cgn-cfg policy add P", "storm-ctl SET dp0p0 unicast 20"):
        net.double.command(command)
    poll_until(lambda: "cgn-cfg" in net.weft.cli("show vplaned ignored"), SECONDS, "commands without effect are listed")
    for said in ("links of kind \"macvlan\" have no effect", "commands \"storm-ctl\" are accepted", "commands \"cgn-cfg\" are accepted"):
        assert net.weft.log_text().count(said) == 1, said


def test_malformed_messages_are_logged_and_left(driven):
    net = driven()
    net.configure()
    bad = [(b"",), (b"OK",), (b"OK", b"123", b"x", b"y"), (b"THATSALLFOLKS!", b"1", b""), (b"link 1 0 ", bytes(9), b""),
           (bytes(5),) * 4, (b"x",) * 100]
    for frames in bad:
        net.double.say(*frames)
        net.double.send_publication(*frames)
    poll_until(lambda: net.weft.cli_json("show vplaned")["malformed"] == 2 * len(bad), SECONDS, "all are counted")
    assert len(re.findall(r"message of the \w+ channel", net.weft.log_text())) == 2 * len(bad)
    net.reachable()


def test_either_side_is_killed_in_turn(driven, trafficgen):
    """No packet is lost when vplaned dies; the state is the same whoever was restarted."""
    net = driven(commands=["ip4 redirects enable"], own_process=True)
    net.configure()
    a, b = net.sites
    before = net.fib()
    for _ in range(10):
        flow = trafficgen.flow(a, b, rate=2000)
        net.double.kill()
        poll_until(lambda: net.weft.cli_json("show vplaned")["state"] != "ready", SECONDS, "Weft notices")
        net.double.start()
        net.ready()
        counted = flow.stop()
        assert counted["sent"] > 0 and counted["lost"] == 0, counted
        assert net.fib() == before

        net.weft.kill()
        net.weft.start()
        net.ready()
        net.reachable()
        poll_until(lambda: net.fib() == before, SECONDS, "the same routes and addresses")


def test_ten_thousand_commands_in_a_snapshot(driven):
    commands = [f"ecmp mode {'hash-threshold' if number % 2 else 'modulo-n'}" for number in range(10_000)]
    net = driven(commands=commands)
    shown = net.weft.cli_json("show vplaned")
    assert shown["commands_applied"] == len(commands)
    net.configure()
