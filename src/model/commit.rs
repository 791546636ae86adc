//! Object ids. Hexadecimal, 40 (SHA-1) or 64 (SHA-256) digits, lower case; nothing else is one.
//! An abbreviation, a ref name or an option cannot be mistaken for one: it does not parse.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The full id of a git commit (or tree, where a function says so).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A text that is not a full object id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a full object id")]
pub struct NotAnObjectId(pub String);

impl CommitId {
    /// Parses a full object id; surrounding white space is not accepted.
    pub fn parse(text: &str) -> Result<Self, NotAnObjectId> {
        let full = matches!(text.len(), 40 | 64);
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if full && hex { Ok(Self(text.to_owned())) } else { Err(NotAnObjectId(text.to_owned())) }
    }

    /// The id as git prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// The id of this repository's kind that means "no object": as many zeros as this id has digits.
    pub fn zero_like(&self) -> String {
        "0".repeat(self.0.len())
    }
}

impl TryFrom<String> for CommitId {
    type Error = NotAnObjectId;
    fn try_from(text: String) -> Result<Self, NotAnObjectId> {
        Self::parse(&text)
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_lower_case_hex_is_an_object_id() {
        assert!(CommitId::parse(&"a".repeat(40)).is_ok());
        assert!(CommitId::parse(&"0".repeat(64)).is_ok());
        for bad in ["", "HEAD", "abc", "--all"] {
            assert!(CommitId::parse(bad).is_err(), "{bad} must not pass");
        }
        assert!(CommitId::parse(&"A".repeat(40)).is_err());
        assert!(CommitId::parse(&format!("{}\n", "a".repeat(39))).is_err());
    }
}
