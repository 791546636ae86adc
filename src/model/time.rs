//! Moments, spans and sizes, as people and scripts write them: `90s`, `15m`, `1d`, `20G`.
//! Overflow and nonsense are errors of parsing; printing reads back.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A moment: milliseconds since the Unix epoch, UTC. Printed as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long after `earlier` this is; zero when the clock went backwards.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Timestamp {
    /// This much later.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long it is until this, for what began to wait at `begun`; never longer than at first, however the clock was set
    /// meanwhile.
    pub fn left(self, begun: Timestamp, now: Timestamp) -> Duration {
        self.since(now).min(self.since(begun))
    }
}

/// A reading of both clocks: the one on the wall, which anybody may set, and the one that runs from the start of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The moment on the wall.
    pub wall: Timestamp,
    /// The boot that `up_ms` counts from; empty where that is not known.
    pub boot_id: String,
    /// Milliseconds since that boot, also those in which the machine slept.
    pub up_ms: u64,
}

impl Reading {
    /// How long after `earlier` this is, by the clock that nobody sets; `None` across boots.
    pub fn running_since(&self, earlier: &Reading) -> Option<Duration> {
        let same = self.boot_id == earlier.boot_id && !self.boot_id.is_empty();
        self.up_ms.checked_sub(earlier.up_ms).filter(|_| same).map(Duration::from_millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Timestamp(moment.as_millisecond()))
    }
}

/// A duration as a user writes it: a whole number and one of `ms s m h d w`. `0` alone is allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A text that is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a duration.
    #[error("`{0}` is not a duration (write 90s, 15m, 2h or 1d)")]
    Span(String),
    /// Not a size.
    #[error("`{0}` is not a size (write 512K, 64M or 20G)")]
    Size(String),
}

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = || QuantityError::Span(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| fail())?;
        let millis = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "" if number == 0 => 0,
            _ => return Err(fail()),
        };
        number.checked_mul(millis).map(|ms| Span(Duration::from_millis(ms))).ok_or_else(fail)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis > 0 && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        if millis == 0 { f.write_str("0s") } else { write!(f, "{millis}ms") }
    }
}

impl TryFrom<String> for Span {
    type Error = QuantityError;
    fn try_from(text: String) -> Result<Self, QuantityError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// A size in bytes as a user writes it: a whole number and one of `K M G T` (powers of 1024), or bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = || QuantityError::Size(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| fail())?;
        let unit = match &text[digits..] {
            "" | "B" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1u64 << 40,
            _ => return Err(fail()),
        };
        number.checked_mul(unit).map(ByteSize).ok_or_else(fail)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
            if self.0 != 0 && self.0.is_multiple_of(1u64 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = QuantityError;
    fn try_from(text: String) -> Result<Self, QuantityError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_back_as_they_print() {
        for text in ["90s", "15m", "2h", "1d", "0s", "1500ms"] {
            let span: Span = text.parse().expect("a valid span");
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{text}");
        }
        for text in ["0", "17", "512K", "64M", "20G", "1T"] {
            let size: ByteSize = text.parse().expect("a valid size");
            assert_eq!(size.to_string(), text);
        }
    }

    #[test]
    fn nonsense_and_overflow_are_errors_not_panics() {
        for text in ["", "5", "-1s", "s", "1 m", "99999999999999999999s", "18446744073709551615d", "1é"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "G", "1.5G", "-1", "18446744073709551615T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_negative_and_no_huge_span() {
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(i64::MIN).since(Timestamp(i64::MAX)), Duration::ZERO);
        let most = Duration::from_millis(i64::MAX.unsigned_abs());
        assert_eq!(Timestamp(i64::MAX).since(Timestamp(i64::MIN)), most, "what nobody can write is no panic either");
    }
}
