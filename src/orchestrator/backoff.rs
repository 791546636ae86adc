//! Decision file: what class a failure is of, whether another attempt can be any use, and how long to rest before it.
//!
//! A class comes from how the command ended: its exit code, or what stopped it. What it said last can only make the rest
//! longer: text that looks like an error of a service never takes an attempt away. Exponential backoff with equal jitter
//! (half of the rest is fixed, half is random), as in M. Brooker, "Exponential Backoff And Jitter", 2015.

use std::time::Duration;

use crate::model::{FailureClass, RetryPolicy, Timestamp};

/// Exit codes that say why, from `sysexits.h`: a service is not there, try again later, no permission.
const UNAVAILABLE: i32 = 69;
const TRY_AGAIN_LATER: i32 = 75;
const NO_PERMISSION: i32 = 77;

/// Longest rest that a service may ask for.
const ASKED_MAX: Duration = Duration::from_secs(86_400);

/// A rate limit rests for so many times the shortest rest at first.
const RATE_LIMIT: u32 = 10;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed<'a> {
    /// The kind that its record has.
    pub kind: &'a str,
    /// The exit code of its command, if it had one.
    pub exit: Option<i32>,
    /// The last that it said.
    pub said: &'a str,
    /// When it ended.
    pub at: Timestamp,
}

/// The class of a failure, and how long the service that refused wants to be left alone, if it said so.
pub fn classify(failed: Failed<'_>) -> (FailureClass, Option<Duration>) {
    let class = match (failed.kind, failed.exit) {
        ("timeout" | "idle" | "no_start", _) => FailureClass::Timeout,
        ("crashed" | "orphaned" | "signal", _) => FailureClass::Crash,
        ("limit", _) => FailureClass::Policy,
        ("exit", Some(TRY_AGAIN_LATER | UNAVAILABLE)) => FailureClass::Transient,
        ("exit", Some(NO_PERMISSION)) => FailureClass::Auth,
        _ => FailureClass::Failure,
    };
    if !matches!(class, FailureClass::Failure | FailureClass::Transient) {
        return (class, None);
    }
    let said = failed.said.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    let asked = asked_rest(failed.said, &said, failed.at);
    if asked.is_some() || says(&["rate limit", "rate_limit", "ratelimit", "too many requests"]) {
        return (FailureClass::RateLimit, asked);
    }
    let gone = ["temporarily unavailable", "service unavailable", "bad gateway", "gateway timeout", "overloaded"];
    let lost = ["connection reset", "connection timed out", "connection refused", "could not resolve host"];
    (if says(&gone) || says(&lost) { FailureClass::Transient } else { class }, None)
}

/// The time after the last `retry-after` in a text, which is there in lower case as well: seconds, or a moment (RFC 9110, 10.2.3).
/// How long a service wants to be left alone, by what was said last.
pub fn asked(said: &str, now: Timestamp) -> Option<Duration> {
    asked_rest(said, &said.to_ascii_lowercase(), now)
}

fn asked_rest(said: &str, in_lower_case: &str, now: Timestamp) -> Option<Duration> {
    let (at, phrase) = ["retry-after", "retry_after", "retry after"]
        .iter()
        .filter_map(|phrase| Some((in_lower_case.rfind(phrase)?, phrase)))
        .max()?;
    let rest = said.get(at + phrase.len()..)?.trim_start_matches(['"', '\'', ':', '=', ' ']);
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let asked = digits.parse().ok().map(Duration::from_secs).or_else(|| until(rest, now))?;
    Some(asked.min(ASKED_MAX))
}

/// How long it is until the moment with which a text begins.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let date = &text[..text.find("GMT")? + "GMT".len()];
    let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let left = moment.as_millisecond().saturating_sub(now.0);
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// How long to rest before the next attempt after so many failures in a row; `None` when another attempt is of no use. `jitter`
/// is from 0 to 1.
pub fn rest(
    (class, asked): (FailureClass, Option<Duration>),
    failures: u32,
    policy: &RetryPolicy,
    jitter: f64,
) -> Option<Duration> {
    let (base, most) = (policy.backoff.0, policy.backoff_max.0);
    let doubled = |first: Duration, times: u32| first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX));
    let chosen = match class {
        FailureClass::Auth | FailureClass::Policy | FailureClass::Missing => return None,
        // What fails for no known reason now and then is done again at once, and only then with rests.
        FailureClass::Failure if failures < 2 => Duration::ZERO,
        FailureClass::Failure => doubled(base, failures - 2),
        FailureClass::RateLimit => doubled(base.saturating_mul(RATE_LIMIT), failures.saturating_sub(1)),
        FailureClass::Transient | FailureClass::Crash | FailureClass::Timeout => {
            doubled(base, failures.saturating_sub(1))
        }
    };
    let chosen = chosen.min(most);
    let jittered = chosen / 2 + (chosen / 2).mul_f64(jitter.clamp(0.0, 1.0));
    // Nobody is to come back early, nor all at the same moment. Who was told a time and is refused again doubts it.
    let told = asked.map(|asked| asked + base.mul_f64(jitter.clamp(0.0, 1.0)));
    Some(match told {
        Some(told) if failures < 2 => told,
        Some(told) => told.max(jittered),
        None => jittered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;
    use proptest::prelude::*;

    /// Of 2026-11-29, in Greenwich.
    const NOON: Timestamp = Timestamp(1_795_953_600_000);

    fn exit(code: i32, said: &str) -> (FailureClass, Option<u64>) {
        let (class, asked) = classify(Failed { kind: "exit", exit: Some(code), said, at: NOON });
        (class, asked.map(|asked| asked.as_secs()))
    }

    #[test]
    fn the_class_comes_from_the_end_and_the_text_only_makes_the_rest_longer() {
        use FailureClass as C;
        let of_kind = |kind| classify(Failed { kind, exit: None, said: "429 too many requests", at: NOON }).0;
        assert_eq!([of_kind("timeout"), of_kind("idle"), of_kind("no_start")], [C::Timeout; 3]);
        assert_eq!([of_kind("crashed"), of_kind("orphaned"), of_kind("signal")], [C::Crash; 3]);
        assert_eq!(of_kind("limit"), C::Policy);
        assert_eq!(
            [exit(75, ""), exit(69, ""), exit(77, "rate limit")],
            [(C::Transient, None), (C::Transient, None), (C::Auth, None)]
        );
        assert_eq!(exit(1, "test failed: 401 Unauthorized"), (C::Failure, None), "words take no attempt away");
        assert_eq!(exit(1, "HTTP 429 Too Many Requests"), (C::RateLimit, None));
        assert_eq!(exit(1, "< Retry-After: 17\r\n"), (C::RateLimit, Some(17)));
        assert_eq!(exit(1, r#"{"error":{"type":"rate_limit_error","retry_after":3}}"#), (C::RateLimit, Some(3)));
        assert_eq!(
            exit(1, "retry after: 5 … retry-after: 99999999"),
            (C::RateLimit, Some(86_400)),
            "the last one, within a day"
        );
        assert_eq!(exit(1, "Retry-After: Wed, 21 Oct"), (C::Failure, None));
        let date = |time| exit(1, &format!("< retry-after: Sun, 29 Nov 2026 {time} GMT\r\n< x"));
        assert_eq!(date("12:00:07"), (C::RateLimit, Some(7)));
        assert_eq!(date("11:59:59"), (C::RateLimit, Some(0)), "it is over");
        assert_eq!(date("25:00:00"), (C::Failure, None));
        assert_eq!(exit(1, "curl: (6) Could not resolve host: x"), (C::Transient, None));
        assert_eq!(exit(101, "assertion failed"), (C::Failure, None));
    }

    #[test]
    fn rests_grow_to_the_longest_and_some_failures_have_none() {
        let policy = RetryPolicy {
            attempts: 9,
            backoff: Span(Duration::from_secs(1)),
            backoff_max: Span(Duration::from_secs(60)),
        };
        let secs = |class, failures| rest((class, None), failures, &policy, 1.0).map(|rest| rest.as_secs());
        let row = |class| (1..=8).map(|n| secs(class, n)).collect::<Vec<_>>();
        let some = |of: [u64; 8]| of.map(Some).to_vec();
        assert_eq!(row(FailureClass::Failure), some([0, 1, 2, 4, 8, 16, 32, 60]));
        assert_eq!(row(FailureClass::Crash), some([1, 2, 4, 8, 16, 32, 60, 60]));
        assert_eq!(row(FailureClass::RateLimit), some([10, 20, 40, 60, 60, 60, 60, 60]));
        assert_eq!((secs(FailureClass::Auth, 1), secs(FailureClass::Policy, 1)), (None, None));
        let asked =
            |seconds, jitter| rest((FailureClass::RateLimit, Some(Duration::from_secs(seconds))), 1, &policy, jitter);
        assert_eq!(asked(300, 0.0), Some(Duration::from_secs(300)), "longer than the longest, for it was asked for");
        assert_eq!(asked(300, 0.5), Some(Duration::from_millis(300_500)));
        assert_eq!(asked(1, 1.0), Some(Duration::from_secs(2)), "the service knows best");
        let again = rest((FailureClass::RateLimit, Some(Duration::from_secs(1))), 3, &policy, 1.0);
        assert_eq!(again, Some(Duration::from_secs(40)), "it was not true twice");
    }

    proptest! {
        #[test]
        fn a_rest_is_never_longer_than_the_longest_nor_shorter_than_what_was_asked_for(
            class in 0..FailureClass::ALL.len(), failures in any::<u32>(), jitter in any::<f64>(), asked in proptest::option::of(0u64..86_400),
        ) {
            let policy = RetryPolicy::default();
            let asked = asked.map(Duration::from_secs);
            if let Some(rest) = rest((FailureClass::ALL[class], asked), failures, &policy, if jitter.is_nan() { 0.0 } else { jitter }) {
                prop_assert!(rest >= asked.unwrap_or_default());
                prop_assert!(rest <= policy.backoff_max.0.max(asked.unwrap_or_default() + policy.backoff.0));
            }
        }
    }
}
