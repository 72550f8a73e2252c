# SPDX-License-Identifier: Apache-2.0
"""Settings that plugins declare: every front end has them as it has the built-in ones, with owners, and the plugin hears."""

import pytest

from lab.pg import PgBed
from lab.plugins import PluginFolder
from lab.weft import CliError
from test_plugins import refusal

NO_SUCH_ENTRY, INVALID_VALUE, INVALID_SW_IF_INDEX = -6, -7, -2


@pytest.fixture
def bed(lab):
    """`bed(more)`: a daemon with that in startup.conf, and the probe not loaded yet."""
    made = []

    def make(more=""):
        folder = PluginFolder(lab, "probe")
        plugins = folder.settings.replace("}", "plugin default { disable } }")
        made.append(PgBed(lab, interfaces=1, more=f"{plugins}\n{more}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def shown(weft, name, interface=None):
    """Value and owners, as `show settings` says."""
    for each in weft.cli_json("show settings")["settings"]:
        if each["setting"] == name and each.get("interface") == interface:
            return each["value"], each["owners"]
    return None


def heard(weft):
    """What the probe has heard since the last call: `limit 5`, `level pg0 high`."""
    return weft.cli_json("show probe settings")


def test_every_front_end_sets_what_a_plugin_declares(bed):
    bed = bed()
    weft, api, port = bed.weft, bed.api, bed.interfaces[0].index
    assert "probe" in refusal(weft, "set probe limit 5") and shown(weft, "probe.limit") is None
    assert api.weft_setting_set(name="probe.limit", value="5").retval == NO_SUCH_ENTRY
    weft.cli("plugin load probe")
    assert shown(weft, "probe.limit") == ("8", []) and shown(weft, "probe.level", "pg0") == ("low", [])
    assert heard(weft) == ["limit 8"], "the value of the dataplane; none of an interface, since all are the initial one"

    weft.cli("set probe limit 5")
    weft.cli("set interface probe level pg0 high")
    assert heard(weft) == ["limit 5", "level pg0 high"]
    assert shown(weft, "probe.limit") == ("5", ["cli"]) and shown(weft, "probe.level", "pg0") == ("high", ["cli"])
    for command, expected in [("set probe limit 65", "it is no number from 1 to 64"), ("set probe limit x", "packets"),
                              ("set interface probe level pg0 huge", "low, middle or high"), ("set probe mac 01:00:5e:00:00:01", "unicast")]:
        assert expected in refusal(weft, command)
    assert heard(weft) == [], "what is refused is not told"

    # An agent of the API takes precedence, and lets go.
    assert api.weft_setting_set(name="probe.limit", value="none").retval == 0
    assert api.weft_setting_set(name="probe.level", value="middle", sw_if_index=port).retval == 0
    assert api.weft_setting_set(name="probe.limit", value="0").retval == INVALID_VALUE
    assert api.weft_setting_set(name="probe.limit", value="1", sw_if_index=port).retval == INVALID_SW_IF_INDEX
    assert heard(weft) == ["limit none", "level pg0 middle"]
    assert api.weft_setting_get(name="probe.limit").value == "none"
    dumped = {each.name: (each.value, each.owners) for each in api.weft_setting_dump(sw_if_index=port)}
    assert dumped["probe.level"] == ("middle", "cli,api")
    assert api.weft_setting_unset(name="probe.limit").retval == 0
    # Says everything again, but for the level.
    bed.done(api.weft_resync_begin())
    bed.done(api.pg_create_interface_v3(interface_id=0, pg_flags=0, gso_size=0, mode=0))
    bed.done(api.weft_resync_end())
    assert heard(weft) == ["limit 5", "level pg0 high"]

    weft.cli("set probe note edge-7")
    weft.cli("set probe mac 02:00:00:00:00:07")
    weft.cli("set probe quiet on")
    assert heard(weft) == ["note edge-7", "mac 02:00:00:00:00:07", "quiet true"]


def test_a_batch_is_all_or_nothing(bed, tmp_path):
    bed = bed()
    weft = bed.weft
    weft.cli("plugin load probe")
    assert heard(weft) == ["limit 8"]
    commands = tmp_path / "commands"
    commands.write_text("set probe limit 3\nset interface probe level pg0 high\nset probe limit 65\n")
    assert "from 1 to 64" in refusal(weft, f"exec --atomic {commands}")
    assert heard(weft) == [] and shown(weft, "probe.limit") == ("8", [])
    commands.write_text("set probe limit 3\nset interface probe level pg0 high\n")
    weft.cli(f"exec --atomic {commands}")
    assert heard(weft) == ["limit 3", "level pg0 high"]


def test_values_outlive_a_reload_but_not_their_plugin(bed):
    bed = bed("settings { probe.limit 7 probe.gone 1 }\ninterfaces { loopback 0 { probe.level middle } loopback 1 { probe.limit 3 } }")
    weft = bed.weft
    assert "probe.gone has no effect" in weft.log_text(), "it is not loaded, and nothing is kept from starting"
    weft.cli("plugin load probe")
    assert "loop1: probe.limit has its place in the section settings" in weft.log_text()
    assert heard(weft) == ["limit 8", "limit 7", "level loop0 middle"]
    assert shown(weft, "probe.limit") == ("7", ["startup.conf"])
    weft.cli("set probe limit 9")
    weft.cli("set interface probe level loop1 high")
    assert heard(weft) == ["limit 9", "level loop1 high"]

    weft.cli("plugin reload probe")
    assert sorted(heard(weft)) == ["level loop0 middle", "level loop1 high", "limit 9"], "what the new one is told first"
    assert shown(weft, "probe.limit") == ("9", ["startup.conf", "cli"])

    # Another interface gets index and name.
    weft.cli("delete loopback interface intfc loop1")
    weft.cli("create loopback interface instance 1")
    assert shown(weft, "probe.level", "loop1") == ("low", []) and heard(weft) == []

    weft.cli("plugin unload probe")
    assert shown(weft, "probe.limit") is None
    with pytest.raises(CliError):
        weft.cli("set probe limit 5")
    weft.cli("plugin load probe")
    assert shown(weft, "probe.limit") == ("7", ["startup.conf"]), "what startup.conf wants is wanted again, and nothing else"
    assert shown(weft, "probe.level", "loop0") == ("middle", ["startup.conf"])


def test_a_plugin_that_has_failed_hears_what_it_missed(bed):
    bed = bed()
    weft = bed.weft
    weft.cli("plugin load probe")
    assert heard(weft) == ["limit 8"]
    assert "as was ordered" in refusal(weft, "probe panic-now")
    weft.cli("set probe limit 4")
    weft.cli("plugin enable probe")
    assert [each for each in heard(weft) if each.startswith("limit")] == ["limit 4"]
