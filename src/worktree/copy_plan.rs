//! Decision file: which ignored files of the main worktree a new workspace gets, and which it is not given and why.
//!
//! A file comes along when git ignores it, in the main worktree and in the new one, and a pattern of the user or the
//! project matches it. What looks like a secret comes only when one of the patterns is its literal path. Where files lie
//! and what git says of them are facts here.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::secret_names::looks_secret;

/// What is known.
#[derive(Debug)]
pub struct CopyFacts<'a> {
    /// The patterns, a line of `.gitignore` each.
    pub patterns: &'a [Vec<u8>],
    /// Untracked files of the main worktree that they match; a repository in it is one path that ends in `/`.
    pub matched: &'a [PathBuf],
    /// Those of them that git ignores there.
    pub ignored_in_main: &'a HashSet<PathBuf>,
    /// Those of them that git would ignore in the new workspace.
    pub ignored_in_new: &'a HashSet<PathBuf>,
    /// Directories of the main worktree that nothing is taken from: worktrees, and treehand's own.
    pub excluded: &'a [PathBuf],
    /// The workspace is for commands, not for a person.
    pub sealed: bool,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CopyPlan {
    /// Files to bring along, relative to both worktrees.
    pub copy: Vec<PathBuf>,
    /// Files that stay behind although a pattern matches.
    pub withheld: Vec<Withheld>,
}

/// A file that stays behind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Withheld {
    /// Why.
    pub reason: WithheldReason,
    /// Which.
    pub path: PathBuf,
}

/// Why a file stays behind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WithheldReason {
    /// It looks like a secret, and no pattern is its literal path.
    Secret,
    /// It looks like a secret, and the workspace is for commands.
    SealedSecret,
    /// The ignore rules of the new workspace do not ignore it: it would show as a change, and be committed.
    NotIgnored,
    /// It is a repository of its own.
    Repository,
    /// Something is there already.
    InTheWay,
    /// It cannot be read.
    Unreadable,
}

impl WithheldReason {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::SealedSecret => "sealed_secret",
            Self::NotIgnored => "not_ignored",
            Self::Repository => "repository",
            Self::InTheWay => "in_the_way",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Decides what comes along.
pub fn plan(facts: &CopyFacts<'_>) -> CopyPlan {
    let literal: HashSet<PathBuf> = facts.patterns.iter().filter_map(|pattern| literal_path(pattern)).collect();
    let mut plan = CopyPlan::default();
    let excluded = |path: &Path| facts.excluded.iter().any(|directory| path.starts_with(directory));
    for path in facts.matched.iter().filter(|path| facts.ignored_in_main.contains(*path) && !excluded(path)) {
        let secret = looks_secret(path);
        let reason = if path.as_os_str().as_bytes().ends_with(b"/") {
            Some(WithheldReason::Repository)
        } else if secret && facts.sealed {
            Some(WithheldReason::SealedSecret)
        } else if secret && !literal.contains(path) {
            Some(WithheldReason::Secret)
        } else if !facts.ignored_in_new.contains(path) {
            Some(WithheldReason::NotIgnored)
        } else {
            None
        };
        match reason {
            Some(reason) => plan.withheld.push(Withheld { path: path.clone(), reason }),
            None => plan.copy.push(path.clone()),
        }
    }
    plan
}

/// The path that a pattern names when it can match nothing else but files of the same name further down.
fn literal_path(pattern: &[u8]) -> Option<PathBuf> {
    let kept = pattern.trim_ascii_end();
    let body = kept.strip_prefix(b"/").unwrap_or(kept);
    if body.is_empty() || body.ends_with(b"/") || matches!(body[0], b'!' | b'#') {
        return None;
    }
    let (mut name, mut bytes) = (Vec::new(), body.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return None,
            b'\\' => name.push(*bytes.next()?),
            byte => name.push(*byte),
        }
    }
    Some(PathBuf::from(OsStr::from_bytes(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes along and what does not, with the word of the reason.
    fn check(patterns: &[&str], matched: &[&str], sealed: bool, expected: &[&str]) {
        let patterns: Vec<Vec<u8>> = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
        let matched: Vec<PathBuf> = matched.iter().map(PathBuf::from).collect();
        let without = |word: &str| {
            let all = matched.iter().filter(|path| !path.to_string_lossy().contains(word));
            all.cloned().collect::<HashSet<_>>()
        };
        let facts = CopyFacts {
            patterns: &patterns,
            matched: &matched,
            ignored_in_main: &without("unignored"),
            ignored_in_new: &without("elsewhere"),
            excluded: &[PathBuf::from("trees"), PathBuf::from("w/wt")],
            sealed,
        };
        let plan = plan(&facts);
        let copied = plan.copy.iter().map(|path| path.display().to_string());
        let withheld = plan.withheld.iter().map(|it| format!("{} {}", it.reason.word(), it.path.display()));
        assert_eq!(copied.chain(withheld).collect::<Vec<_>>(), expected, "{patterns:?}");
    }

    #[test]
    fn what_is_ignored_and_matched_comes_along() {
        let matched = ["node_modules/a/i.js", "unignored.txt", "node_modules/elsewhere.js"];
        check(&["node_modules/"], &matched, false, &["node_modules/a/i.js", "not_ignored node_modules/elsewhere.js"]);
    }

    #[test]
    fn worktrees_and_repositories_stay_where_they_are() {
        let matched = ["trees/x/home/f", "w/wt/", "w/wtx/f", "vendor/rep/", "unignored/rep/"];
        check(&["*"], &matched, false, &["w/wtx/f", "repository vendor/rep/"]);
    }

    #[test]
    fn a_secret_comes_only_by_its_own_name() {
        let matched = [".env", "sub/.env", "certs/a.pem"];
        let all = ["secret .env", "secret sub/.env", "secret certs/a.pem"];
        check(&["*"], &matched, false, &all);
        check(&[".env*", "sub/", "certs/*.pem", "!.env", "#.env", "/", ""], &matched, false, &all);
        check(&[".env"], &matched, false, &[".env", "secret sub/.env", "secret certs/a.pem"]);
        check(&["*", "/sub/.env ", "certs/a\\.pem"], &matched, false, &["sub/.env", "certs/a.pem", "secret .env"]);
        check(&[".env", "x"], &[".env", "x"], true, &["x", "sealed_secret .env"]);
    }
}
