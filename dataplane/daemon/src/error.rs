// SPDX-License-Identifier: Apache-2.0
//! Errors as sentences for an operator.

/// An error and what has led to it, each once. Many errors say their cause themselves, and the chain of causes would say it again.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start: {0}")]
    struct Says(#[source] std::io::Error);

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::other("the disk is full");
        assert_eq!(sentence(&anyhow::Error::new(Says(cause()))), "cannot start: the disk is full");
        let context = anyhow::Error::new(Says(cause())).context("startup-config");
        assert_eq!(sentence(&context), "startup-config: cannot start: the disk is full");
        assert_eq!(sentence(&anyhow::Error::new(cause()).context("a")), "a: the disk is full");
    }
}
