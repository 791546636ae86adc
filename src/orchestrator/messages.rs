//! Decision file: the messages of the commits that treehand makes, and their trailers.
//! Words only; who signs and when is the landing's business.

use crate::model::{RunId, TaskId, TaskSpec};

/// What a landed commit says it came from.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The task.
    pub task: &'a TaskId,
}

/// The message of the commit that takes what lay uncommitted in a workspace.
pub fn capture(task: &TaskSpec, origin: &Origin<'_>) -> String {
    format!("{}\n\nTreehand-Run: {}\nTreehand-Task: {}\n", subject(task), origin.run, origin.task)
}

/// The message of a squash: the task's own words, the subjects of its commits, the trailers.
pub fn squash(task: &TaskSpec, subjects: &[String], origin: &Origin<'_>) -> String {
    let mut text = subject(task);
    let own: Vec<&String> = subjects.iter().filter(|subject| **subject != text).collect();
    if !own.is_empty() {
        text.push_str("\n\n");
        text.push_str(&own.iter().map(|subject| format!("* {subject}")).collect::<Vec<_>>().join("\n"));
    }
    with_trailers(&text, origin, true)
}

/// A commit of what a person offers to land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The first paragraph of its message in one line.
    pub subject: String,
    /// Its message.
    pub message: String,
    /// Who wrote it: `Name <address>`.
    pub author: String,
    /// Its id.
    pub id: String,
}

/// The message of a squash of what a person offers: of one commit its own, of several their subjects below the name; whoever
/// wrote some of it and is not its author is named as git forges do.
pub fn squash_offered(label: &str, commits: &[Told], author: &str) -> String {
    let text = match commits {
        [one] if !one.message.trim().is_empty() => one.message.trim_end().to_owned(),
        _ => {
            let list: Vec<String> = commits.iter().map(|told| format!("* {}", told.subject)).collect();
            [label.to_owned(), list.join("\n")].join("\n\n").trim_end().to_owned()
        }
    };
    with_authors(&text, commits, author)
}

/// Names whoever wrote some of it and is neither its author nor named in it already.
pub fn with_authors(text: &str, commits: &[Told], author: &str) -> String {
    let mut text = text.trim_end().to_owned();
    let mut others: Vec<&str> = Vec::new();
    for told in commits {
        let named = text.contains(&format!("Co-authored-by: {}", told.author));
        if told.author != author && !named && !others.contains(&told.author.as_str()) {
            others.push(&told.author);
        }
    }
    if !others.is_empty() {
        let last_paragraph = text.rsplit("\n\n").next().unwrap_or("");
        let joined = text.contains("\n\n") && last_paragraph.lines().all(is_trailer);
        text.push_str(if joined { "\n" } else { "\n\n" });
        text.push_str(&others.iter().map(|other| format!("Co-authored-by: {other}")).collect::<Vec<_>>().join("\n"));
    }
    text.push('\n');
    text
}

/// The message of a commit that merges what a person offers, as git words it.
pub fn merge_offered(label: &str, into: &str) -> String {
    match into {
        "main" | "master" => format!("Merge branch '{label}'\n"),
        _ => format!("Merge branch '{label}' into {into}\n"),
    }
}

/// The message of a merge commit.
pub fn merge(task: &TaskSpec, origin: &Origin<'_>) -> String {
    with_trailers(&format!("Merge task '{}': {}", task.id, subject(task)), origin, true)
}

/// The message of a replayed commit; only the last one of a task carries its name.
pub fn replayed(original: &str, origin: &Origin<'_>, last: bool) -> String {
    with_trailers(original, origin, last)
}

fn subject(task: &TaskSpec) -> String {
    let line = task.prompt.as_deref().and_then(|prompt| prompt.lines().map(str::trim).find(|line| !line.is_empty()));
    match line {
        Some(line) if line.chars().count() <= 72 => line.to_owned(),
        Some(line) => format!("{}…", line.chars().take(71).collect::<String>()),
        None => task.id.to_string(),
    }
}

/// Adds our trailers to a message as `git interpret-trailers` would, once each; a message without text gets a subject.
pub fn with_trailers(message: &str, origin: &Origin<'_>, with_task: bool) -> String {
    let kept: Vec<&str> = message.trim_end().lines().filter(|line| !is_ours(line)).collect();
    let text = kept.join("\n");
    let text = text.trim_end();
    let text = if text.is_empty() { origin.task.as_str() } else { text };
    let last_paragraph = text.rsplit("\n\n").next().unwrap_or("");
    let joined = text.contains("\n\n") && last_paragraph.lines().all(is_trailer);
    let gap = if joined { "\n" } else { "\n\n" };
    let task = if with_task { format!("Treehand-Task: {}\n", origin.task) } else { String::new() };
    format!("{text}{gap}Treehand-Run: {}\n{task}", origin.run)
}

/// True for a trailer that is added by treehand itself.
pub fn is_ours(line: &str) -> bool {
    line.starts_with("Treehand-Run: ") || line.starts_with("Treehand-Task: ")
}

fn is_trailer(line: &str) -> bool {
    let key = line.split_once(": ").map_or("", |(key, _)| key);
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_squash_of_a_persons_work_speaks_in_their_words_and_names_all_who_wrote_it() {
        let told = |message: &str, author: &str| Told {
            subject: message.lines().next().unwrap_or_default().into(),
            message: message.into(),
            author: author.into(),
            id: "1".repeat(40),
        };
        let (a, b) = ("A <a@x>", "B <b@x>");
        let one = told("fix: it\n\nbecause\n\nSigned-off-by: A <a@x>\n", a);
        assert_eq!(squash_offered("w", std::slice::from_ref(&one), a), one.message);
        let by_another = squash_offered("w", std::slice::from_ref(&one), b);
        assert_eq!(by_another, format!("{}Co-authored-by: A <a@x>\n", one.message), "it joins the trailers");
        let several = [told("one\n\nx", a), told("two", b), told("three", b)];
        assert_eq!(squash_offered("w", &several, a), "w\n\n* one\n* two\n* three\n\nCo-authored-by: B <b@x>\n");
        assert_eq!(squash_offered("w", &[], a), "w\n");
        assert_eq!(merge_offered("w", "main"), "Merge branch 'w'\n");
        assert_eq!(merge_offered("w", "next"), "Merge branch 'w' into next\n");
    }

    #[test]
    fn trailers_come_once_and_join_those_that_are_there() {
        let (run, task) = (RunId::new(Timestamp(1_800_000_000_000), 1), TaskId::parse("t").expect("an id"));
        let origin = Origin { run: &run, task: &task };
        let signed = with_trailers("subject\n\nbody\n\nSigned-off-by: A <a@b>", &origin, true);
        assert_eq!(
            signed,
            format!("subject\n\nbody\n\nSigned-off-by: A <a@b>\nTreehand-Run: {run}\nTreehand-Task: t\n")
        );
        assert_eq!(with_trailers(&signed, &origin, true), signed, "trailers were added twice");
        assert_eq!(with_trailers("fix: it", &origin, false), format!("fix: it\n\nTreehand-Run: {run}\n"));
        assert_eq!(with_trailers("", &origin, true), format!("t\n\nTreehand-Run: {run}\nTreehand-Task: t\n"));
    }
}
