//! What is said about ignored files that came along into a new workspace: while it takes long, and after.
//!
//! Progress is for a terminal alone, and only after a second. What stayed behind is said with its remedy.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::document::shorten_list;
use super::output::{Output, size};
use crate::worktree::copy::{Copied, CopyProgress, INCLUDE_FILE};
use crate::worktree::copy_plan::WithheldReason;

/// Nothing is said about what takes no longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// At most so often.
const PACE: Duration = Duration::from_millis(100);

/// A listener that keeps one line on the terminal up to date, and takes it away in the end, also when that is an error.
pub fn progress(out: &Output) -> impl Fn(CopyProgress) + '_ {
    let line = Line { out, begun: Instant::now(), shown: Cell::new(None) };
    move |progress| line.show(progress)
}

struct Line<'a> {
    out: &'a Output,
    begun: Instant,
    shown: Cell<Option<Instant>>,
}

impl Line<'_> {
    fn show(&self, progress: CopyProgress) {
        let now = Instant::now();
        if now - self.begun > PATIENCE && self.shown.get().is_none_or(|shown| now - shown > PACE) {
            self.shown.set(Some(now));
            let CopyProgress { done, files, bytes } = progress;
            self.out.progress(&format!("copying {done} of {files} files, {}", size(bytes)));
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.shown.get().is_some() {
            self.out.progress("");
        }
    }
}

/// Says what came along and what did not.
pub fn say(out: &Output, copied: &Copied) {
    if copied.files > 0 {
        let files = if copied.files == 1 { "file" } else { "files" };
        let amount = if copied.bytes < 1024 { format!("{} bytes", copied.bytes) } else { size(copied.bytes) };
        out.say(format!("brought {} ignored {files} along ({amount})", copied.files));
    }
    for reason in REASONS {
        let held = copied.withheld.iter().filter(|withheld| withheld.reason == *reason);
        let paths: Vec<String> = held.map(|withheld| withheld.path.display().to_string()).collect();
        if !paths.is_empty() {
            out.warn(format!("not copied: {}: {}", shorten_list(&paths), why(*reason)));
        }
    }
}

const REASONS: &[WithheldReason] = &[
    WithheldReason::Secret,
    WithheldReason::SealedSecret,
    WithheldReason::NotIgnored,
    WithheldReason::Repository,
    WithheldReason::InTheWay,
    WithheldReason::Unreadable,
];

fn why(reason: WithheldReason) -> String {
    match reason {
        WithheldReason::Secret => {
            format!("a secret by its name; to copy it, write its path without wildcards into {INCLUDE_FILE}")
        }
        WithheldReason::SealedSecret => {
            "a secret by its name, which no sealed workspace gets; copy it by hand if its commands may see it"
                .to_owned()
        }
        WithheldReason::NotIgnored => {
            "the new workspace does not ignore it and would commit it; bring its .gitignore up to date".to_owned()
        }
        WithheldReason::Repository => "a repository of its own; clone it there".to_owned(),
        WithheldReason::InTheWay => "something is there already".to_owned(),
        WithheldReason::Unreadable => "it cannot be read".to_owned(),
    }
}

/// The `copied` of `treehand/workspace/v1`.
pub fn document(copied: &Copied) -> Value {
    let withheld: Vec<Value> = copied
        .withheld
        .iter()
        .map(|withheld| json!({"path": withheld.path.to_string_lossy(), "reason": withheld.reason.word()}))
        .collect();
    json!({"files": copied.files, "bytes": copied.bytes, "reflinked": copied.reflinked, "withheld": withheld})
}
