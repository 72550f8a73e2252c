# SPDX-License-Identifier: Apache-2.0
"""Measures how fast the routes of a vplaned and of a route broker reach the forwarding tables while packets are forwarded.

A double of vplaned hands over its kernel's links and addresses and then very many routes; it is killed and started anew for
each step. Meanwhile a paced flow is counted at both ends, and a command is asked again and again. Run it by
`scripts/bench vplaned`.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests"))

from lab import Lab, Trafficgen, Weft, poll_until, sites  # noqa: E402
from lab import weft as words  # noqa: E402
from lab.netlink_capture import NetlinkCapture  # noqa: E402

PATIENCE = 300


class Double:
    """The process that plays vplaned and the route broker."""

    def __init__(self, net):
        self.net, self.process = net, None

    def start(self, **options):
        folder, net = self.net.folder, self.net
        ports = [word for tap, index in net.taps.items() for word in ("--port", f"{tap[3:]}={tap}:{index}")]
        more = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        self.process = net.router.start(
            net.options.double, "--request", f"ipc://{folder}/req", "--publish", f"ipc://{folder}/pub", "--base", folder / "base",
            *ports, "--broker", f"ipc://{folder}/broker", "--data", f"ipc://{folder}/data", *more)
        self.expect("ready")

    def expect(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return [int(number) for number in line.split()[1:]]
        raise AssertionError(f"the double ended before {word!r}")

    def kill(self):
        self.process.kill()
        self.process.wait(10)


class Net:
    """Two hosts, Weft between them, and its TAPs with addresses, ready for a vplaned to tell of them."""

    def __init__(self, lab, options):
        self.options = options
        self.router = lab.namespace("router")
        self.router.sysctl(net__ipv4__ip_forward=1)
        self.sites = sites(lab, self.router, 2)
        self.folder = Path(lab.folder("vplaned"))
        for site in self.sites:
            tap = f"dp0{site.port}"
            self.router.ip("tuntap", "add", "dev", tap, "mode", "tap")
            self.router.ip("link", "set", tap, "address", site.port_mac, "up")
            self.router.ip("addr", "add", site.router_address, "dev", tap)
        links = self.router.links()
        self.taps = {f"dp0{site.port}": links[f"dp0{site.port}"]["ifindex"] for site in self.sites}
        section = (f"vplaned {{ request ipc://{self.folder}/req console ipc://{self.folder}/console "
                   f"vplsh-console ipc://{self.folder}/vplsh route-broker ipc://{self.folder}/broker }}")
        self.weft = Weft(lab, self.router, [words.Port(site.port) for site in self.sites], more=section)

    def write_base(self):
        """What the kernel of the router has, as a snapshot begins."""
        with NetlinkCapture(self.router) as kernel, (self.folder / "base").open("wb") as file:
            for topic, message in kernel.dump():
                for frame in (topic.encode(), message):
                    file.write(struct.pack("<I", len(frame)) + frame)

    def shown(self):
        return self.weft.cli_json("show vplaned")

    def resident(self):
        """MiB of the daemon's memory."""
        status = Path(f"/proc/{self.weft.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


class Asker:
    """Asks a command again and again; knows the longest wait, in milliseconds."""

    def __init__(self, weft):
        self.weft, self.worst, self._end = weft, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._end.wait(0.1):
            start = time.monotonic()
            self.weft.cli("show version")
            self.worst = max(self.worst, (time.monotonic() - start) * 1000)

    def stop(self):
        self._end.set()
        self._thread.join()
        return self.worst


def step(net, name, routes, work):
    """One step under traffic; `work` does it and says how many milliseconds it took."""
    a, b = net.sites
    asker, flow = Asker(net.weft), net.trafficgen.flow(a, b, rate=net.options.rate)
    took = work()
    counted = flow.stop()
    result = {"step": name, "routes": routes, "ms": took, "routes_per_second": round(routes / took * 1000) if took else None,
              "sent": counted["sent"], "lost": counted["lost"], "longest_answer_ms": round(asker.stop()), "rss_mib": round(net.resident())}
    print(f"{name:<34}{routes:>9}{took:>9} ms{result['routes_per_second'] or 0:>11}/s{counted['sent']:>11}{counted['lost']:>6}"
          f"{result['longest_answer_ms']:>9} ms{result['rss_mib']:>7} MiB", flush=True)
    return result


def snapshot(net, routes):
    """A vplaned that has been restarted; the milliseconds from the request to the end of its snapshot."""
    net.double.kill()
    before = net.shown()["snapshot"]
    net.double.start(routes=routes)
    poll_until(lambda: net.shown()["state"] == "ready" and net.shown()["snapshot"] != before and net.shown()["routes4"] >= routes,
               PATIENCE, "the snapshot is taken in")
    return net.shown()["snapshot"]["milliseconds"]


def broker(net, routes, form):
    """A broker that tells everything; the milliseconds from its first route to the last one."""
    net.double.kill()
    told = net.shown()["broker"]["routes"]
    net.double.start(broker_routes=routes, format=form)
    poll_until(lambda: net.shown()["broker"]["routes"] == told + routes, PATIENCE, "all routes of the broker are in")
    return net.shown()["broker"]["burst_milliseconds"]


def restart(net):
    """Weft is killed and started again: milliseconds from its start to the first packets, and to the end of the snapshot."""
    b = net.sites[1]
    flow = net.trafficgen.flow(*net.sites, rate=net.options.rate)
    net.weft.kill()
    started, before = time.monotonic(), b.host.counters("eth0")["rx_packets"]
    net.weft.start()
    packets = snapshot = None
    while packets is None or snapshot is None:
        now = (time.monotonic() - started) * 1000
        if now > PATIENCE * 1000:
            raise AssertionError("no packets, or no snapshot, after the restart")
        # A few frames are not the flow's.
        if packets is None and b.host.counters("eth0")["rx_packets"] > before + 50:
            packets = now
        if snapshot is None and net.shown()["snapshot"]:
            snapshot = (time.monotonic() - started) * 1000
        time.sleep(0.01)
    flow.stop()
    print(f"Weft killed and started: packets pass after {packets:.0f} ms, the snapshot of {net.shown()['routes4']} routes is in after "
          f"{snapshot:.0f} ms")


def run(options):
    with Lab() as lab:
        net = Net(lab, options)
        net.trafficgen, net.double = Trafficgen(), Double(net)
        net.write_base()
        net.double.start()
        net.weft.start()
        poll_until(lambda: net.shown()["state"] == "ready", 30, "the first session is ready")
        a, b = net.sites
        poll_until(lambda: a.host.run("ping", "-c", 1, "-W", 1, b.host_ip, check=False).returncode == 0, 30, "packets pass")
        print(f"memory without routes: {net.resident():.0f} MiB")
        print(f"{'step':<34}{'routes':>9}{'took':>12}{'':>13}{'sent':>11}{'lost':>6}{'answer':>12}{'memory':>11}")
        results = [
            step(net, "snapshot", options.routes, lambda: snapshot(net, options.routes)),
            step(net, "the same snapshot again", options.routes, lambda: snapshot(net, options.routes)),
            step(net, "a snapshot without them", 0, lambda: snapshot(net, 0)),
            step(net, "route broker, netlink", options.routes, lambda: broker(net, options.routes, "netlink")),
            step(net, "route broker, protobuf, the same", options.routes, lambda: broker(net, options.routes, "protobuf")),
        ]
        net.double.kill()
        net.double.start(routes=options.routes)
        restart(net)
        net.double.kill()
    if options.json:
        print(json.dumps(results))
    lost = sum(result["lost"] for result in results)
    if lost:
        sys.exit(f"bench: {lost} packets were lost")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench vplaned", description=__doc__.splitlines()[0])
    parser.add_argument("--routes", type=int, default=1_000_000, help="routes of a snapshot and of the broker (1000000)")
    parser.add_argument("--rate", type=int, default=20_000, help="packets a second that are forwarded meanwhile (20000)")
    parser.add_argument("--double", default=os.environ.get("WEFT_BIN_DIR", "") + "/vplaned-double", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="prints the figures as JSON too")
    run(parser.parse_args())


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(f"bench: {error}")
