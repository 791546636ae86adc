//! Tests of the digest: each event in what becomes of it, and whatever bytes may come.
//! Streams that were recorded from real agents are in `recorded_tests`.

use proptest::prelude::*;

use super::digest::Digest;
use super::lines::LINE_MAX;
use super::output::Output;
use crate::model::agent::{AgentFault, AgentReport};

const RULES: &str = r#"
format = "jsonl"
drop = [{ "/type" = "delta" }]
[[rule]]
event = "session"
when = { "/type" = "begin" }
get = ["/id"]
[[rule]]
event = "turn"
when = { "/type" = "turn" }
once = "/id"
[[rule]]
event = "usage"
when = { "/type" = "turn" }
input = ["/in"]
output = ["/out"]
cost = "/usd"
[[rule]]
event = "usage"
when = { "/type" = "sum" }
input = ["/in", "/cache"]
cached = ["/cache"]
mode = "total"
[[rule]]
event = "tool"
when = { "/type" = "tools" }
each = "/list"
where = { "/kind" = "call" }
name = ["/name"]
failed = [{ "/ok" = false }]
[[rule]]
event = "tool_failed"
when = { "/type" = "failed" }
[[rule]]
event = "text"
when = { "/type" = "text" }
get = ["/text"]
[[rule]]
event = "text"
when = { "/type" = "part" }
get = ["/text"]
part = true
[[rule]]
event = "error"
when = { "/type" = "error" }
get = ["/message"]
status = "/status"
[[rule]]
event = "retry"
when = { "/type" = "retry" }
get = ["/message"]
[[rule]]
event = "denied"
when = { "/type" = "denied" }
get = ["/what"]
[[rule]]
event = "end"
when = { "/type" = "end" }
failed = [{ "/error" = { exists = true } }]
get = ["/error"]
"#;

fn rules() -> Output {
    toml::from_str(RULES).expect("rules")
}

fn digest(output: Output, chunks: &[&[u8]]) -> (AgentReport, Vec<u8>) {
    let mut digest = Digest::new(output);
    let mut kept = Vec::new();
    let mut keep = |bytes: &[u8]| kept.extend_from_slice(bytes);
    chunks.iter().for_each(|chunk| digest.feed(chunk, &mut keep));
    digest.finish(&mut keep);
    (digest.report().clone(), kept)
}

fn report(lines: &str) -> AgentReport {
    digest(rules(), &[lines.as_bytes()]).0
}

fn fault(message: &str, status: Option<u16>) -> Option<AgentFault> {
    Some(AgentFault { message: message.into(), status })
}

#[test]
fn everything_that_is_said_is_added_up() {
    let lines = r#"{"type":"begin","id":"s-1"}
{"type":"turn","id":"a","in":10,"out":2,"usd":0.5}
{"type":"turn","id":"a","in":10,"out":2}
{"type":"tools","list":[{"kind":"call","name":"Bash","ok":true},{"kind":"word"},{"kind":"call","name":"Edit","ok":false}]}
{"type":"failed"}
{"type":"turn","id":"b","in":5,"usd":0.25}
{"type":"turn"}
{"type":"text","text":"\u001b[1mfirst\u001b[0m\n"}
{"type":"denied","what":"rm -rf"}
{"type":"whatever"}
no json
{"type":"text","text":" "}
{"type":"end"}"#;
    let report = report(lines);
    assert_eq!((report.session.as_deref(), report.turns, report.turns_without_tool), (Some("s-1"), 3, 2));
    assert_eq!((report.tools, report.tool_failures, report.last_tool.as_deref()), (2, 2, Some("Edit")));
    assert_eq!((report.usage.input, report.usage.output, report.usage.cost_micros), (25, 4, Some(750_000)));
    assert_eq!(
        (report.text.as_deref(), report.denied, report.ended),
        (Some("first\n"), vec!["rm -rf".to_owned()], true)
    );
    assert_eq!((report.unknown, report.malformed, report.fault), (1, 1, None));
}

#[test]
fn a_sum_stands_over_what_was_added_up() {
    let report = report("{\"type\":\"turn\",\"in\":10,\"out\":2}\n{\"type\":\"sum\",\"in\":7,\"cache\":3}\n");
    assert_eq!((report.usage.input, report.usage.cached, report.usage.output), (10, 3, 2));
}

#[test]
fn an_error_stands_until_the_agent_goes_on() {
    let error = "{\"type\":\"error\",\"message\":\"slow\\ndown\",\"status\":429}\n";
    let told = |rest: &str| report(&format!("{error}{rest}")).fault;
    assert_eq!(told(""), fault("slow down", Some(429)));
    assert_eq!(
        told("{\"type\":\"turn\"}\n{\"type\":\"failed\"}\n{\"type\":\"text\",\"text\":\" \"}"),
        fault("slow down", Some(429))
    );
    assert_eq!(told("{\"type\":\"text\",\"text\":\"on\"}"), None);
    assert_eq!(told("{\"type\":\"tools\",\"list\":[{\"kind\":\"call\"}]}"), None);
    assert_eq!(told("{\"type\":\"end\"}"), None);
    assert_eq!(
        told("{\"type\":\"end\",\"error\":\"gave up\"}\n{\"type\":\"text\",\"text\":\"on\"}"),
        fault("gave up", Some(429))
    );
    assert_eq!(told("{\"type\":\"retry\",\"message\":\"again\"}"), fault("again", None));
    assert_eq!(report("{\"type\":\"retry\"}").retries, 1);
}

#[test]
fn a_text_that_comes_in_parts_is_one() {
    let part = |text: &str| format!("{{\"type\":\"part\",\"text\":\"{text}\"}}\n");
    assert_eq!(report(&[part("a"), part(" "), part("b")].concat()).text.as_deref(), Some("a b"));
    assert_eq!(report(&[part("a"), "{\"type\":\"turn\"}\n".into(), part("b")].concat()).text.as_deref(), Some("b"));
}

#[test]
fn a_name_that_could_be_a_flag_is_no_conversation() {
    for name in ["--yes", "", "a b", "a\\nb", &"x".repeat(201)] {
        assert_eq!(report(&format!("{{\"type\":\"begin\",\"id\":\"{name}\"}}")).session, None, "{name}");
    }
}

#[test]
fn whole_lines_are_kept_but_those_that_repeat_others() {
    let (report, kept) = digest(rules(), &[b"{\"type\":\"delta\"}\n{\"ty", b"pe\":\"turn\"}\n\nwords\n{\"type\":\"t"]);
    assert_eq!(String::from_utf8_lossy(&kept), "{\"type\":\"turn\"}\n\nwords\n{\"type\":\"t\n");
    assert_eq!((report.turns, report.unknown, report.malformed), (1, 0, 2));
}

#[test]
fn what_is_too_much_is_kept_and_not_read() {
    let long = format!("{{\"type\":\"turn\",\"x\":\"{}\"}}\n", "x".repeat(LINE_MAX));
    let heavy = format!("[{}0]\n", "{},".repeat(200_000));
    for line in [long, heavy] {
        let (report, kept) = digest(rules(), &[line.as_bytes()]);
        assert_eq!((report.turns, report.unknown, report.malformed), (0, 1, 0));
        assert_eq!(kept, line.as_bytes());
    }
}

#[test]
fn a_report_is_bounded() {
    let mut lines = String::new();
    for number in 0..100 {
        let text = format!("{number}{}", "é".repeat(20_000));
        for line in [("text", "text"), ("error", "message"), ("denied", "what"), ("part", "text")] {
            lines += &format!("{{\"type\":\"{}\",\"{}\":\"{text}\"}}\n", line.0, line.1);
        }
    }
    let report = report(&lines);
    let long = |text: &String| text.len();
    assert!(report.text.as_ref().is_some_and(|text| text.len() > 16_000 && text.len() <= 16 * 1024));
    assert_eq!((report.denied.len(), report.denied.iter().map(long).max() <= Some(2048)), (20, true));
    assert!(serde_json::to_vec(&report).expect("JSON").len() < 70_000);
}

#[test]
fn of_words_the_last_lines_are_what_was_said() {
    let text = (0..100).map(|number| format!("line {number}\r\n\n")).collect::<String>() + "\u{1b}[2Kend";
    let (report, kept) = digest(Output::default(), &[text.as_bytes()]);
    assert_eq!(kept, text.as_bytes());
    let said = report.text.expect("a text");
    assert!(said.starts_with("line 81\n") && said.ends_with("line 99\nend") && !said.contains('\u{1b}'), "{said}");
    let flood = digest(Output::default(), &["x".repeat(100_000).as_bytes(), b"\n", "y".repeat(90_000).as_bytes()]).0;
    assert!(flood.text.is_some_and(|text| text.len() <= 16 * 1024 && text.starts_with('y')));
}

fn line() -> impl Strategy<Value = String> {
    let kind = "(begin|turn|sum|tools|failed|text|part|error|retry|denied|end|delta|x)";
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        "[a-z \\\\]{0,3}".prop_map(|text| format!("\"{text}\"")),
        Just("[{\"kind\":\"call\",\"name\":\"n\"}]".to_owned()),
    ];
    let key = "(id|in|out|usd|cache|list|text|message|status|what|error)";
    let whole = (kind, proptest::collection::vec((key, value), 0..5)).prop_map(|(kind, fields)| {
        let fields: String = fields.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        format!("{{\"type\":\"{kind}\"{fields}}}")
    });
    prop_oneof![4 => whole, 1 => "[ -~\n\r]{0,20}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::collection::vec(line(), 0..12).prop_map(|lines| lines.join("\n").into_bytes());
    prop_oneof![3 => lines, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn it_matters_nowhere_how_the_bytes_were_cut(bytes in bytes(), sizes in proptest::collection::vec(1..40_usize, 1..40), is_text in any::<bool>()) {
        let output = || if is_text { Output::default() } else { rules() };
        let mut rest = bytes.as_slice();
        let mut chunks = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*size));
            chunks.push(chunk);
            rest = after;
        }
        let whole = digest(output(), &[&bytes]);
        let is_plain = |text: &String| !text.chars().any(|letter| letter.is_control() && !"\n\t".contains(letter));
        prop_assert!(whole.0.text.iter().chain(&whole.0.denied).chain(&whole.0.session).all(is_plain));
        prop_assert_eq!(digest(output(), &chunks), whole);
    }
}
