//! Apply: what an index in conflict holds, as trees: git makes none of an index that has several versions of a file.
//!
//! Works on copies of the index in a quarantine; the index itself is only read.

use std::path::PathBuf;

use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::GitCommand;
use crate::worktree::index_copy::IndexCopy;
use crate::worktree::quarantine::Quarantine;

/// The directories in which the sides are, by git's stages 1 to 3.
const SIDES: [(&str, u8); 3] = [("base", b'1'), ("ours", b'2'), ("theirs", b'3')];

/// The trees of an index in conflict.
#[derive(Clone, Debug)]
pub struct Sides {
    /// What was staged, with our side of the files in conflict.
    pub staged: CommitId,
    /// Each version of the files in conflict, below `base`, `ours` and `theirs`.
    pub sides: CommitId,
}

/// A version of a file in conflict.
struct Entry {
    what: String,
    stage: u8,
    path: Vec<u8>,
}

/// Reads a line of `ls-files --unmerged -z`: mode, id and stage, a tab, the path.
fn entry(record: &[u8]) -> Option<Entry> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (what, stage) = record.get(..tab)?.split_at_checked(tab.checked_sub(2)?)?;
    let stage = *stage.strip_prefix(b" ")?.first()?;
    Some(Entry { what: String::from_utf8_lossy(what).into_owned(), stage, path: record.get(tab + 1..)?.to_vec() })
}

/// The trees of an index, made in the quarantine; `None` for one without conflicts.
pub fn of(copy: &IndexCopy<'_>, quarantine: &Quarantine) -> Result<Option<Sides>> {
    let unmerged = copy.git(["ls-files", "--unmerged", "-z"]).run()?;
    let entries: Vec<Entry> = unmerged.records().filter_map(entry).collect();
    if entries.is_empty() {
        return Ok(None);
    }
    let mut made = String::new();
    for (name, stage) in SIDES {
        let side: Vec<&Entry> = entries.iter().filter(|entry| entry.stage == stage).collect();
        if side.is_empty() {
            continue;
        }
        let index = Index { copy, quarantine, file: quarantine.git_dir().join(format!("index-{name}")) };
        made.push_str(&format!("040000 tree {}\t{name}\0", index.with(&lines(&side))?));
    }
    let sides = quarantine.command(["mktree", "-z"]).stdin(made).object_id()?;
    let index = Index { copy, quarantine, file: quarantine.git_dir().join("index-staged") };
    fs::copy_keeping_time(copy.file(), &index.file)?;
    let mut text = Vec::new();
    for Entry { path, .. } in &entries {
        text.extend_from_slice(format!("0 {}\t", sides.zero_like()).as_bytes());
        text.extend_from_slice(path);
        text.push(0);
    }
    text.extend(lines(&entries.iter().filter(|entry| entry.stage == b'2').collect::<Vec<_>>()));
    Ok(Some(Sides { staged: index.with(&text)?, sides }))
}

/// As `update-index --index-info` takes them.
fn lines(entries: &[&Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for Entry { what, path, .. } in entries {
        text.extend_from_slice(what.as_bytes());
        text.extend_from_slice(b" 0\t");
        text.extend_from_slice(path);
        text.push(0);
    }
    text
}

/// Another index than the copy.
struct Index<'a> {
    copy: &'a IndexCopy<'a>,
    quarantine: &'a Quarantine,
    file: PathBuf,
}

impl Index<'_> {
    fn git(&self, args: &[&str]) -> GitCommand {
        let command = self.copy.git(args).env("GIT_INDEX_FILE", &self.file);
        command.env("GIT_OBJECT_DIRECTORY", self.quarantine.objects())
    }

    /// Its tree with these entries in it.
    fn with(&self, entries: &[u8]) -> Result<CommitId> {
        self.git(&["update-index", "-z", "--index-info"]).stdin(entries).run()?;
        Ok(self.git(&["write-tree"]).object_id()?)
    }
}
