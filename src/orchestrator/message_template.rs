//! Decision file: messages of commits by a template of the user's or of the project's (`merge.message`, in the language of Jinja).
//!
//! A template only renders text: it reads no file, calls nothing of ours, and is bounded in work, depth and size. What it does not
//! know is an error, and so is a message that says nothing; there is never another one instead.

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context};

use super::messages::{Told, is_ours};

/// Most bytes of a template, and of what it gives.
const BYTES_MAX: usize = 64 << 10;

/// Steps that one message may take. They pay for memory, too, 64 bytes each.
const FUEL: u64 = 200_000;

/// How deep what calls itself may go.
const DEPTH_MAX: usize = 64;

/// What a template can say.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// The task's id.
    pub task: &'a str,
    /// The run.
    pub run: &'a str,
    /// What the run is for; empty where nobody said.
    pub goal: &'a str,
    /// What the task was told; empty for what a person offers.
    pub prompt: &'a str,
    /// What it is made of, the first one first.
    pub commits: &'a [Told],
    /// The workspace or branch that was offered, or the branch of the task.
    pub branch: &'a str,
    /// The branch that it lands on.
    pub target: &'a str,
    /// How.
    pub strategy: &'a str,
    /// The message without a template.
    pub default: &'a str,
}

/// Why there is no message.
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
    #[error("{what} is longer than {} bytes", BYTES_MAX)]
    TooLong {
        /// Which.
        what: &'static str,
    },
    /// A commit cannot have it.
    #[error("it gives a zero byte, which no message can have")]
    ZeroByte,
}

/// An error where a text is no template.
pub fn check(template: &str) -> Result<(), TemplateFault> {
    if template.len() > BYTES_MAX {
        return Err(TemplateFault::TooLong { what: "it" });
    }
    if template.trim().is_empty() {
        return Err(TemplateFault::Nothing);
    }
    environment().template_from_str(template).map_err(|error| fault(&error)).map(drop)
}

/// The text of a message, without the trailers that are added to it.
pub fn render(template: &str, words: &Words<'_>) -> Result<String, TemplateFault> {
    check(template)?;
    let environment = environment();
    let text = environment.template_from_str(template).and_then(|template| template.render(values(words)));
    let text = text.map_err(|error| fault(&error))?;
    if text.len() > BYTES_MAX {
        return Err(TemplateFault::TooLong { what: "what it gives" });
    }
    if text.contains('\0') {
        return Err(TemplateFault::ZeroByte);
    }
    if text.lines().all(|line| line.trim().is_empty() || is_ours(line)) {
        return Err(TemplateFault::Nothing);
    }
    Ok(format!("{}\n", text.trim_start_matches(['\n', '\r']).trim_end()))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    environment
}

fn values(words: &Words<'_>) -> Value {
    let Words { task, run, goal, prompt, commits, branch, target, strategy, default } = *words;
    let one = |Told { subject, message, author, id }: &Told| {
        context! { subject => subject, message => message.trim_end(), author => author, id => id }
    };
    let commits: Value = commits.iter().map(one).collect();
    let subject = default.lines().next().unwrap_or_default();
    let default = default.trim_end();
    context! { task, run, goal, prompt, subject, commits, branch, target, strategy, default }
}

fn fault(error: &minijinja::Error) -> TemplateFault {
    let why = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too much work".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    TemplateFault::At { line: error.line().unwrap_or(1), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str, author: &str) -> Told {
        let subject = message.lines().next().unwrap_or_default().to_owned();
        Told { subject, message: message.to_owned(), author: author.to_owned(), id: "ab12".repeat(10) }
    }

    fn rendered(template: &str) -> Result<String, String> {
        let commits = [told("one\n\nbecause <&>\n", "A <a@x>"), told("two\n", "B <b@x>")];
        let words = Words {
            task: "t",
            run: "0r",
            goal: "",
            prompt: "do it\nall",
            commits: &commits,
            branch: "feature/x",
            target: "main",
            strategy: "squash",
            default: "do it\n\n* one\n* two\n\nTreehand-Run: 0r\n",
        };
        render(template, &words).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_template_says_what_it_is_told_and_nothing_else() {
        let good = [
            ("{{ default }}", "do it\n\n* one\n* two\n\nTreehand-Run: 0r\n"),
            ("{{ subject }} ({{ task }} of {{ run }})\n", "do it (t of 0r)\n"),
            ("{{ branch }} into {{ target }} by {{ strategy }}", "feature/x into main by squash\n"),
            ("{% if goal %}{{ goal }}{% else %}no goal{% endif %}: {{ prompt | upper }}", "no goal: DO IT\nALL\n"),
            (
                "\n\nx\n\n{% for one in commits %}- {{ one.subject }} {{ one.author }} {{ one.id[:4] }}\n{% endfor %}\n",
                "x\n\n- one A <a@x> ab12\n- two B <b@x> ab12\n",
            ),
            ("{{ commits | map(attribute='message') | join('; ') }}", "one\n\nbecause <&>; two\n"),
            ("{{ commits | length }}", "2\n"),
        ];
        for (template, expected) in good {
            assert_eq!(rendered(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_gives_no_message_is_an_error_and_never_another_message() {
        let bad = [
            ("a\n{{ subject", "line 2 of it: syntax error: "),
            ("{% if x %}", "line 1 of it: syntax error: "),
            ("a\nb\n{{ subjekt }}", "line 3 of it: undefined value"),
            ("{{ commits[7].subject }}", "line 1 of it: undefined value"),
            ("{{ task | lsot }}", "line 1 of it: unknown filter"),
            ("{% include 'x' %}", "line 1 of it: "),
            ("", "it says nothing"),
            ("{% if goal %}{{ goal }}{% endif %}\n", "it says nothing"),
            ("Treehand-Task: {{ task }}\n", "it says nothing"),
            ("a\0b", "zero byte"),
            ("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}x", "too much work"),
            (
                "{% set a = 'xxxxxxxx' * 100000 %}{% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}{{ a }}",
                "too much work",
            ),
            ("{{ 'x' * 70000 }}", "what it gives is longer than 65536 bytes"),
        ];
        for (template, expected) in bad {
            let why = rendered(template).expect_err(template);
            assert!(why.contains(expected), "{template}: {why}");
        }
        assert_eq!(check(&"x".repeat(BYTES_MAX + 1)), Err(TemplateFault::TooLong { what: "it" }));
        assert!(check(&"(".repeat(50_000)).is_ok(), "no expression");
        assert!(check(&format!("{{{{ {} }}}}", "(".repeat(50_000))).is_err());
    }
}
