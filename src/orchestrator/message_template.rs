//! Decision file: messages of commits by a template of the user's or of the project's (`merge.message`): what it can say, and that it is
//! a message. How a template is read is in `template`.

use minijinja::{Value, context};

use super::messages::{Told, is_ours};
use super::template::{self, BYTES_MAX, TemplateFault};

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

/// The text of a message, without the trailers that are added to it.
pub fn render(template: &str, words: &Words<'_>) -> Result<String, TemplateFault> {
    let text = template::render(template, values(words), BYTES_MAX)?;
    if text.lines().all(|line| line.trim().is_empty() || is_ours(line)) {
        return Err(TemplateFault::Nothing);
    }
    Ok(format!("{}\n", text.trim_start_matches(['\n', '\r']).trim_end()))
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
        assert_eq!(
            template::check(&"x".repeat(BYTES_MAX + 1)),
            Err(TemplateFault::TooLong { what: "it", most: BYTES_MAX })
        );
        assert!(template::check(&"(".repeat(50_000)).is_ok(), "no expression");
        assert!(template::check(&format!("{{{{ {} }}}}", "(".repeat(50_000))).is_err());
    }
}
