//! Decision file: what a tool is, the JSON Schema of its arguments, and whether arguments are what it takes.
//!
//! Who calls is a model: what is wrong is said in full, in words from which it can do better. Knows no protocol.

use serde_json::{Map, Value, json};

use crate::model::Span;

/// Named arguments.
pub type Arguments = Map<String, Value>;

/// A tool, as it is offered.
#[derive(Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does and when to use it, for a model.
    pub description: &'static str,
    /// What it takes.
    pub fields: &'static [Field],
    /// What a call does to the world.
    pub effect: Effect,
}

/// What a tool answers.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// This.
    Right(Value),
    /// It did not do it.
    Wrong {
        /// Why, for a model.
        text: String,
        /// The same for a program, or what came of it nevertheless.
        document: Option<Value>,
    },
}

/// What a call does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It adds something.
    Adds,
    /// It changes what a person has.
    Changes,
}

/// One argument.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// It has to be there.
    pub required: bool,
    /// What it means, for a model.
    pub description: &'static str,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text of at least one and at most so many characters.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// How long: `30m`.
    Span,
    /// A number, not negative.
    Number,
    /// Yes or no.
    Flag,
    /// At least one and at most so many texts.
    Texts(usize),
}

/// Most characters of one of several texts.
const ELEMENT_MAX: usize = 100_000;

impl Field {
    /// One that has to be there.
    pub const fn required(name: &'static str, kind: Kind, description: &'static str) -> Field {
        Field { name, kind, required: true, description }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Field {
        Field { name, kind, required: false, description }
    }

    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text(most) => json!({"type": "string", "minLength": 1, "maxLength": most}),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Span => json!({"type": "string", "minLength": 1, "maxLength": 32}),
            Kind::Number => json!({"type": "integer", "minimum": 0}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Texts(most) => {
                let element = json!({"type": "string", "maxLength": ELEMENT_MAX});
                json!({"type": "array", "items": element, "minItems": 1, "maxItems": most})
            }
        };
        schema["description"] = self.description.into();
        schema
    }

    /// What is wrong with a value.
    fn wrong(&self, value: &Value) -> Option<String> {
        let name = self.name;
        let text = |most: usize| match value.as_str().map(|text| text.chars().count()) {
            None => Some(format!("`{name}` must be a string")),
            Some(0) => Some(format!("`{name}` must not be empty")),
            Some(count) if count > most => Some(format!("`{name}` has {count} characters, {most} at most are taken")),
            Some(_) => None,
        };
        match self.kind {
            Kind::Text(most) => text(most),
            Kind::Word(words) if value.as_str().is_some_and(|word| words.contains(&word)) => None,
            Kind::Word(words) => Some(format!("`{name}` must be one of {}", words.join(", "))),
            Kind::Span => text(32).or_else(|| {
                let span = value.as_str().unwrap_or_default().parse::<Span>();
                span.err().map(|error| format!("`{name}`: {error}; say it like 90s, 30m or 2h"))
            }),
            Kind::Number => value.as_u64().is_none().then(|| format!("`{name}` must be a whole number from 0")),
            Kind::Flag => value.as_bool().is_none().then(|| format!("`{name}` must be true or false")),
            Kind::Texts(most) => {
                let is_text = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= ELEMENT_MAX);
                let fits =
                    value.as_array().is_some_and(|all| (1..=most).contains(&all.len()) && all.iter().all(is_text));
                (!fits).then(|| format!("`{name}` must be a list of 1 to {most} strings"))
            }
        }
    }
}

impl Tool {
    /// The JSON Schema of its arguments.
    pub fn schema(&self) -> Map<String, Value> {
        let properties: Map<String, Value> =
            self.fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
        let required: Vec<&str> = self.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), properties.into());
        schema.insert("required".into(), required.into());
        schema.insert("additionalProperties".into(), false.into());
        schema
    }

    /// The arguments as it takes them, or all that is wrong with them. What may be left out may be `null`: models write that.
    pub fn checked(&self, arguments: Arguments) -> Result<Arguments, String> {
        let field = |name: &str| self.fields.iter().find(|field| field.name == name);
        let is_left_out =
            |name: &str, value: &Value| value.is_null() && field(name).is_some_and(|field| !field.required);
        let given: Arguments = arguments.into_iter().filter(|(name, value)| !is_left_out(name, value)).collect();
        let mut wrong: Vec<String> = Vec::new();
        for (name, value) in &given {
            match field(name) {
                Some(field) => wrong.extend(field.wrong(value)),
                None => wrong.push(format!("there is no argument `{}`", name.escape_debug())),
            }
        }
        let missing = self.fields.iter().filter(|field| field.required && !given.contains_key(field.name));
        wrong.extend(missing.map(|field| format!("`{}` is missing", field.name)));
        if wrong.is_empty() {
            return Ok(given);
        }
        let known: Vec<&str> = self.fields.iter().map(|field| field.name).collect();
        let takes = if known.is_empty() { "no arguments".to_owned() } else { known.join(", ") };
        Err(format!("{}: {} (it takes {takes})", self.name, wrong.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "tool",
        title: "Tool",
        description: "What it does.",
        fields: &[
            Field::required("text", Kind::Text(3), "A text"),
            Field::optional("word", Kind::Word(&["a", "b"]), "A word"),
            Field::optional("span", Kind::Span, "How long"),
            Field::optional("number", Kind::Number, "How many"),
            Field::optional("flag", Kind::Flag, "Whether"),
            Field::optional("list", Kind::Texts(2), "Several"),
        ],
        effect: Effect::Reads,
    };

    fn checked(arguments: Value) -> Result<Value, String> {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        TOOL.checked(arguments).map(Value::Object)
    }

    #[test]
    fn what_it_takes_passes_and_what_is_left_out_may_be_null() {
        let all = json!({"text": "äöü", "word": "b", "span": "30m", "number": 0, "flag": true, "list": ["x", ""]});
        assert_eq!(checked(all.clone()), Ok(all));
        assert_eq!(checked(json!({"text": "x", "word": null})), Ok(json!({"text": "x"})));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let wrong = checked(json!({"text": "", "word": "c", "more": 1, "number": -1})).expect_err("refused");
        for said in ["`text` must not be empty", "`word` must be one of a, b", "no argument `more`", "`number` must be"]
        {
            assert!(wrong.contains(said), "{wrong}");
        }
        for (arguments, said) in [
            (json!({}), "`text` is missing"),
            (json!({"text": null}), "`text` must be a string"),
            (json!({"text": "long"}), "has 4 characters, 3 at most"),
            (json!({"text": "x", "span": "soon"}), "say it like 90s"),
            (json!({"text": "x", "list": []}), "a list of 1 to 2"),
            (json!({"text": "x", "list": ["a", 1]}), "a list of 1 to 2"),
            (json!({"text": "x", "flag": "yes"}), "true or false"),
        ] {
            let wrong = checked(arguments).expect_err("refused");
            assert!(wrong.contains(said), "{wrong}");
        }
    }

    #[test]
    fn the_schema_says_what_is_checked() {
        let schema = Value::Object(TOOL.schema());
        assert_eq!(schema["required"], json!(["text"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["text"]["maxLength"], 3);
        assert_eq!(schema["properties"]["word"]["enum"], json!(["a", "b"]));
    }
}
