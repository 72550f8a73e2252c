// SPDX-License-Identifier: Apache-2.0
//! Whole configurations: what is accepted, what is said about the rest.

mod example;

use std::{collections::BTreeSet, num::NonZeroU32, path::Path, time::Duration};

use proptest::prelude::*;

use super::{
    af_xdp::{AfXdp, Filter, Match, Mode, Queues, RingSize, Transport, WorkerNumber, ZeroCopy},
    buffers::{Buffers, NumaNode, PageSize},
    cpu::{Cpu, Idle, Priority, Scheduler, Workers},
    interfaces::{Loopback, Mtu, TableId, Tap},
    limits::Limits,
    logging::Level,
    plugins::Switch,
    unix::{CliListen, Gid},
    values::{Bytes, Core},
    *,
};

fn accepted(text: &str) -> Parsed {
    match parse(&Source::from_text("f", text)) {
        Ok(parsed) => parsed,
        Err(report) => panic!("{report}"),
    }
}

/// A configuration that has to be free of warnings.
fn config(text: &str) -> Config {
    let parsed = accepted(text);
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    parsed.config
}

/// First lines of all complaints, without the name of the file.
fn complaints(text: &str) -> Vec<String> {
    let report = match parse(&Source::from_text("f", text)) {
        Ok(parsed) => parsed.warnings,
        Err(report) => report,
    };
    let text = report.to_string();
    text.lines().filter_map(|line| line.strip_prefix("f:")).map(str::to_owned).collect()
}

#[test]
fn nothing_is_the_defaults() {
    assert_eq!(config(""), Config::default());
    assert_eq!(config("unix { } cpu { } interfaces {\n}"), Config::default());
}

#[test]
fn the_file_of_a_vpp_user() {
    let parsed = accepted(
        "unix {\n  nodaemon\n  log /var/log/vpp/vpp.log\n  full-coredump\n  cli-listen /run/vpp/cli.sock\n  gid 0\n}\n\
         api-trace {\n  on\n}\n\
         api-segment { gid vpp }\n\
         socksvr { default }\n\
         cpu { main-core 0 # first\n corelist-workers 2-5 }\n\
         buffers { buffers-per-numa 262144 }\n\
         dpdk {\n  dev default { num-rx-queues 3 }\n  dev 0000:02:00.0 { name wan0 }\n  dev 0000:02:00.1\n socket-mem 4096,0 }\n\
         dpdk { no-multi-seg }\n\
         plugins { plugin default { disable } plugin dpdk_plugin.so { enable } }\n\
         statseg { default per-node-counters on }\n",
    );
    let Config { unix, cpu, buffers, plugins, statseg, .. } = parsed.config;
    assert!(unix.nodaemon);
    assert_eq!(unix.gid, Some(Gid(0)));
    assert_eq!(unix.cli_listen, [CliListen::Path("/run/vpp/cli.sock".into())]);
    assert_eq!(cpu.workers, Workers::On((2..=5).map(Core).collect()));
    assert_eq!(buffers.per_numa.get(), 262_144);
    assert!(!plugins.enabled);
    assert_eq!(plugins.plugins["dpdk_plugin.so"], Switch::Enable);
    assert!(statseg.per_node_counters);

    let warnings = parsed.warnings.to_string();
    assert_eq!(parsed.warnings.diagnostics.len(), 4, "{warnings}");
    for expected in [
        "f:4:3: warning: \"full-coredump\" in unix has no effect: ",
        "f:8:1: warning: section \"api-trace\" has no effect: ",
        "f:11:1: warning: section \"api-segment\" has no effect: ",
        "f:16:1: warning: section \"dpdk\" has no effect: Weft drives NICs through AF_XDP",
        "write interfaces { af_xdp IFNAME-OF-0000:02:00.0 { name wan0 } af_xdp IFNAME-OF-0000:02:00.1 } with",
    ] {
        assert!(warnings.contains(expected), "{expected} is missing in:\n{warnings}");
    }
}

#[test]
fn sections_continue_and_values_may_be_words() {
    let config = config("cpu { main-core 1 } unix nodaemon cpu { corelist-workers 0,2 } unix interactive");
    assert_eq!(config.cpu.main_core, Some(Core(1)));
    assert_eq!(config.cpu.workers, Workers::On([Core(0), Core(2)].into()));
    assert!(config.unix.nodaemon && config.unix.interactive);
}

#[test]
fn cpu() {
    let cpu = |text: &str| config(&format!("cpu {{ {text} }}")).cpu;
    assert_eq!(cpu("workers 3").workers, Workers::Count(NonZeroU32::new(3).unwrap()));
    assert_eq!(cpu("scheduler-policy fifo scheduler-priority 20").scheduler, Scheduler::Fifo(Priority(20)));
    assert_eq!(cpu("scheduler-policy rr").scheduler, Scheduler::RoundRobin(Priority(1)));
    assert_eq!(cpu("scheduler-policy batch").scheduler, Scheduler::Batch);
    assert_eq!(cpu("idle poll").idle, Idle::Poll);
    assert!(cpu("relative").relative);
    assert_eq!(cpu("main-core 0 skip-cores 2").skip_cores, 2);
}

#[test]
fn contradictions_in_cpu() {
    for (text, complaint) in [
        ("workers 1 workers 2", "1:25: error: the workers have been given before"),
        ("main-core 0 workers 1 corelist-workers 1", "1:46: error: the workers have been given before"),
        ("corelist-workers 1", "1:24: error: naming the cores of workers needs main-core too"),
        ("coremask-workers 0x2", "1:24: error: naming the cores of workers needs main-core too"),
        ("skip-cores 1", "1:18: error: skipping cores needs main-core too"),
        ("scheduler-priority 3", "1:26: error: a priority needs the scheduler-policy fifo or rr"),
        (
            "scheduler-policy other scheduler-priority 3",
            "1:49: error: a priority needs the scheduler-policy fifo or rr",
        ),
        (
            "workers 0",
            "1:15: error: expected number of workers, found \"0\": \
             Weft moves packets on workers only, so it needs one at least",
        ),
    ] {
        assert_eq!(complaints(&format!("cpu {{ {text} }}")), [complaint]);
    }
    assert_eq!(complaints("cpu { skip-cores 0 }"), [""; 0]);
}

#[test]
fn buffers() {
    let read = |text: &str| config(&format!("buffers {{ {text} }}")).buffers;
    let all = read("buffers-per-numa 100 numa 1 { buffers 200 } default data-size 2048 page-size 2m");
    let expected = Buffers {
        per_numa: NonZeroU32::new(100).unwrap(),
        per_node: [(NumaNode(1), NonZeroU32::new(200).unwrap())].into(),
        page_size: PageSize::Exactly(Bytes(2 << 20)),
    };
    assert_eq!(all, expected);
    assert_eq!(read("page-size default-hugepage").page_size, PageSize::DefaultHuge);
    for (text, complaint) in [
        ("buffers-per-numa 0", "1:28: error: expected number of buffers from 1 to 16777216, found \"0\""),
        ("default data-size 9000", "1:29: error: expected 2048, found \"9000\""),
        (
            "default datasize 2048",
            "1:19: error: unknown word \"datasize\" in buffers (did you mean \"data-size\"?)",
        ),
        ("default", "1:19: error: expected data-size"),
        (
            "page-size 3m",
            "1:21: error: expected page size, found \"3m\": \
             a page size is default, default-hugepage, or a power of two from 4k, such as 2m or 1g",
        ),
        ("numa 0 buffers 5", "1:18: error: expected { after numa, found \"buffers\""),
    ] {
        assert_eq!(complaints(&format!("buffers {{ {text} }}")).first().map(String::as_str), Some(complaint));
    }
}

#[test]
fn interfaces() {
    let config = config(
        "interfaces {
            af_xdp eth0 {
                name lan0 num-rx-queues 4 zero-copy off mode native rx-queue-size 1024 tx-queue-size 256
                tx-budget 64 workers 0-1,3 netns blue ip address 192.0.2.1/24 ip address 192.0.2.2/24
                ip address 2001:db8::1/64 ip6 table 9 ip6 state enable
                ip table 7 mtu 9000 state down host-tap lan0h busy-poll-usec 20 busy-poll-budget 64
                filter { destination 198.51.100.0/24 udp 4789 ethertype 0x8847 arp take }
            }
            af_xdp host-if eth1
            loopback 3 { ip address 192.0.2.1/32 }
            tap tap0 { host-if-name weft0 host-ns green host-ip4-addr 203.0.113.2/31 hw-addr 02:fe:00:00:00:01 }
        }",
    );
    let [lan, eth1, loopback, tap] = config.interfaces.as_slice() else {
        panic!("{:?}", config.interfaces);
    };
    let lan = lan.settings::<AfXdp>().expect("a port");
    let eth1 = eth1.settings::<AfXdp>().expect("a port");
    let loopback = loopback.settings::<Loopback>().expect("a loopback");
    let tap = tap.settings::<Tap>().expect("a TAP");
    assert_eq!((lan.host.as_str(), lan.common.name.as_str()), ("eth0", "lan0"));
    assert_eq!(lan.queues, Queues::Count(NonZeroU32::new(4).unwrap()));
    assert_eq!((lan.zero_copy, lan.mode), (ZeroCopy::Off, Mode::Native));
    assert_eq!((lan.rx_queue_size, lan.tx_queue_size), (Some(RingSize(1024)), Some(RingSize(256))));
    assert_eq!(lan.tx_budget, NonZeroU32::new(64));
    assert_eq!((lan.busy_poll_usec, lan.busy_poll_budget), (NonZeroU32::new(20), NonZeroU32::new(64)));
    let workers: BTreeSet<WorkerNumber> = [0, 1, 3].map(WorkerNumber).into();
    assert_eq!(lan.workers, Some(workers));
    assert_eq!(lan.netns.as_deref(), Some("blue"));
    assert_eq!(lan.host_tap.as_ref().map(|name| name.as_str()), Some("lan0h"));
    let addresses: Vec<String> = lan.common.addresses.iter().map(|a| a.value.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"]);
    assert_eq!(lan.common.ip6_table, TableId(9));
    assert_eq!((lan.common.table, lan.common.mtu, lan.common.up), (TableId(7), Some(Mtu(9000)), false));
    let matches = vec![
        Match::Destination("198.51.100.0/24".parse().unwrap()),
        Match::Port { transport: Transport::Udp, port: 4789 },
        Match::EtherType(0x8847),
    ];
    assert_eq!(lan.filter, Filter::Only { matches, take_arp: true });

    let plain = AfXdp::new("eth1".parse().unwrap(), eth1.common.clone());
    assert_eq!(eth1, &plain);
    assert_eq!((eth1.common.name.as_str(), eth1.common.up), ("eth1", true));
    assert_eq!((loopback.instance, loopback.common.name.as_str()), (3, "loop3"));
    assert_eq!((tap.host_name.as_str(), tap.common.name.as_str()), ("weft0", "tap0"));
    assert_eq!(tap.host_namespace.as_deref(), Some("green"));
    assert_eq!(tap.host_address, Some("203.0.113.2/31".parse().unwrap()));
}

#[test]
fn wrong_interfaces() {
    for (text, complaint) in [
        ("af_xdp", "1:21: error: interfaces ends too early: expected network interface"),
        (
            "af_xdp a/b",
            "1:21: error: expected network interface, found \"a/b\": Linux allows neither '/', ':' and blanks, nor \".\" and \"..\"",
        ),
        (
            "af_xdp e { zero-coy on }",
            "1:25: error: unknown word \"zero-coy\" in interfaces af_xdp (did you mean \"zero-copy\"?)",
        ),
        (
            "af_xdp e { rx-queue-size 500 }",
            "1:39: error: expected ring size, found \"500\": a ring has a power of two of slots, from 64 to 32768",
        ),
        (
            "af_xdp e { ip adress 1.2.3.4/24 }",
            "1:28: error: unknown word \"adress\" in interfaces af_xdp (did you mean \"address\"?)",
        ),
        (
            "af_xdp e { ip address 10.0.0.0/24 }",
            "1:36: error: expected address with prefix length, found \"10.0.0.0/24\": this is no address of a host",
        ),
        ("af_xdp e { filter { } }", "1:32: error: this filter takes nothing"),
        (
            "af_xdp e { filter { destination 10.0.0.1/24 } }",
            "1:46: error: expected IP prefix, found \"10.0.0.1/24\": bits are set behind the prefix: write 10.0.0.0/24",
        ),
        ("af_xdp e af_xdp e", "1:30: error: there is an interface \"e\" already"),
        ("tap t { name x } loopback 1 { name x }", "1:49: error: there is an interface \"x\" already"),
        (
            "tap t { ip address 10.0.0.1/24 } tap u { ip address 10.0.0.1/8 }",
            "1:66: error: 10.0.0.1 is an address of \"t\" already",
        ),
        (
            "af_xdp e { ip address 2001:db8::/64 }",
            "1:36: error: expected address with prefix length, found \"2001:db8::/64\": this is no address of a host",
        ),
        (
            "tap t { ip address 2001:db8::1/64 } tap u { ip address 2001:db8::1/128 }",
            "1:69: error: 2001:db8::1 is an address of \"t\" already",
        ),
        ("tap t { mtu 1000 ip address 2001:db8::1/64 }", "1:42: error: \"t\" has an MTU of 1000 bytes"),
        ("afxdp e", "1:14: error: unknown word \"afxdp\" in interfaces (did you mean \"af_xdp\"?)"),
    ] {
        assert_eq!(
            complaints(&format!("interfaces {{ {text} }}")).first().map(String::as_str),
            Some(complaint)
        );
    }
}

#[test]
fn sockets_and_sessions_of_vppctl() {
    let unix = config(
        "unix { cli-listen a.sock cli-listen :5002 cli-listen [::1]:0 nobanner cli-pager-buffer-limit 0 cli-history-limit 7 \
         cli-prompt x\\# }",
    )
    .unix;
    let tcp = |host: &str, port| CliListen::Tcp { host: host.into(), port };
    assert_eq!(unix.cli_listen, [CliListen::Path("a.sock".into()), tcp("", 5002), tcp("::1", 0)]);
    let terminal = &unix.terminal;
    assert_eq!((terminal.banner, terminal.pager_lines, terminal.history), (false, usize::MAX, 7));
    assert_eq!(unix.prompt(), "x# ");
    assert_eq!(complaints("unix { cli-listen host:65536 }").len(), 1);
}

#[test]
fn every_error_is_reported_with_its_place() {
    let report = parse(&Source::from_text(
        "startup.conf",
        "unix {\n  nodeamon\n  cli-listen localhost:cli\n}\ncpu {\n\tmian-core 0 # the first\n\tworkers x\n}\n{ }\nbufers { }\nlogging { default-log-level verbose }\nstatseg",
    ))
    .unwrap_err();
    let expected = "\
startup.conf:2:3: error: unknown word \"nodeamon\" in unix (did you mean \"nodaemon\"?)
  2 |   nodeamon
    |   ^^^^^^^^
    = expected nodaemon, nosyslog, interactive, runtime-dir, weftctl-listen, cli-listen, cli-prompt, \
cli-line-mode, cli-no-banner, nobanner, cli-no-pager, cli-pager-buffer-limit, cli-history-limit, startup-config, exec, log, \
pidfile, stable-secret or gid
startup.conf:3:14: error: expected path or HOST:PORT, found \"localhost:cli\": a port is a number from 0 to 65535
  3 |   cli-listen localhost:cli
    |              ^^^^^^^^^^^^^
startup.conf:6:2: error: unknown word \"mian-core\" in cpu (did you mean \"main-core\"?)
  6 | \tmian-core 0 # the first
    | \t^^^^^^^^^
    = expected main-core, corelist-workers, coremask-workers, workers, skip-cores, relative, thread-prefix, \
scheduler-policy, scheduler-priority or idle
startup.conf:7:10: error: expected number of workers, found \"x\": expected a number from 1 to 1023
  7 | \tworkers x
    | \t        ^
startup.conf:9:1: error: expected the name of a section, found {
  9 | { }
    | ^
startup.conf:10:1: error: unknown section \"bufers\" (did you mean \"buffers\"?)
  10 | bufers { }
     | ^^^^^^
     = Weft has the sections unix, cpu, buffers, interfaces, bridge-domains, flow, limits, logging, plugins, statseg, socksvr, settings, vplaned, and those of plugins that plugins { plugin NAME { enable } } names
startup.conf:11:29: error: expected emerg, alert, crit, err, error, warn, notice, info, debug or disabled, found \"verbose\"
  11 | logging { default-log-level verbose }
     |                             ^^^^^^^
startup.conf:12:8: error: the configuration ends too early: expected { after statseg
  12 | statseg
     |        ^";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_brace_astray_is_the_only_complaint() {
    assert_eq!(
        complaints("unix { nodaemon\ncpu { main-core 0 }\n"),
        ["1:6: error: this brace is never closed: expected }"]
    );
}

#[test]
fn a_command_line_is_a_configuration() {
    let words = ["unix", "{", "nodaemon", "}", "cpu", "{", "wrokers", "2", "}"].map(str::to_owned);
    let report = parse(&Source::from_arguments(&words)).unwrap_err().to_string();
    assert!(report.starts_with("command line:1:25: error: unknown word \"wrokers\""), "{report}");
}

#[test]
fn other_sections() {
    let config = config(
        "logging { default-log-level debug size 9 class ip4/icmp { level err } }
         plugins { path /a:/b add-path /c name-filter x plugin p.so { disable } }
         statseg { socket-name /s size 64M update-interval 0.5 per-node-counters on }
         socksvr { socket-name /x }
         limits { interfaces 5 arp-hold-packets 0 }",
    );
    assert_eq!((config.logging.level, config.logging.size), (Level::Debug, 9));
    assert_eq!(config.logging.classes["ip4/icmp"], Level::Error);
    assert_eq!(config.plugins.path, ["/a", "/b", "/c"].map(std::path::PathBuf::from));
    assert_eq!(config.statseg.size, Bytes(64 << 20));
    assert_eq!(config.statseg.update_interval, Duration::from_millis(500));
    assert_eq!(config.socksvr.socket, Path::new("/x"));
    assert_eq!(config.limits, Limits { interfaces: 5, arp_hold_packets: 0, ..Limits::default() });
}

#[test]
fn vplaned_says_where_it_is() {
    assert_eq!(config("").vplaned, None);
    let vplaned = config("vplaned { }").vplaned.expect("the section is there");
    let settings = vplaned.settings().expect("all has a default");
    assert_eq!(settings.request.as_str(), "ipc:///var/run/vyatta/vplaned.req");

    let text = "vplaned { request tcp://[::ffff:10.0.0.1]:4415 controller-address 10.0.0.1 address 10.0.0.2 \
                uuid 11111111-2222-3333-4444-555555555555 dataplane-id 3 console tcp://10.0.0.2:5000 report-interval 2 }";
    let settings = config(text).vplaned.expect("the section is there").settings().expect("complete");
    assert_eq!(settings.request.as_str(), "tcp://[::ffff:10.0.0.1]:4415");
    assert_eq!(settings.uuid.as_str(), "11111111-2222-3333-4444-555555555555");
    assert_eq!(settings.console[0].as_str(), "tcp://10.0.0.2:5000");
    assert_eq!(settings.report, Duration::from_secs(2));

    assert_eq!(
        complaints("vplaned { request udp://x }"),
        [
            "1:19: error: expected endpoint, found \"udp://x\": \"udp://x\" is not an endpoint: expected ipc://PATH or tcp://HOST:PORT"
        ]
    );
    let curve = config("vplaned { authentication elliptic-curve }").vplaned.expect("the section is there");
    assert!(curve.settings().is_err());
    let file = config("vplaned { dataplane-config /nonexistent/x }").vplaned.expect("the section is there");
    assert!(
        file.settings().expect_err("no such file").to_string().starts_with("cannot read /nonexistent/x: ")
    );
}

#[test]
fn groups_are_looked_up() {
    assert_eq!(config("unix { gid root }").unix.gid, Some(Gid(0)));
    assert_eq!(
        complaints("unix { gid no-such-group }"),
        ["1:12: error: expected group, found \"no-such-group\": this machine has no such group"]
    );
}

/// Words of the grammar in any order, so that the readers of sections are reached.
fn word_salad() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "unix",
        "cpu",
        "buffers",
        "interfaces",
        "limits",
        "logging",
        "plugins",
        "statseg",
        "socksvr",
        "vplaned",
        "dpdk",
        "dev",
        "nodaemon",
        "gid",
        "main-core",
        "corelist-workers",
        "coremask-workers",
        "workers",
        "skip-cores",
        "0-3",
        "0x3c",
        "scheduler-policy",
        "fifo",
        "scheduler-priority",
        "numa",
        "default",
        "data-size",
        "2048",
        "af_xdp",
        "tap",
        "loopback",
        "filter",
        "destination",
        "10.0.0.0/8",
        "ip",
        "address",
        "10.0.0.1/8",
        "name",
        "class",
        "level",
        "debug",
        "plugin",
        "enable",
        "size",
        "1m",
        "{",
        "}",
        "{",
        "}",
        "1",
        "x",
        "#",
        "\\",
        "\n",
    ]);
    prop::collection::vec(known, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_words_are_survived(text in word_salad()) {
        let source = Source::from_text("f", text);
        match parse(&source) {
            Ok(parsed) => drop(parsed.warnings.to_string()),
            Err(report) => prop_assert!(!report.is_empty() && !report.to_string().is_empty()),
        }
    }

    #[test]
    fn any_text_is_survived(text in "(?s).{0,80}") {
        for source in [Source::from_text("f", text.as_str()), Source::from_arguments(&[text])] {
            if let Err(report) = parse(&source) {
                prop_assert!(!report.to_string().is_empty());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        main in 0u32..=1023,
        workers in prop::collection::btree_set(0u32..=1023, 1..20),
        as_mask: bool,
        buffers in 1u32..=1 << 24,
        limits in prop::array::uniform11(1u32..=10_000),
    ) {
        prop_assume!(!workers.contains(&main));
        let cores = match as_mask {
            true => {
                let last = workers.last().expect("there is one at least");
                let digit = |place: u32| (0..4).filter(|bit| workers.contains(&(place * 4 + bit))).map(|bit| 1 << bit).sum::<u32>();
                let digits: String = (0..=last / 4).rev().map(|place| format!("{:x}", digit(place))).collect();
                format!("coremask-workers 0x{digits}")
            }
            false => {
                let list: Vec<String> = workers.iter().map(u32::to_string).collect();
                format!("corelist-workers {}", list.join(","))
            }
        };
        let [interfaces, vrfs, next_hops, neighbors, hold, hold_one, icmp, rules, macs, cli, api] = limits;
        let read = config(&format!(
            "cpu {{ main-core {main} {cores} }} buffers {{ buffers-per-numa {buffers} }} limits {{ interfaces {interfaces} \
             vrfs {vrfs} next-hops {next_hops} neighbors {neighbors} arp-hold-packets {hold} arp-hold-per-neighbor {hold_one} \
             icmp-error-rate {icmp} classify-rules {rules} l2-macs {macs} cli-clients {cli} api-clients {api} }}"
        ));
        let limits = Limits {
            interfaces, vrfs, next_hops, neighbors,
            arp_hold_packets: hold, arp_hold_per_neighbor: hold_one, icmp_error_rate: icmp,
            classify_rules: rules, l2_macs: macs, cli_clients: cli, api_clients: api,
        };
        let expected = Config {
            cpu: Cpu { main_core: Some(Core(main)), workers: Workers::On(workers.into_iter().map(Core).collect()), ..Cpu::default() },
            buffers: Buffers { per_numa: NonZeroU32::new(buffers).expect("the range begins with 1"), ..Buffers::default() },
            limits,
            ..Config::default()
        };
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn a_plugin_that_is_named_may_have_a_section() {
    let text = "acl { rules 10 # ten\n log { all } }\nplugins { plugin acl.so { enable } }";
    let parsed = parse(&Source::from_text("test", text)).expect("good");
    assert_eq!(parsed.config.plugins.sections["acl"], "rules 10 log { all }");
    let report = parse(&Source::from_text("test", "acl { }")).expect_err("it is not named").to_string();
    assert!(report.contains("unknown section \"acl\"") && report.contains("plugin NAME"), "{report}");
}

#[test]
fn settings_are_read_by_the_words_of_their_list() {
    let text = "settings { neighbor-age 60 ping.limit 4 multipath hrw }
                interfaces { loopback 0 { guard.hops 3 ip forwarding disable tag edge } tap t0 { unnumbered loop0 tcp-mss 1300 } }";
    let config = config(text);
    let words = |settings: &[super::Wanted]| -> Vec<String> {
        let line = |wanted: &super::Wanted| match &wanted.setting {
            super::Named::BuiltIn(setting) => format!("{} {}", setting.conf, wanted.value.value),
            super::Named::OfPlugin(name) => format!("{name}: {}", wanted.value.value),
        };
        settings.iter().map(line).collect()
    };
    assert_eq!(words(&config.settings), ["neighbor-age 60", "ping.limit: 4", "multipath hrw"]);
    let [loopback, tap] = config.interfaces.as_slice() else { panic!("{:?}", config.interfaces) };
    assert_eq!(words(&loopback.common().settings), ["guard.hops: 3", "ip forwarding disable", "tag edge"]);
    assert_eq!(words(&tap.common().settings), ["unnumbered loop0", "tcp-mss 1300"]);
}

#[test]
fn bridge_domains_and_their_ports_are_read() {
    use weft_control::DomainChange;
    use weft_l2::{LinkGroups, Role};

    use super::bridging::Switched;

    let it = config(
        "bridge-domains { domain 10 { learn off mac-age 9 learn-limit 5 link-groups drop } domain 11 }\n\
         interfaces { tap t0 { l2 bridge 10 shg 3 } tap t1 { l2 xconnect t0 } loopback 0 { l2 bridge 10 bvi }\n\
         tap t2 { l2 bridge 11 uu-fwd } }",
    );
    let domains: Vec<_> =
        it.bridge_domains.iter().map(|domain| (domain.id, domain.changes.clone())).collect();
    let first = vec![
        DomainChange::Learn(false),
        DomainChange::Age(9),
        DomainChange::Limit(Some(5)),
        DomainChange::LinkGroups(LinkGroups::Drop),
    ];
    assert_eq!(domains, [(10, first), (11, vec![])]);
    let bridged = |domain, role, group| Switched::Bridged { domain, role, group };
    let ports =
        it.interfaces.iter().map(|interface| interface.common().switched.as_ref().map(|it| &it.value));
    assert_eq!(
        ports.map(Option::<&Switched>::cloned).collect::<Vec<_>>(),
        [
            Some(bridged(10, Role::Normal, 3)),
            Some(Switched::Crossed("t0".into())),
            Some(bridged(10, Role::Bvi, 0)),
            Some(bridged(11, Role::Uplink, 0)),
        ]
    );
    assert_eq!(
        complaints("bridge-domains { domain 0 }\ninterfaces { tap t0 { l2 bride 10 } }"),
        [
            "1:25: error: expected bridge domain from 1 to 16777215, found \"0\"",
            "2:26: error: unknown word \"bride\" in interfaces tap (did you mean \"bridge\"?)"
        ]
    );
}
