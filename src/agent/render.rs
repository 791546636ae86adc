//! Decision file: a line of an agent's output as a person reads it: what it says as it is, the tools that it uses, its errors.
//! What is no line of the format (words on its standard error) is shown as it is; what says nothing to a person is left out.

use serde_json::Value;

use super::output::{Event, Format, Output};
use super::plain;
use super::pointer::{self, Said};

/// Most bytes of what a line gives.
const SHOWN_MAX: usize = 64 * 1024;
/// Most bytes of what a tool was used for.
const DETAIL_MAX: usize = 200;

/// What a person reads of a kept line, without an end; `None` where that is nothing.
pub fn line(output: &Output, line: &[u8]) -> Option<String> {
    let as_it_is = || {
        let shown = plain::lines(&String::from_utf8_lossy(line), SHOWN_MAX).trim_end().to_owned();
        (!shown.is_empty()).then_some(shown)
    };
    if output.format == Format::Text {
        return as_it_is();
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return as_it_is() };
    let mut shown: Vec<String> = Vec::new();
    for part in pointer::said(&output.rules, &value).filter_map(|said| words(&said)) {
        if shown.last() != Some(&part) {
            shown.push(part);
        }
    }
    (!shown.is_empty()).then(|| shown.join("\n"))
}

fn words(said: &Said<'_, '_>) -> Option<String> {
    let one_line = |text: String| plain::line(&text, SHOWN_MAX);
    let told = || said.text(&said.rule.get).map(one_line).filter(|text| !text.is_empty());
    match said.event() {
        Event::Text => {
            let text = plain::lines(&said.text(&said.rule.get)?, SHOWN_MAX);
            let text = text.trim_end();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Event::Tool => {
            let mut shown = format!("> {}", said.text(&said.rule.name).map(one_line)?);
            let detail = said.text(&said.rule.detail).map(|text| plain::line(&text, DETAIL_MAX));
            if let Some(detail) = detail.filter(|detail| !detail.is_empty()) {
                shown = format!("{shown}: {detail}");
            }
            Some(if said.has_failed() { format!("{shown} (failed)") } else { shown })
        }
        Event::ToolFailed => Some(format!("! {}", told().unwrap_or_else(|| "the tool failed".into()))),
        Event::Error | Event::Retry => told().map(|text| format!("! {text}")),
        Event::Denied => told().map(|text| format!("! not permitted: {text}")),
        Event::End if said.has_failed() => told().map(|text| format!("! {text}")),
        Event::Session | Event::Turn | Event::Usage | Event::End => None,
    }
}
