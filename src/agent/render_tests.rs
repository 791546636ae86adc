//! Tests of what a person reads of a line of an agent.
//! The lines are made up; those of real agents are in `recorded_tests`.

use super::output::Output;
use super::render::line;

#[test]
fn a_person_reads_texts_tools_and_errors() {
    let rules: Output = toml::from_str(
        r#"
format = "jsonl"
[[rule]]
event = "turn"
[[rule]]
event = "text"
when = { "/type" = "text" }
get = ["/text"]
[[rule]]
event = "tool"
when = { "/type" = "tool" }
name = ["/name"]
detail = ["/input"]
failed = [{ "/ok" = false }]
[[rule]]
event = "end"
when = { "/type" = "end" }
get = ["/error"]
failed = [{ "/error" = { exists = true } }]
[[rule]]
event = "error"
when = { "/type" = "end" }
get = ["/error"]
"#,
    )
    .expect("rules");
    let shown = |text: &str| line(&rules, text.as_bytes());
    assert_eq!(shown(r#"{"type":"text","text":"one\n\u001b[1mtwo\n"}"#).as_deref(), Some("one\ntwo"));
    assert_eq!(shown(r#"{"type":"tool","name":"Bash","input":"ls\n-l"}"#).as_deref(), Some("> Bash: ls -l"));
    assert_eq!(shown(r#"{"type":"tool","name":"Bash","ok":false}"#).as_deref(), Some("> Bash (failed)"));
    assert_eq!(shown(r#"{"type":"end","error":"no\nmore"}"#).as_deref(), Some("! no more"));
    assert_eq!(shown("warning: \u{1b}[31mred\n").as_deref(), Some("warning: red"));
    for silent in [r#"{"type":"end"}"#, r#"{"type":"other"}"#, "\n", r#"{"type":"text","text":"\n"}"#] {
        assert_eq!(shown(silent), None, "{silent}");
    }
    assert_eq!(line(&Output::default(), b"{\"type\":\"end\"}\r\n").as_deref(), Some("{\"type\":\"end\"}"));
}
