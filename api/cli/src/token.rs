// SPDX-License-Identifier: Apache-2.0
//! The words of a command. The rules of a command file and of a typed line are the same: comments and quotes.

pub(crate) use weft_words::{Kind, Span, Token};

use crate::error::CliError;

const RULES: weft_words::Rules = weft_words::Rules { comments: true, quotes: true, deepest: usize::MAX };

/// The tokens of `line`, or why it has none.
pub(crate) fn tokenize(line: &str) -> Result<Vec<Token>, CliError> {
    let (tokens, faults) = weft_words::scan(line, RULES);
    match faults.into_iter().next() {
        Some(fault) => Err(CliError::at(fault.message, line, fault.span)),
        None => Ok(tokens),
    }
}

/// As many tokens as there are: completion works on unfinished lines.
pub(crate) fn scan(line: &str) -> Vec<Token> {
    weft_words::scan(line, RULES).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_is_the_error() {
        for (line, position, message) in [
            ("new { a { b }", 4, "this brace is never closed: expected }"),
            ("a } b }", 2, "this brace closes nothing"),
            ("a { b\"c d", 5, "this quote is never closed: expected \""),
        ] {
            let error = tokenize(line).unwrap_err();
            assert_eq!((error.position, error.message.as_str()), (Some(position), message));
        }
    }
}
