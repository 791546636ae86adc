//! Decision file: what a JSON pointer leads to in a line of an agent's output, and whether a condition of a rule holds there.
//! What is not there, or is of another kind than it should be, is no error: it leads to nothing.

use serde_json::Value;

use super::output::{Condition, Event, Expected, Rule, Scalar, Test};

/// What a line says by one rule: of which kind it is, and where in the line it is said.
pub struct Said<'r, 'v> {
    /// The rule.
    pub rule: &'r Rule,
    /// Its place among the rules.
    pub place: usize,
    /// The line, or the item of `each`.
    pub at: &'v Value,
}

impl Said<'_, '_> {
    /// What happened.
    pub fn event(&self) -> Event {
        self.rule.event
    }

    /// True where the tool, or the agent, failed.
    pub fn has_failed(&self) -> bool {
        self.rule.failed.iter().any(|condition| holds(condition, self.at))
    }

    /// The first text that one of these leads to.
    pub fn text(&self, pointers: &[String]) -> Option<String> {
        pointers.iter().find_map(|pointer| text(self.at, pointer))
    }
}

/// Everything that a line says by these rules.
pub fn said<'r, 'v>(rules: &'r [Rule], line: &'v Value) -> impl Iterator<Item = Said<'r, 'v>> {
    let matching = rules.iter().enumerate().filter(move |(_, rule)| holds(&rule.when, line));
    matching.flat_map(move |(place, rule)| {
        let items = match &rule.each {
            None => std::slice::from_ref(line),
            Some(pointer) => line.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice),
        };
        items.iter().filter(|item| holds(&rule.item, item)).map(move |at| Said { rule, place, at })
    })
}

/// True where all of a condition holds.
pub fn holds(condition: &Condition, value: &Value) -> bool {
    condition.iter().all(|(pointer, expected)| {
        let found = value.pointer(pointer).filter(|found| !found.is_null());
        match expected {
            Expected::Is(scalar) => found.is_some_and(|found| is(found, scalar)),
            Expected::OneOf(scalars) => found.is_some_and(|found| scalars.iter().any(|scalar| is(found, scalar))),
            Expected::Test(test) => passes(test, found),
        }
    })
}

fn is(value: &Value, scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Bool(expected) => value.as_bool() == Some(*expected),
        Scalar::Number(expected) => value.as_i64() == Some(*expected),
        Scalar::Text(expected) => value.as_str() == Some(expected),
    }
}

fn passes(test: &Test, found: Option<&Value>) -> bool {
    let is_filled = || match found {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        _ => false,
    };
    let has = |part: &String| found.and_then(Value::as_str).is_some_and(|text| text.contains(part));
    test.exists.is_none_or(|exists| found.is_some() == exists)
        && test.not.as_ref().is_none_or(|scalar| !found.is_some_and(|found| is(found, scalar)))
        && test.contains.as_ref().is_none_or(has)
        && !test.lacks.as_ref().is_some_and(has)
        && test.filled.is_none_or(|filled| is_filled() == filled)
}

/// The text that a pointer leads to. The texts of a list are one text, for some agents say theirs in parts.
pub fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(parts) => {
            let part = |part: &Value| {
                let inner = part.get("text").unwrap_or(part);
                inner.as_str().map(str::to_owned)
            };
            let parts: Vec<String> = parts.iter().filter_map(part).collect();
            (!parts.is_empty()).then(|| parts.join("\n"))
        }
        _ => None,
    }
}

/// The sum of the numbers that these lead to; `None` where none leads to one. A negative one counts as none.
pub fn sum(value: &Value, pointers: &[String]) -> Option<u64> {
    let number = |pointer: &String| {
        let found = value.pointer(pointer)?;
        found.as_u64().or_else(|| found.as_f64().map(|number| number as u64))
    };
    pointers.iter().filter_map(number).reduce(u64::saturating_add)
}

/// What a pointer leads to in dollars, in millionths of one.
pub fn micros(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_f64().map(|dollars| (dollars * 1_000_000.0).round() as u64)
}

/// The HTTP status that a pointer leads to: a number, or the first one of an error that a text names.
pub fn status(value: &Value, pointer: &str) -> Option<u16> {
    let is_error = |number: &u16| (400..600).contains(number);
    match value.pointer(pointer)? {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()).filter(is_error),
        Value::String(text) => {
            let words = text.split(|letter: char| !letter.is_alphanumeric());
            words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok()).find(is_error)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(text: &str) -> Condition {
        toml::from_str(text).expect("a condition")
    }

    #[test]
    fn a_condition_holds_where_all_of_it_does() {
        let line =
            json!({"type": "x", "n": 3, "ok": false, "null": null, "list": [1], "none": [], "a/b": {"~": "deep"}});
        for holding in [
            "",
            "'/type' = 'x'\n'/n' = 3\n'/ok' = false",
            "'/type' = ['y', 'x']",
            "'/a~1b/~0' = { contains = 'ee' }",
            "'/nowhere' = { exists = false }\n'/null' = { exists = false }",
            "'/nowhere' = { not = 'x' }\n'/type' = { not = 'y', exists = true }",
            "'/list' = { filled = true }\n'/none' = { filled = false }",
            "'/list/0' = 1",
            "'/type' = { lacks = 'y' }\n'/nowhere' = { lacks = 'x' }\n'/n' = { lacks = '3' }",
        ] {
            assert!(holds(&condition(holding), &line), "{holding}");
        }
        for failing in [
            "'/type' = 'x'\n'/n' = 4",
            "'/n' = '3'",
            "'/type' = []",
            "'/nowhere' = { not = 'x', exists = true }",
            "'/type' = { not = 'x' }",
            "'/type' = { filled = true }",
            "'/type' = { lacks = 'x' }",
            "'/n' = { contains = '3' }",
        ] {
            assert!(!holds(&condition(failing), &line), "{failing}");
        }
    }

    #[test]
    fn numbers_are_those_that_can_be() {
        let line = json!({"a": 5, "minus": -7, "huge": 1e300, "part": 2.9, "text": "5", "max": u64::MAX});
        let all = |names: &[&str]| sum(&line, &names.iter().map(|name| format!("/{name}")).collect::<Vec<_>>());
        assert_eq!((all(&["a", "part", "minus", "text"]), all(&["text"]), all(&[])), (Some(7), None, None));
        assert_eq!((all(&["huge"]), all(&["max", "a"])), (Some(u64::MAX), Some(u64::MAX)));
        assert_eq!((micros(&line, "/part"), micros(&line, "/minus")), (Some(2_900_000), Some(0)));
        assert_eq!((micros(&line, "/huge"), micros(&line, "/text")), (Some(u64::MAX), None));
    }

    #[test]
    fn a_status_is_a_number_or_in_a_text() {
        let line =
            json!({"n": 429, "far": 70000, "ok": 200, "text": "last status: 401 Unauthorized, id 5031", "id": "x503y"});
        let all = ["/n", "/far", "/ok", "/text", "/id", "/nowhere"].map(|pointer| status(&line, pointer));
        assert_eq!(all, [Some(429), None, None, Some(401), None, None]);
    }
}
