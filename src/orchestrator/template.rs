//! Decision file: text by a template of the user's or of the project's, in the language of Jinja.
//!
//! A template only renders text: it reads no file, calls nothing of ours, and is bounded in work, depth and size. What it does not
//! know is an error, and so is a text that says nothing; there is never another one instead.

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

/// Most bytes of a template, and of a message that one gives.
pub const BYTES_MAX: usize = 64 << 10;

/// Steps that one message may take. They pay for memory, too, 64 bytes each.
const FUEL: u64 = 200_000;

/// How deep what calls itself may go.
const DEPTH_MAX: usize = 64;

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// The language was not kept to, or the template asks for what is not there.
    #[error("line {line} of it: {why}")]
    At {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// It says nothing.
    #[error("it says nothing")]
    Nothing,
    /// It is too long, or what it gives is.
    #[error("{what} is longer than {most} bytes")]
    TooLong {
        /// Which.
        what: &'static str,
        /// How long it may be.
        most: usize,
    },
    /// Nobody can be told it.
    #[error("it gives a zero byte")]
    ZeroByte,
}

/// An error where a text is no template.
pub fn check(template: &str) -> Result<(), TemplateFault> {
    if template.len() > BYTES_MAX {
        return Err(TemplateFault::TooLong { what: "it", most: BYTES_MAX });
    }
    if template.trim().is_empty() {
        return Err(TemplateFault::Nothing);
    }
    environment().template_from_str(template).map_err(|error| fault(&error)).map(drop)
}

/// The text that a template gives of these values, of at most so many bytes.
pub fn render(template: &str, values: Value, most: usize) -> Result<String, TemplateFault> {
    check(template)?;
    let environment = environment();
    let text = environment.template_from_str(template).and_then(|template| template.render(values));
    let text = text.map_err(|error| fault(&error))?;
    if text.len() > most {
        return Err(TemplateFault::TooLong { what: "what it gives", most });
    }
    if text.contains('\0') {
        return Err(TemplateFault::ZeroByte);
    }
    if text.trim().is_empty() {
        return Err(TemplateFault::Nothing);
    }
    Ok(text)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    environment
}

fn fault(error: &minijinja::Error) -> TemplateFault {
    let why = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too much work".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    TemplateFault::At { line: error.line().unwrap_or(1), why }
}
