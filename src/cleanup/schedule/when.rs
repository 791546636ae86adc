//! Decision file: when cleaning at night begins, as a user says it, as systemd reads it, and as cron does.
//!
//! Only what both can say exactly is accepted, so that a calendar is kept across reboots and what was missed is made up for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::Span;
use crate::model::time::QuantityError;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The most that a beginning is put off by chance, so that machines do not all begin at once.
const MOST_JITTER: u64 = 30 * MINUTE;

/// A time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeOfDay {
    hour: u8,
    minute: u8,
}

/// The time that is taken when nobody says another: late enough to be night, and no full hour, when everything begins.
const NIGHT: TimeOfDay = TimeOfDay { hour: 3, minute: 30 };

impl Default for TimeOfDay {
    fn default() -> Self {
        NIGHT
    }
}

impl FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{}` is no time of day (write 03:30)", text.escape_debug());
        let (hour, minute) = text.split_once(':').ok_or_else(fault)?;
        let number = |digits: &str, limit: u8| {
            let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number: &u8| plain && *number < limit)
        };
        let minute = number(minute, 60).filter(|_| minute.len() == 2);
        number(hour, 24).zip(minute).map(|(hour, minute)| TimeOfDay { hour, minute }).ok_or_else(fault)
    }
}

/// How often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rhythm {
    Minutes(u64),
    Hours(u64),
    Days(u64),
    Week,
}

/// A span between beginnings that a calendar can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Every {
    span: Span,
    rhythm: Rhythm,
}

impl FromStr for Every {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|error: QuantityError| error.to_string())?;
        let whole = |unit: u64| {
            let (seconds, rest) = (span.0.as_secs(), span.0.subsec_nanos());
            (rest == 0 && seconds > 0 && seconds.is_multiple_of(unit)).then_some(seconds / unit)
        };
        let rhythm = match (whole(DAY), whole(HOUR), whole(MINUTE)) {
            (Some(7), ..) => Rhythm::Week,
            (Some(days @ 1..=15), ..) => Rhythm::Days(days),
            (None, Some(hours), _) if 24_u64.is_multiple_of(hours) => Rhythm::Hours(hours),
            (None, None, Some(minutes)) if 60_u64.is_multiple_of(minutes) => Rhythm::Minutes(minutes),
            _ => {
                return Err(format!(
                    "`{}` is nothing that a calendar can say: minutes that divide an hour, hours that divide a day, or 1d to 15d",
                    text.escape_debug()
                ));
            }
        };
        Ok(Every { span, rhythm })
    }
}

/// When it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Each day at this time.
    Daily(TimeOfDay),
    /// Again after this.
    Every(Every),
}

impl When {
    /// As systemd reads it in `OnCalendar=`.
    pub fn calendar(&self) -> String {
        let TimeOfDay { hour, minute } = self.time();
        match self.rhythm() {
            Rhythm::Minutes(minutes) => format!("*-*-* *:00/{minutes}:00"),
            Rhythm::Hours(hours) => format!("*-*-* 00/{hours}:{minute:02}:00"),
            Rhythm::Days(1) => format!("*-*-* {hour:02}:{minute:02}:00"),
            Rhythm::Days(days) => format!("*-*-01/{days} {hour:02}:{minute:02}:00"),
            Rhythm::Week => format!("Sun *-*-* {hour:02}:{minute:02}:00"),
        }
    }

    /// The same for cron: the five fields.
    pub fn cron(&self) -> String {
        let TimeOfDay { hour, minute } = self.time();
        match self.rhythm() {
            Rhythm::Minutes(minutes) => format!("*/{minutes} * * * *"),
            Rhythm::Hours(hours) => format!("{minute} */{hours} * * *"),
            Rhythm::Days(1) => format!("{minute} {hour} * * *"),
            Rhythm::Days(days) => format!("{minute} {hour} */{days} * *"),
            Rhythm::Week => format!("{minute} {hour} * * 0"),
        }
    }

    /// By how much a beginning is put off by chance.
    pub fn jitter(&self) -> Span {
        let span = match self {
            When::Daily(_) => DAY,
            When::Every(every) => every.span.0.as_secs(),
        };
        Span(Duration::from_secs((span / 10).min(MOST_JITTER)))
    }

    fn time(&self) -> TimeOfDay {
        match self {
            When::Daily(time) => *time,
            When::Every(_) => NIGHT,
        }
    }

    fn rhythm(&self) -> Rhythm {
        match self {
            When::Daily(_) => Rhythm::Days(1),
            When::Every(every) => every.rhythm,
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Daily(TimeOfDay { hour, minute }) => write!(f, "daily at {hour:02}:{minute:02}"),
            When::Every(every) => write!(f, "every {}", every.span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_as_it_is_written() {
        let at = |text: &str| text.parse().map(|time| When::Daily(time).calendar());
        assert_eq!(at("03:30"), Ok("*-*-* 03:30:00".into()));
        assert_eq!(at("3:05"), Ok("*-*-* 03:05:00".into()));
        assert_eq!(at("23:59"), Ok("*-*-* 23:59:00".into()));
        for wrong in ["", "3", "24:00", "12:60", "12:5", "-1:00", "+1:00", "1:00:00", "003:30", "é:00", "1: 0"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_what_systemd_and_cron_can_say_alike() {
        let check = |text: &str, calendar: &str, cron: &str, jitter: &str| {
            let when = When::Every(text.parse().expect("a rhythm"));
            let said = (when.calendar(), when.cron(), when.jitter().to_string());
            assert_eq!(said, (calendar.into(), cron.into(), jitter.into()), "{text}");
        };
        check("15m", "*-*-* *:00/15:00", "*/15 * * * *", "90s");
        check("1h", "*-*-* 00/1:30:00", "30 */1 * * *", "6m");
        check("60m", "*-*-* 00/1:30:00", "30 */1 * * *", "6m");
        check("6h", "*-*-* 00/6:30:00", "30 */6 * * *", "30m");
        check("1d", "*-*-* 03:30:00", "30 3 * * *", "30m");
        check("24h", "*-*-* 03:30:00", "30 3 * * *", "30m");
        check("2d", "*-*-01/2 03:30:00", "30 3 */2 * *", "30m");
        check("1w", "Sun *-*-* 03:30:00", "30 3 * * 0", "30m");
        for wrong in ["0s", "90s", "7m", "90m", "5h", "36h", "16d", "1500ms", "x", "1"] {
            assert!(wrong.parse::<Every>().is_err(), "{wrong}");
        }
    }
}
