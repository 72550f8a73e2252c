// SPDX-License-Identifier: Apache-2.0
//! An answer is one value that is shown as text *or* as JSON, so that the two can never disagree.
//!
//! Nothing is formatted before the client has said which of the two it wants.

use serde::Serialize;
use serde_json::value::RawValue;

/// What a command has to say.
pub struct Reply(Option<Box<dyn Answer>>);

/// An answer that a command gives later, since the thread that it runs on does not wait for anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Later {
    /// Who gives it.
    pub of: String,
    /// The command.
    pub command: String,
    /// The name by which to ask.
    pub name: String,
}

trait Answer {
    fn text(&self) -> String;
    fn json(&self) -> serde_json::Result<Box<RawValue>>;
    fn later(&self) -> Option<&Later> {
        None
    }
}

impl Answer for Later {
    /// For who cannot wait either: a file of commands, an API.
    fn text(&self) -> String {
        format!("{}: started\n", self.command)
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        serde_json::value::to_raw_value(&serde_json::json!({ "started": self.command }))
    }

    fn later(&self) -> Option<&Later> {
        Some(self)
    }
}

struct Rendered<T, F> {
    value: T,
    render: F,
}

impl<T: Serialize, F: Fn(&T) -> String> Answer for Rendered<T, F> {
    fn text(&self) -> String {
        (self.render)(&self.value)
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        serde_json::value::to_raw_value(&self.value)
    }
}

struct Sequence(Vec<Reply>);

impl Answer for Sequence {
    fn text(&self) -> String {
        self.0.iter().map(Reply::to_text).collect()
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        let items = self.0.iter().map(Reply::to_json).collect::<serde_json::Result<Vec<_>>>()?;
        serde_json::value::to_raw_value(&items)
    }
}

impl Reply {
    /// The command did what it was told and has nothing to show: no text, JSON `null`.
    pub fn empty() -> Self {
        Self(None)
    }

    /// `value` as JSON, `render(&value)` as text.
    pub fn new<T, F>(value: T, render: F) -> Self
    where
        T: Serialize + 'static,
        F: Fn(&T) -> String + 'static,
    {
        Self(Some(Box::new(Rendered { value, render })))
    }

    /// The answers of several commands, back to back; a JSON array.
    pub(crate) fn sequence(replies: Vec<Reply>) -> Self {
        Self(Some(Box::new(Sequence(replies))))
    }

    /// The answer comes later: whoever can wait asks the service for it (`Service::later`).
    pub fn later(later: Later) -> Self {
        Self(Some(Box::new(later)))
    }

    /// Whether the answer comes later.
    pub fn is_later(&self) -> Option<&Later> {
        self.0.as_ref()?.later()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whole lines: text that is not empty ends in a newline.
    pub fn to_text(&self) -> String {
        let mut text = self.0.as_ref().map_or_else(String::new, |answer| answer.text());
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// Fails only for values that JSON cannot express, such as maps whose keys are no strings.
    pub fn to_json(&self) -> serde_json::Result<Box<RawValue>> {
        match &self.0 {
            Some(answer) => answer.json(),
            None => serde_json::value::to_raw_value(&()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Version {
        name: &'static str,
        minor: u32,
    }

    fn version() -> Reply {
        Reply::new(Version { name: "weft", minor: 1 }, |v| format!("{} 0.{}", v.name, v.minor))
    }

    #[test]
    fn one_value_two_forms() {
        assert_eq!(version().to_text(), "weft 0.1\n");
        assert_eq!(version().to_json().unwrap().get(), r#"{"name":"weft","minor":1}"#);
    }

    #[test]
    fn nothing_to_say() {
        assert_eq!(Reply::empty().to_text(), "");
        assert_eq!(Reply::empty().to_json().unwrap().get(), "null");
    }

    #[test]
    fn several() {
        let both = Reply::sequence(vec![version(), version()]);
        assert_eq!(both.to_text(), "weft 0.1\nweft 0.1\n");
        let json = both.to_json().unwrap();
        assert_eq!(json.get(), r#"[{"name":"weft","minor":1},{"name":"weft","minor":1}]"#);
    }
}
