//! Decision file: the lines between these tools and the endpoint of an attempt, and which requests still wait.
//!
//! A line is one JSON document: a request `{"id", "tool", "args"}`, a reply `{"id", "ok"}` or `{"id", "error"}`, in any order. Every request may be
//! sent again, so one that has no reply is, when the line broke.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tool::Arguments;

/// Most bytes of a request.
pub const LINE_MAX: usize = 1 << 20;

/// What the endpoint says to a request: a value, or in words why not.
pub type Said = Result<Value, String>;

/// Requests without a reply, each with what is told of it.
#[derive(Debug)]
pub struct Waiting<T> {
    last: u64,
    open: BTreeMap<u64, Request<T>>,
}

/// One of them.
#[derive(Debug)]
pub struct Request<T> {
    /// The line.
    pub line: String,
    /// It has been written once.
    pub is_sent: bool,
    /// Who is told.
    pub who: T,
}

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        Waiting { last: 0, open: BTreeMap::new() }
    }
}

impl<T> Waiting<T> {
    /// Takes one in; its number and its line.
    pub fn take(&mut self, request: impl FnOnce(u64) -> (String, T)) -> (u64, String) {
        self.last += 1;
        let (line, who) = request(self.last);
        self.open.insert(self.last, Request { line: line.clone(), is_sent: false, who });
        (self.last, line)
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is to be sent on a fresh line, in the order in which it came; what was sent and has nobody who waits is let go.
    pub fn to_send(&mut self, is_wanted: impl Fn(&T) -> bool) -> Vec<(u64, String)> {
        self.open.retain(|_, request| !request.is_sent || is_wanted(&request.who));
        self.open.iter().map(|(id, request)| (*id, request.line.clone())).collect()
    }

    /// One was written; who is told of it.
    pub fn is_sent(&mut self, id: u64) -> Option<&mut T> {
        let request = self.open.get_mut(&id)?;
        request.is_sent = true;
        Some(&mut request.who)
    }

    /// The reply in a line, and who waits for it; `None` for one that nobody waits for, or that is no reply.
    pub fn answered(&mut self, line: &str) -> Option<(T, Said)> {
        let (id, said) = reply(line)?;
        Some((self.open.remove(&id)?.who, said))
    }

    /// All of them, none waits any more.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.open).into_values().map(|request| request.who)
    }
}

/// The line of a request.
pub fn request(id: u64, tool: &str, arguments: &Arguments) -> String {
    format!("{}\n", json!({"id": id, "tool": tool, "args": arguments}))
}

/// Why a request cannot be sent.
pub fn too_long(tool: &str, arguments: &Arguments) -> Option<String> {
    let length = request(u64::MAX, tool, arguments).len();
    (length > LINE_MAX).then(|| format!("{tool}: the arguments have {length} bytes, {LINE_MAX} at most can be sent"))
}

fn reply(line: &str) -> Option<(u64, Said)> {
    let Ok(Value::Object(mut reply)) = serde_json::from_str(line) else { return None };
    let id = reply.get("id")?.as_u64()?;
    let said = match (reply.remove("ok"), reply.remove("error")) {
        (_, Some(Value::String(error))) => Err(error),
        (_, Some(error)) if !error.is_null() => Err(error.to_string()),
        (Some(value), _) => Ok(value),
        _ => Err("treehand answered neither with a value nor with an error".to_owned()),
    };
    Some((id, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_any_order_find_who_waits_and_each_only_once() {
        let mut waiting = Waiting::default();
        for who in ["a", "b", "c"] {
            waiting.take(|id| (request(id, who, &Arguments::new()), who));
        }
        assert_eq!(waiting.answered(r#"{"id":2,"ok":{"x":1}}"#), Some(("b", Ok(json!({"x": 1})))));
        assert_eq!(waiting.answered(r#"{"id":2,"ok":1}"#), None);
        assert_eq!(waiting.answered(r#"{"id":1,"ok":null}"#), Some(("a", Ok(Value::Null))));
        assert_eq!(waiting.answered(r#"{"id":3,"error":"no"}"#), Some(("c", Err("no".into()))));
        assert!(waiting.is_empty());
        for noise in ["", "x", "[]", "{}", r#"{"id":"1"}"#, r#"{"id":9,"ok":1}"#] {
            assert_eq!(waiting.answered(noise), None, "{noise}");
        }
    }

    #[test]
    fn a_fresh_line_gets_what_has_no_reply_and_never_loses_what_was_not_sent() {
        let mut waiting = Waiting::default();
        for who in ["gone", "gone", "there"] {
            waiting.take(|id| (format!("{id}\n"), who));
        }
        assert_eq!(waiting.is_sent(1), Some(&mut "gone"));
        assert_eq!(waiting.is_sent(7), None);
        let lines: Vec<u64> = waiting.to_send(|who| *who == "there").into_iter().map(|(id, _)| id).collect();
        assert_eq!(lines, [2, 3], "the second has nobody who waits and was never sent");
        assert_eq!(waiting.give_up().count(), 2);
        let (id, line) = waiting.take(|id| (request(id, "ask", &Arguments::new()), "x"));
        assert_eq!((id, line.as_str()), (4, "{\"args\":{},\"id\":4,\"tool\":\"ask\"}\n"));
    }

    #[test]
    fn a_request_beyond_the_limit_is_not_sent() {
        let long = json!({"summary": "x".repeat(LINE_MAX)});
        assert!(too_long("ask", long.as_object().expect("one")).is_some());
        assert_eq!(too_long("ask", &Arguments::new()), None);
    }
}
