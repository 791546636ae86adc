//! Decision file: the message of the commit that takes an operation back.
//!
//! Words only: the subject as git writes it, what it takes back, and a trailer for the task whose landing it was.

use crate::model::CommitId;

/// Most commits that the message names.
const NAMED_MAX: usize = 50;

/// What is taken back.
#[derive(Clone, Debug)]
pub struct Original<'a> {
    /// The operation's number.
    pub op: i64,
    /// What it did.
    pub summary: &'a str,
    /// The subject of the commit that it put on top; `None` where that says nothing of the operation.
    pub subject: Option<&'a str>,
    /// Its commits with their subjects, newest first.
    pub commits: &'a [(CommitId, String)],
    /// `RUN/TASK`, when it landed one.
    pub task: Option<&'a str>,
}

/// The message.
pub fn message(original: &Original<'_>) -> String {
    let Original { op, summary, subject, commits, task } = original;
    let mut text = format!("Revert \"{}\"\n\nThis takes back operation {op}: {summary}.\n", subject.unwrap_or(summary));
    if !commits.is_empty() {
        text.push('\n');
    }
    for (commit, subject) in commits.iter().take(NAMED_MAX) {
        text.push_str(&format!("    {} {subject}\n", commit.short()));
    }
    let more = commits.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        text.push_str(&format!("    and {more} more\n"));
    }
    if let Some(task) = task {
        text.push_str(&format!("\nTreehand-Reverts: {task}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_it_takes_back() {
        let commits = [(CommitId::parse(&"a".repeat(40)).expect("an id"), "port it".to_owned())];
        let original = Original {
            op: 3,
            summary: "landed r/t on main",
            subject: Some("port it"),
            commits: &commits,
            task: Some("r/t"),
        };
        let expected = "Revert \"port it\"\n\nThis takes back operation 3: landed r/t on main.\n\n    \
                        aaaaaaaaaaaa port it\n\nTreehand-Reverts: r/t\n";
        assert_eq!(message(&original), expected);
        let update = Original { subject: None, commits: &[], task: None, ..original };
        assert_eq!(
            message(&update),
            "Revert \"landed r/t on main\"\n\nThis takes back operation 3: landed r/t on main.\n"
        );
    }
}
