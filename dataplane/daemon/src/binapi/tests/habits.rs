// SPDX-License-Identifier: Apache-2.0
//! What VPP's own test framework asks of every dataplane, whatever is tested.

use super::*;

#[test]
fn what_is_asked_after_each_test_is_answered() {
    serve(LOOP0, |served| async move {
        for command in [
            "clear trace\n",
            "show trace max 100\n",
            "show interface\n",
            "show hardware\n",
            "show error\n",
            "show errors verbose\n",
            "show run\n",
            "show log\n",
            "show bihash\n",
            "comment { between two tests }\n",
        ] {
            served.cli(command).await;
        }
        assert_eq!(served.cli("echo  one  two ").await, "one  two\n");
    });
}

#[test]
fn the_last_messages_are_kept_and_saved() {
    serve(LOOP0, |served| async move {
        let name = format!("weft-api-trace-{}.log", std::process::id());
        served.cli(&format!("api trace save {name}")).await;
        let path = std::path::Path::new("/tmp").join(&name);
        let saved = std::fs::read_to_string(&path).expect("the file is there though nothing was traced");
        assert_eq!(saved, "");
        let again = CliInband { cmd: format!("api trace save {name}") };
        assert_eq!(served.refusal(again).await, Retval::UNSPECIFIED);
        std::fs::remove_file(&path).expect("it is ours");
        let elsewhere = CliInband { cmd: "api trace save ../etc/weft".into() };
        assert_eq!(served.refusal(elsewhere).await, Retval::UNSPECIFIED);

        served.cli("api trace on").await;
        served.ask(ShowVersion {}).await;
        served.cli("api trace off").await;
        served.ask(ShowThreads {}).await;
        let kept = served.cli("api trace dump").await;
        let fields: Vec<Vec<&str>> = kept.lines().map(|line| line.split(' ').collect()).collect();
        let names: Vec<_> = fields.iter().map(|line| (line[2], line[3], line[4])).collect();
        assert_eq!(names[0], ("\"test\"", "show_version", "10"), "{kept}");
        assert_eq!((names.len(), names[1].1), (2, "cli_inband"));
        served.cli("api trace free").await;
        assert_eq!(served.cli("api trace dump").await, "");
    });
}
