// SPDX-License-Identifier: Apache-2.0
//! Answers as VPP's users and their scripts expect them: `vppctl` and `cli_inband` say the same.

use crate::{error::CliError, token::scan, tree::CommandTree};

impl<C> CommandTree<C> {
    /// Puts an error as VPP does it, by the words of the command and what it could not read, so that scripts find their
    /// `unknown input`; what was expected stands in a second line.
    pub fn vpp_error(&self, line: &str, error: &CliError) -> String {
        let tokens = scan(line);
        let mut place = self.walk(&tokens).path.join(" ");
        if !place.is_empty() {
            place.push_str(": ");
        }
        let unread = error.position.filter(|_| error.word.is_some()).and_then(|at| line.get(at..));
        match unread {
            Some(unread) => format!("{place}unknown input `{}'\n{error}\n", shortened(unread.trim_end())),
            None => format!("{place}{error}\n"),
        }
    }
}

/// One line of at most some 60 characters.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use crate::Reply;
    use crate::tree::tests::{toy, toy_tree};

    fn run(line: &str) -> Result<String, String> {
        let tree = toy_tree();
        tree.execute(&mut toy(), line).map(Reply::to_text).map_err(|error| tree.vpp_error(line, &error))
    }

    #[test]
    fn answers_and_errors() {
        assert_eq!(run("sh v"), Ok("weft 0.1\n".into()));
        assert_eq!(
            run("sh verion now\n"),
            Err("show: unknown input `verion now'\nunknown word \"verion\", expected interface, interfaces-all \
                 or version (did you mean \"version\"?)\n"
                .into())
        );
        assert!(run("xyzzy").unwrap_err().starts_with("unknown input `xyzzy'\n"));
        assert!(
            run("show interface eth9").unwrap_err().starts_with("show interface: unknown input `eth9'\n")
        );
        assert_eq!(run("set int"), Err("set interface: the command ends too early: expected state\n".into()));
        let long = format!("show {}", "é".repeat(100));
        assert!(
            run(&long).unwrap_err().starts_with(&format!("show: unknown input `{}...'\n", "é".repeat(60)))
        );
    }
}
