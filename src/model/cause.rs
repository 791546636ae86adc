//! An error as a sentence: with its causes, in one line, for people, journals and JSON.
//!
//! Words only; which error means what is decided where it is met.

use std::error::Error;

/// The error with its causes; a cause that its error repeats at its end is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = source.source();
    }
    text
}
