// SPDX-License-Identifier: Apache-2.0
//! `docs/settings.md` is what the list of settings says. `WEFT_WRITE_DOCS=1 cargo test -p weft-control` writes it.

use std::fmt::Write;
use std::{env, fs};

use weft_control::settings::{ALL, Words};
use weft_control::{Grammar, Scope, Setting};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");

const BEGIN: &str = "\
# Settings

What can be set, by every front end. This page is made from the list in `dataplane/control/src/settings`
(`WEFT_WRITE_DOCS=1 cargo test -p weft-control`); a test fails if it is stale.

- **Command line**: the commands of the table. `show settings [<interface>]` shows every value and who wants it so.
- **startup.conf**: the key and a value, in the group of an interface (`interfaces { tap t0 { proxy-arp enable } }`), or in
  `settings { ... }` if it is of the dataplane as a whole.
- **Binary API**: `weft_setting_set` with the name and the value as strings sets each of them, `weft_setting_unset` lets go,
  `weft_setting_get` and `weft_setting_dump` read. The table has VPP's message where there is one. All but get and dump can be part of a batch.
- **vplaned**: the command or the netlink attribute that says so. Its protocol has none for the others.

Every value has an owner: the front end that said it. Where several want different values the last one has its way; when it
lets go (a resync without it, `weft_setting_unset`, a snapshot of vplaned that no longer has it), the one before has it again,
and when nobody wants it any more it is as it was.

A plugin can declare more ([docs/plugins.md](plugins.md)). They are known by every front end while it is loaded: by the name
`<plugin>.<setting>` for the binary API and as a key of startup.conf, and by `set interface <plugin> <setting> <interface> <value>` or
`set <plugin> <setting> <value>` on the command line. What startup.conf says of them takes effect when the plugin is loaded; what is
wrong there is in the log.

";

#[test]
fn the_page_of_settings_is_what_the_list_says() {
    let page = page();
    if env::var_os("WEFT_WRITE_DOCS").is_some() {
        fs::write(PAGE, &page).expect("docs is part of the tree");
    }
    let found = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        found == page,
        "docs/settings.md is stale: WEFT_WRITE_DOCS=1 cargo test -p weft-control writes it"
    );
}

fn page() -> String {
    let mut page = BEGIN.to_owned();
    for (scope, title) in [(Scope::Interface, "Of an interface"), (Scope::Global, "Of the dataplane")] {
        let _ = writeln!(page, "## {title}\n");
        page +=
            "| setting | what it does | values | command line | startup.conf | VPP's message | vplaned |\n";
        page += "|---|---|---|---|---|---|---|\n";
        ALL.iter().filter(|setting| setting.scope() == scope).for_each(|setting| page += &row(setting));
        page.push('\n');
    }
    page.trim_end().to_owned() + "\n"
}

fn row(setting: &Setting) -> String {
    let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
    let command = |words: &Words| code(&words.pattern.replace("<value>", &setting.grammar.synopsis()));
    let commands: Vec<String> = setting.commands.iter().map(command).collect();
    let values = match setting.grammar {
        Grammar::Number { what, low, high, none } => {
            let none = none.map_or(String::new(), |none| format!(", or `{none}`"));
            format!("{what}, {low} to {high}{none}")
        }
        Grammar::Switch { on, off } => format!("`{on}`, `{off}`"),
        Grammar::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Grammar::Text { .. }
        | Grammar::Mac
        | Grammar::LinkLocal { .. }
        | Grammar::Addresses { .. }
        | Grammar::Domains { .. }
        | Grammar::Interface { .. } => setting.grammar.expected(),
    };
    format!(
        "| {} | {} | {values} | {} | `{}` | {} | {} |\n",
        code(setting.name),
        setting.help,
        commands.join("<br>"),
        setting.conf,
        setting.message.map_or("-".to_owned(), code),
        setting.vplaned.unwrap_or("-"),
    )
}
