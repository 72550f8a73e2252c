# SPDX-License-Identifier: Apache-2.0
"""Tests in the manner of VPP's: packets made by scapy go in through packet-generator interfaces, and come out as captures.

A `PgBed` is a daemon without any port, driven through the binary API by vpp_papi. No privilege is needed but those
of the daemon, no neighbour answers, nothing is lost: what a test sends is all that there is.
"""

import os
import sys
from ipaddress import IPv4Interface
from pathlib import Path

from scapy.utils import rdpcap, wrpcap

from .namespace import poll_until
from .weft import TREE, Weft

sys.path.insert(0, str(Path(os.environ.get("WEFT_TOOLS_DIR", TREE / "target/tools")) / "python"))

from vpp_papi import VPPApiClient, VppEnum  # noqa: E402  (scripts/setup puts it there)

TRACED = 1000


class PgInterface:
    """`pgN`, up, with an address and one neighbour."""

    def __init__(self, bed, number):
        self.bed, self.number = bed, number
        api = bed.api
        self.index = api.pg_create_interface_v3(interface_id=number, pg_flags=0, gso_size=0, mode=0).sw_if_index
        (details,) = api.sw_interface_dump(sw_if_index=self.index)
        self.name, self.local_mac = details.interface_name, str(details.l2_address)
        address = IPv4Interface(f"172.16.{number}.1/24")
        self.local_ip, self.remote_ip = str(address.ip), str(address.ip + 1)
        self.remote_mac = f"02:00:00:00:{number:02x}:02"
        up = VppEnum.vl_api_if_status_flags_t.IF_STATUS_API_FLAG_ADMIN_UP
        bed.done(api.sw_interface_set_flags(sw_if_index=self.index, flags=up))
        bed.done(api.sw_interface_add_del_address(sw_if_index=self.index, is_add=True, prefix=str(address)))
        neighbor = {"sw_if_index": self.index, "flags": 1, "mac_address": self.remote_mac, "ip_address": self.remote_ip}
        bed.done(api.ip_neighbor_add_del(is_add=True, neighbor=neighbor))

    @property
    def captured(self):
        return self.bed.folder / f"{self.name}_out.pcap"

    def add_stream(self, packets):
        """The packets will come in by this interface when the bed is started."""
        path = self.bed.folder / f"{self.name}_in.pcap"
        wrpcap(str(path), packets)
        self.bed.cli(f"packet-generator new pcap {path} source {self.name} name pcap-{self.name}")
        self.bed.streams.append(f"pcap-{self.name}")

    def enable_capture(self):
        """Keeps what goes out of this interface from now on."""
        api = self.bed.api
        self.bed.done(api.pg_capture(interface_id=self.number, is_enabled=False, count=0, pcap_file_name=""))
        self.captured.unlink(missing_ok=True)
        self.bed.done(api.pg_capture(interface_id=self.number, is_enabled=True, count=0xFFFFFFFF, pcap_file_name=str(self.captured)))

    def capture(self):
        """What went out. No file: nothing did."""
        return list(rdpcap(str(self.captured))) if self.captured.exists() else []


class PgBed:
    """`interfaces` of them, numbered from 0."""

    def __init__(self, lab, interfaces=2, **options):
        self.folder = Path(lab.folder("pg"))
        self.weft = Weft(lab, lab.namespace("pg"), [], **options).start()
        self.client = VPPApiClient(server_address=str(self.weft.runtime / "api.sock"), bootstrapapi=True, read_timeout=60)
        assert self.client.connect("weft-tests") == 0
        self.api = self.client.api
        self.streams = []
        self.interfaces = [PgInterface(self, number) for number in range(interfaces)]

    def close(self):
        self.client.disconnect()
        self.weft.stop()

    @staticmethod
    def done(reply):
        assert reply.retval == 0, reply
        return reply

    def cli(self, command):
        return self.done(self.api.cli_inband(cmd=f"{command}\n")).reply

    def start(self):
        """Lets all streams run until their last packet has left the graph, or ended in it."""
        self.cli("clear trace")
        self.cli(f"trace add pg-input {TRACED}")
        self.done(self.api.pg_enable_disable(is_enabled=True, stream_name=""))
        poll_until(lambda: "Yes" not in self.cli("show packet-generator"), 20, "no stream is enabled any more")
        for name in self.streams:
            self.cli(f"packet-generator delete {name}")
        self.streams.clear()

    def send(self, source, packets):
        """Sends them and gives what came out, by interface."""
        source.add_stream(packets)
        for interface in self.interfaces:
            interface.enable_capture()
        self.start()
        return {interface: interface.capture() for interface in self.interfaces}

    def send_and_expect(self, source, packets, target, count=None):
        """Sends them and gives what came out of `target`; nothing came out of the others."""
        captures = self.send(source, packets)
        received = captures.pop(target)
        assert len(received) == (len(packets) if count is None else count), self.cli("show errors")
        assert not any(captures.values()), captures
        return received

    def send_and_expect_nothing(self, source, packets):
        captures = self.send(source, packets)
        assert not any(captures.values()), captures
