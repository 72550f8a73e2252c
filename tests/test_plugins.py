# SPDX-License-Identifier: Apache-2.0
"""Plugins come, go, are replaced and fail while packets flow. Nothing else may notice."""

import os
from pathlib import Path

import pytest

from lab import poll_until
from lab.plugins import HEADERS, PluginFolder
from lab.weft import TREE, CliError
from test_vplaned import Driven

SECONDS = 15
# How often a plugin is loaded and unloaded, and how often it is reloaded, under traffic.
ROUNDS = int(os.environ.get("WEFT_PLUGIN_ROUNDS", 50))
RATE = int(os.environ.get("WEFT_PLUGIN_RATE", 20_000))


@pytest.fixture
def folder(lab):
    return PluginFolder(lab)


def settings(folder, more=""):
    return f"plugins {{ path {folder.path} {more} }}"


def plugin(weft, name):
    found = [each for each in weft.cli_json("show plugins")["plugins"] if each["name"] == name]
    return found[0] if found else None


def feature(name, on=True):
    return f"set interface feature p0 {name} arc ip4-unicast{'' if on else ' disable'}"


def resolve(net):
    """Both neighbours are known, so that no packet waits for one."""
    a, b = net.sites
    a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)


def refusal(weft, command):
    with pytest.raises(CliError) as refused:
        weft.cli(command)
    return refused.value.output


def mapped(weft):
    """Libraries of plugins that are mapped in the daemon."""
    return {line.split()[4] for line in Path(f"/proc/{weft.process.pid}/maps").read_text().splitlines()
            if "memfd:weft-plugin" in line}


def resident(weft):
    """Kilobytes."""
    status = Path(f"/proc/{weft.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


class Traffic:
    """Packets from the left host to the right one, and what becomes of them in Weft: what a loaded machine loses before
    Weft sees it does not count."""

    def __init__(self, net, trafficgen):
        self.weft = net.weft
        self.used = self.weft.buffers_used()
        self.before = self.figures()
        self.flow = trafficgen.flow(*net.sites, rate=RATE)

    def figures(self):
        """Packets that came in and went out, and drops."""
        packets = [sum(self.weft.node_packets(node).values()) for node in ("ip4-input", "ip4-rewrite")]
        errors = self.weft.cli_json("show errors")["errors"]
        return (*packets, sum(error["count"] for error in errors if error["severity"] == "error"))

    def end(self, dropped=0):
        """Ends it: all packets came out but for so many, and no buffer is missing."""
        counted = self.flow.stop()
        came, went, drops = (now - then for now, then in zip(self.figures(), self.before))
        assert counted["sent"] > 0 and counted["doubled"] == 0 and counted["lost"] >= dropped, counted
        assert came > 0 and came - went == dropped == drops, f"{came} came, {went} went, {drops} were dropped; {counted}"
        poll_until(lambda: self.weft.buffers_used() == self.used, SECONDS, f"{self.used} buffers in use, as before")


def test_a_plugin_comes_and_goes_under_traffic(network, trafficgen, folder):
    folder.add("probe")
    folder.add_template("counter")
    net = network(workers=1, more=settings(folder, "plugin default { disable }"))
    weft = net.weft
    resolve(net)
    traffic = Traffic(net, trafficgen)
    for name in ["probe", "counter"]:
        for round_ in range(ROUNDS):
            weft.cli(f"plugin load {name}")
            weft.cli(feature(name))
            weft.cli(f"plugin unload {name}")
            if round_ == ROUNDS // 4:
                # What is allocated once has been allocated.
                before = resident(weft)
        assert mapped(weft) == set(), "a library is still mapped"
        assert resident(weft) < before + 1024, f"{name}: {before} kB at first, now {resident(weft)}"
    traffic.end()
    assert "probe" not in weft.cli("show features") and plugin(weft, "probe") is None


def test_a_reload_keeps_features_state_and_counters(network, trafficgen, folder):
    folder.add("probe")
    net = network(workers=1, more=settings(folder))
    weft = net.weft
    resolve(net)
    before_probe = sum(weft.node_packets("ip4-lookup").values())
    weft.cli("probe on p0")
    traffic = Traffic(net, trafficgen)
    inherited = 0
    for round_ in range(ROUNDS):
        weft.cli("plugin reload probe")
        seen = weft.cli_json("show probe")
        assert seen["inherited"] >= inherited, "what was counted before is handed over"
        inherited = seen["inherited"]
        if round_ == ROUNDS // 4:
            before = resident(weft)
    assert resident(weft) < before + 1024, f"{before} kB at first, now {resident(weft)}"
    assert len(mapped(weft)) == 1 and plugin(weft, "probe")["reloads"] == ROUNDS
    traffic.end()
    # Not a single packet went past the plugin between an old one and the next.
    assert weft.cli_json("show probe")["packets"] == sum(weft.node_packets("ip4-lookup").values()) - before_probe


def test_a_c_plugin_counts_packets(network, folder):
    folder.add_template("counter")
    net = network(more=settings(folder))
    a, b = net.sites
    net.weft.cli(feature("counter"))
    a.host.output("ping", "-c", 5, "-i", 0.05, "-W", 2, "-s", 100, b.host_ip)
    # 100 bytes, the headers of ICMP and of IPv4.
    assert net.weft.cli_json("show counter") == {"packets": 5, "bytes": 5 * 128}
    assert net.weft.cli("show counter") == "5 packets, 640 bytes\n"
    assert "takes no arguments" in refusal(net.weft, "show counter now")
    assert sum(row[0] for row in net.weft.stats("/plugins/counter/seen")["/plugins/counter/seen"]) == 5


def test_a_plugin_that_panics_is_cut_out(network, trafficgen, folder):
    """On packet 50,000, so that a slow machine gets there; WEFT_PLUGIN_PANIC_AT=1000000 for the real thing."""
    last = int(os.environ.get("WEFT_PLUGIN_PANIC_AT", 50_000))
    folder.add("probe")
    net = network(more=settings(folder))
    weft = net.weft
    resolve(net)
    weft.cli("probe on p0")
    weft.cli(f"probe panic-at {last}")
    traffic = Traffic(net, trafficgen)
    poll_until(lambda: plugin(weft, "probe")["state"] == "failed", SECONDS + last / RATE * 4, "the plugin has failed")
    found = plugin(weft, "probe")
    assert found["failures"] == 1 and "node probe" in found["reason"] and f"packet {last} was ordered" in found["reason"]
    assert "has failed in node probe" in weft.log_text()
    # Packets go on.
    passed = weft.interface("p1")["tx_packets"]
    poll_until(lambda: weft.interface("p1")["tx_packets"] > passed + 1000, SECONDS, "packets go on")
    traffic.end(dropped=1)
    assert weft.errors()[("probe", "the plugin panicked on this packet")] == 1
    assert "has failed" in refusal(weft, "show probe")
    # The file is good, as far as anybody knows: a fresh one runs.
    weft.cli("plugin reload probe")
    assert plugin(weft, "probe")["state"] == "running"


def test_a_command_that_panics(network, folder):
    folder.add("probe")
    weft = network(more=settings(folder)).weft
    assert "as was ordered" in refusal(weft, "probe panic-now")
    assert plugin(weft, "probe")["state"] == "failed"
    weft.cli("plugin unload probe")
    assert mapped(weft) == set()


def test_a_runaway_is_cut_out(network, folder):
    folder.add("probe")
    net = network(more=settings(folder, "runaway 100"))
    a, b = net.sites
    resolve(net)
    net.weft.cli("probe on p0")
    net.weft.cli("probe sleep 3000")
    a.host.run("ping", "-c", 1, "-W", 1, b.host_ip, check=False)
    poll_until(lambda: plugin(net.weft, "probe")["state"] == "failed", SECONDS, "the plugin has failed")
    assert "more than 100 ms" in plugin(net.weft, "probe")["reason"]
    # When the worker comes back, it does without.
    poll_until(lambda: "1 received" in a.host.run("ping", "-c", 1, "-W", 2, b.host_ip, check=False).stdout, SECONDS,
               "packets go on")


def test_packets_go_past_a_disabled_plugin(network, folder):
    folder.add("probe")
    net = network(more=settings(folder))
    a, b = net.sites
    net.weft.cli("probe on p0")
    net.weft.cli("probe drop on")
    ping = ("ping", "-c", 2, "-i", 0.05, "-W", 1, b.host_ip)
    assert "0 received" in a.host.run(*ping, check=False).stdout
    assert net.weft.errors()[("probe", "marked by the test")] == 2
    net.weft.cli("plugin disable probe")
    assert plugin(net.weft, "probe")["state"] == "disabled"
    assert "2 received" in a.host.output(*ping)
    net.weft.cli("plugin enable probe")
    assert "0 received" in a.host.run(*ping, check=False).stdout


def test_an_input_node_wakes_its_worker(network, folder):
    folder.add("probe")
    weft = network(workers=2, first_worker_core=0, more=settings(folder)).weft
    for count in (1, 200):
        before = weft.errors().get(("probe-input", "packets that the probe has brought"), 0)
        weft.cli(f"probe bring {count}")
        poll_until(lambda: weft.errors().get(("probe-input", "packets that the probe has brought"), 0) == before + count,
                   SECONDS, f"{count} packets are brought")
    weft.cli("plugin reload probe")
    weft.cli("probe bring 3")
    poll_until(lambda: weft.errors().get(("probe-input", "packets that the probe has brought"), 0) == 3, SECONDS,
               "the new incarnation brings packets, and counts from zero")


def test_a_trace_shows_what_the_plugin_says(network, folder):
    folder.add("probe")
    net = network(more=settings(folder))
    a, b = net.sites
    net.weft.cli("probe on p0")
    net.weft.cli("trace add af-xdp-input 10")
    a.host.output("ping", "-c", 1, "-W", 2, b.host_ip)
    shown = net.weft.cli("show trace")
    assert "probe\n  probed 84 bytes from interface" in shown and ", packet 1\n" in shown, shown


def test_a_changed_file_is_reloaded(network, folder):
    folder.add("probe")
    weft = network(more=settings(folder, "auto-reload on")).weft
    assert plugin(weft, "probe")["reloads"] == 0
    folder.add("probe")
    poll_until(lambda: plugin(weft, "probe")["reloads"] == 1, SECONDS, "the new file is loaded")
    (folder.path / "probe.so").write_bytes(b"half a file")
    poll_until(lambda: "is not reloaded" in weft.log_text(), SECONDS, "the log says that it cannot be")
    assert plugin(weft, "probe")["state"] == "running", "the old one runs on"


def test_a_plugin_has_its_own_section(network, folder):
    folder.add("probe")
    more = settings(folder, "plugin probe { enable }") + "\nprobe { greeting hello }"
    assert network(more=more).weft.cli_json("show probe")["greeting"] == "hello"


def test_a_section_that_is_refused(network, folder):
    folder.add("probe")
    weft = network(more=settings(folder, "plugin probe { enable }") + "\nprobe { greting hello }").weft
    found = plugin(weft, "probe")
    assert found["state"] == "refused" and "expected greeting, found \"greting\"" in found["reason"]


def test_a_plugin_takes_commands_of_vplaned(lab, folder):
    folder.add("probe")
    net = Driven(lab, commands=["probe-greeting early"], more=settings(folder)).start()

    def greeting():
        return net.weft.cli_json("show probe")["greeting"]

    poll_until(lambda: greeting() == "early", SECONDS, "a command of the snapshot arrives")
    net.double.command("probe-greeting hello")
    poll_until(lambda: greeting() == "hello", SECONDS, "a command arrives")
    net.double.command("probe-greeting two words")
    poll_until(lambda: net.double.events() == ["probe-greeting two words"], SECONDS, "a refusal is told")
    net.weft.cli("plugin unload probe")
    net.double.command("probe-greeting nobody")
    poll_until(lambda: len(net.double.events()) == 2, SECONDS, "nobody takes it any more")


MINIMAL = """
#include <weft_plugin.h>
static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{ (void)host; (void)main; (void)state; return WEFT_OK; }
static const char *const depends[] = { DEPENDS 0 };
WEFT_EXPORT const struct weft_plugin weft_plugin = { .magic = WEFT_MAGIC, .abi_version = ABI,
    .size = sizeof weft_plugin, .fingerprint = FINGERPRINT, .name = NAME, .version = VERSION, .summary = "", .depends = depends, .init = init };
"""


def minimal(folder, name, depends="", abi="WEFT_ABI_VERSION", fingerprint="WEFT_ABI_FINGERPRINT", called=None, version="1"):
    source = folder.path / f"{name}.c"
    source.write_text(MINIMAL.replace("DEPENDS", "".join(f'"{each}", ' for each in depends.split())))
    return folder.add_c(name, source, HEADERS, f'-DNAME="{called or name}"', f'-DVERSION="{version}"',
                        f"-DABI={abi}", f"-DFINGERPRINT={fingerprint}")


def test_a_reload_takes_the_file_as_it_is_now(network, folder):
    minimal(folder, "plain")
    weft = network(more=settings(folder)).weft
    for version in "23":
        # Written over, not replaced: the inode is the same.
        minimal(folder, "plain", version=version)
        weft.cli("plugin reload plain")
        assert plugin(weft, "plain")["version"] == version
    # One that is refused leaves all as it is.
    minimal(folder, "plain", version="4", abi=99)
    assert "version 99" in refusal(weft, "plugin reload plain")
    assert plugin(weft, "plain")["version"] == "3" and plugin(weft, "plain")["state"] == "running"


def test_dependencies(network, folder):
    minimal(folder, "base")
    minimal(folder, "top", "base")
    minimal(folder, "lost", "nowhere")
    minimal(folder, "left", "right")
    minimal(folder, "right", "left")
    weft = network(more=settings(folder, "plugin default { disable }")).weft
    assert weft.cli("plugin load top") == "loaded base\nloaded top\n"
    assert "'base' cannot go: plugin 'top' depends on it" in refusal(weft, "plugin unload base")
    weft.cli("plugin reload base")
    weft.cli("plugin unload top")
    weft.cli("plugin unload base")
    said = refusal(weft, "plugin load lost")
    assert "'lost' depends on plugin 'nowhere'" in said and "there is no nowhere.so" in said
    said = refusal(weft, "plugin load left")
    assert "'right' and 'left' depend on each other" in said
    assert plugin(weft, "lost")["state"] == "refused" and "nowhere" in plugin(weft, "lost")["reason"]


def test_files_that_are_refused(network, folder):
    weft = network(more=settings(folder)).weft

    def refused(name):
        return refusal(weft, f"plugin load {name}")

    minimal(folder, "new", abi=99)
    assert "was built for version 99 of the plugin ABI, and this Weft has version 0: build it with this Weft's headers" in refused("new")
    minimal(folder, "new", fingerprint="0x123ull")
    assert "built with other headers of version 0 of the plugin ABI: their fingerprint is 0x123, expected" in refused("new")
    minimal(folder, "other", called="someone")
    assert "other.so holds the plugin 'someone': rename the file to someone.so" in refused("other")
    open_to_all = minimal(folder, "open")
    open_to_all.chmod(0o757)
    assert "can be written by others" in refused("open")
    owned = minimal(folder, "owned")
    os.chown(owned, 12345, 0)
    assert "belongs to user 12345" in refused("owned")
    short = minimal(folder, "short")
    short.write_bytes(short.read_bytes()[:5000])
    assert "truncated: 5000 bytes" in refused("short")
    foreign = minimal(folder, "foreign")
    image = bytearray(foreign.read_bytes())
    image[18:20] = (243).to_bytes(2, "little")  # EM_RISCV
    foreign.write_bytes(image)
    assert "built for another processor: ELF machine 243" in refused("foreign")
    text = folder.path / "text.so"
    text.write_text("hello")
    text.chmod(0o644)
    assert "expected a shared object" in refused("text")
    empty = folder.path / "empty.c"
    empty.write_text("int nothing;\n")
    folder.add_c("empty", empty)
    assert "exports no 'weft_plugin'" in refused("empty")
    empty.write_text("extern int missing(void); int call(void); int call(void) { return missing(); }\n")
    folder.add_c("empty", empty)
    assert "undefined symbol" in refused("empty")
    assert "no never.so in" in refused("never")
    assert "expected the name of a plugin" in refused("../never")
    minimal(folder, "good")
    folder.path.chmod(0o777)
    assert "can be written by others" in refused("good")
    folder.path.chmod(0o755)
    weft.cli("plugin load good")
