//! How attempts are, in words and in documents.
//!
//! Who is healthy needs no words. What is not known is `null`.

use serde_json::{Value, json};

use super::output::{age, plain};
use crate::model::health::{HealthLevel, Seen};
use crate::sys::clock;

/// One attempt: `quiet 4m`; `None` for one that is healthy.
pub fn words(seen: &Seen) -> Option<String> {
    summary([seen])
}

/// Several: `stalled 12m, 3 quiet 4m`, the worst first, each level with its longest silence; `None` when all are healthy.
pub fn summary<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Option<String> {
    let seen: Vec<&Seen> = seen.into_iter().collect();
    let of = |level: HealthLevel| {
        let these = || seen.iter().filter(|seen| seen.level == level);
        let silent = these().filter_map(|seen| seen.silent_ms).max();
        let silent = silent.map(|ms| format!(" {}", age(ms / 1000))).unwrap_or_default();
        match these().count() {
            0 => None,
            1 => Some(format!("{}{silent}", level.word())),
            several => Some(format!("{several} {}{silent}", level.word())),
        }
    };
    let parts: Vec<String> =
        [HealthLevel::Dead, HealthLevel::Stalled, HealthLevel::Quiet].into_iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The last tool that one told of: `last tool: cargo test, 20s ago`.
pub fn last_tool(seen: &Seen) -> Option<String> {
    let tool = seen.last_tool.as_ref()?;
    Some(format!("last tool: {}, {} ago", plain(&tool.name), age(clock::now().since(tool.at).as_secs())))
}

/// A state with these words behind it.
pub fn beside(state: &str, words: Option<String>) -> String {
    words.map_or_else(|| state.to_owned(), |words| format!("{state} ({words})"))
}

/// `health` of an attempt.
pub fn document(seen: Option<&Seen>) -> Value {
    seen.map_or(Value::Null, |seen| {
        json!({
            "level": seen.level,
            "last_output_at": seen.last_output_at,
            "last_tool": seen.last_tool,
            "silent_ms": seen.silent_ms,
            "cpu_ms": seen.used.map(|used| used.cpu_ms),
            "memory_bytes": seen.used.map(|used| used.memory_bytes),
            "processes": seen.used.map(|used| used.processes),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthLevel::{Dead, Healthy, Quiet, Stalled};

    #[test]
    fn only_who_is_not_healthy_gets_words_the_worst_first() {
        let seen = |level, seconds: Option<u64>| Seen {
            level,
            last_output_at: None,
            last_tool: None,
            silent_ms: seconds.map(|seconds| seconds * 1000),
            used: None,
        };
        assert_eq!(words(&seen(Healthy, Some(5))), None);
        assert_eq!(words(&seen(Quiet, Some(240))).as_deref(), Some("quiet 4m"));
        assert_eq!(words(&seen(Dead, None)).as_deref(), Some("dead"));
        let all = [(Quiet, Some(130)), (Healthy, None), (Stalled, Some(720)), (Quiet, Some(240)), (Dead, None)];
        let all = all.map(|(level, seconds)| seen(level, seconds));
        let text = summary(&all);
        assert_eq!(text.as_deref(), Some("dead, stalled 12m, 2 quiet 4m"));
        assert_eq!(beside("running", text), "running (dead, stalled 12m, 2 quiet 4m)");
    }
}
