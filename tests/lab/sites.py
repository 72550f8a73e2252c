# SPDX-License-Identifier: Apache-2.0
"""The usual topology: hosts around one router, host N in 10.N.0.0/24 with the router as its gateway."""

from dataclasses import dataclass

from .namespace import Namespace


@dataclass
class Site:
    """A host, its link to the router, and both ends' addresses."""

    host: Namespace
    interface: str
    port: str  # the router's end of the link
    host_ip: str
    router_ip: str
    length: int
    host_mac: str
    port_mac: str

    @property
    def router_address(self):
        return f"{self.router_ip}/{self.length}"


def sites(lab, router, count=2, networks=None, length=24, queues=1, mtu=1500):
    """Makes `count` hosts around the namespace `router`. `networks` names the networks' first three octets."""
    made = []
    for number in range(1, count + 1):
        network = networks[number - 1] if networks else f"10.{number}.0"
        host = lab.namespace(f"h{number}")
        host_mac, port_mac = lab.veth(host, "eth0", router, f"p{number - 1}", queues=queues, mtu=mtu)
        site = Site(host, "eth0", f"p{number - 1}", f"{network}.2", f"{network}.1", length, host_mac, port_mac)
        host.ip("addr", "add", f"{site.host_ip}/{length}", "dev", "eth0")
        host.ip("route", "add", "default", "via", site.router_ip)
        made.append(site)
    return made
