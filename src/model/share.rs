//! An amount as a share of a whole that is known only later: `80%` of the memory, or `8G` whatever there is.
//! Parsing and printing read each other back; the whole is the caller's to know.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::ByteSize;

const MEBIBYTE: u64 = 1 << 20;

/// So much of something that is counted in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// In percent.
    Percent(u8),
    /// In bytes.
    Bytes(ByteSize),
}

impl Share {
    /// How much that is of so many bytes; a percentage in whole mebibytes.
    pub fn of(self, total: u64) -> ByteSize {
        match self {
            Share::Percent(percent) => ByteSize(total / 100 * u64::from(percent) / MEBIBYTE * MEBIBYTE),
            Share::Bytes(bytes) => bytes,
        }
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Share, String> {
        let none = || format!("`{}` is neither a size nor a share such as 80%", text.escape_debug());
        match text.strip_suffix('%') {
            Some(share) => match share.parse() {
                Ok(percent @ 1..=100) => Ok(Share::Percent(percent)),
                _ => Err(none()),
            },
            None => text.parse().map(Share::Bytes).map_err(|_| none()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Percent(percent) => write!(f, "{percent}%"),
            Share::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = String;
    fn try_from(text: String) -> Result<Share, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_reads_back_as_it_prints_and_is_counted_in_whole_mebibytes() {
        for text in ["1%", "100%", "0", "8G", "17"] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "%", "0%", "101%", "-1%", "1.5%", "eight"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(Share::Percent(80).of(1000 << 20), ByteSize(800 << 20));
        assert_eq!(Share::Percent(1).of(8 << 20), ByteSize(0));
        assert_eq!(Share::Bytes(ByteSize(17)).of(1), ByteSize(17));
    }
}
