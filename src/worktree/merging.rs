//! Many merges in memory by one git that stays: `git merge-tree --stdin`, one question after the other, for those who need the
//! result of one merge before they know the next, or who have thousands.
//!
//! The answers are those of [`outcome_of`], and objects go to the quarantine as there; what other processes write there
//! meanwhile is seen, because git looks again for an object that it does not find.
//!
//! Attributes. git reads those of our side (`GIT_ATTR_SOURCE`) once for a process and keeps them. So a merge goes to the process that
//! stays only when no `.gitattributes` of our side differs from those that it has. Who asks may know that, from what changed
//! ([`Merger::know_same_attributes`]); else another git tells (`diff-tree --stdin`), which compares only the directories in which
//! something differs. Where they differ, all is started anew.
//!
//! Buffers. git 2.49 empties its buffer after each answer. Before that, what comes after the messages of an answer stays there; the
//! messages themselves do not, because git empties the buffer where it would warn of too many renames (`merge_display_update_messages`
//! calls `diff_warn_rename_limit`, which begins with `fflush`). So messages are asked for, and after what is really asked
//! comes a merge of one commit with itself, which costs git nothing and takes the end of the answer before it along.
//!
//! git before 2.41 takes no base there (2.40) or no source of attributes: then each merge is a process of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::conflict_paths;
use super::error::Result;
use super::merge::{Merged, Outcome, TAKES_ATTRIBUTES, merge_tree, outcome_of};
use super::quarantine::Quarantine;
use crate::model::CommitId;
use crate::sys::git::{GitError, GitStream};

/// Merges one pair of commits after the other.
pub struct Merger<'a> {
    quarantine: &'a Quarantine,
    running: Option<Running>,
    /// Commits whose attributes are known to be those of another.
    like: HashMap<CommitId, CommitId>,
}

/// Two commits to merge, and the base where that is not for history to tell.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Stands for both sides' past; without it the history's own merge bases do.
    pub base: Option<&'a CommitId>,
    /// Our side.
    pub ours: &'a CommitId,
    /// Their side.
    pub theirs: &'a CommitId,
}

/// How long git may be silent over one merge.
const SILENCE_MAX: Duration = Duration::from_secs(600);

impl<'a> Merger<'a> {
    /// One that merges into this quarantine. git is started when there is something to merge.
    pub fn open(quarantine: &'a Quarantine) -> Merger<'a> {
        Merger { quarantine, running: None, like: HashMap::new() }
    }

    /// True once git was asked to merge something.
    pub fn is_at_work(&self) -> bool {
        self.running.is_some()
    }

    /// Takes it for known that no `.gitattributes` of one commit differs from those of another, so that git need not be asked.
    pub fn know_same_attributes(&mut self, commit: &CommitId, of: &CommitId) {
        let of = self.like.get(of).unwrap_or(of).clone();
        self.like.insert(commit.clone(), of);
    }

    /// The commit that stands for our side where attributes are compared.
    fn source<'c>(&'c self, pair: &Pair<'c>) -> &'c CommitId {
        self.like.get(pair.ours).unwrap_or(pair.ours)
    }

    /// Merges two commits, as [`super::merge::merge_trees`] does.
    pub fn merge(&mut self, base: Option<&CommitId>, ours: &CommitId, theirs: &CommitId) -> Result<Merged> {
        self.outcome(base, ours, theirs).map(Merged::from)
    }

    /// The same with the tree that it made in any case.
    pub fn outcome(&mut self, base: Option<&CommitId>, ours: &CommitId, theirs: &CommitId) -> Result<Outcome> {
        let mut merged = self.merge_all(&[Pair { base, ours, theirs }])?;
        merged.pop().ok_or_else(|| unexpected("no answer").into())
    }

    /// Merges each of them; the answers are in their order. git is asked all at once as long as attributes are the same.
    pub fn merge_all(&mut self, pairs: &[Pair<'_>]) -> Result<Vec<Outcome>> {
        if self.quarantine.git_version() < TAKES_ATTRIBUTES {
            return pairs.iter().map(|pair| outcome_of(self.quarantine, pair.base, pair.ours, pair.theirs)).collect();
        }
        let mut merged = Vec::with_capacity(pairs.len());
        let mut left = pairs;
        while let Some(first) = left.first() {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => Running::start(self.quarantine, self.source(first))?,
            };
            running.compare_attributes(self.quarantine, left.iter().map(|pair| self.source(pair)))?;
            let fit = left.iter().take_while(|pair| running.has_attributes_of(self.source(pair)));
            let (now, later) = left.split_at(fit.count());
            if !now.is_empty() {
                merged.extend(running.merge(now)?);
            }
            left = later;
            // One that has failed is not asked again, nor one that has other attributes than the next needs.
            self.running = Some(running).filter(|_| left.is_empty());
        }
        Ok(merged)
    }

    /// The same where one that git cannot merge at all (histories that have nothing in common, a fault of git's) must not hide the
    /// others: each has an answer or an error of its own.
    pub fn merge_each(&mut self, pairs: &[Pair<'_>]) -> Vec<Result<Outcome>> {
        match self.merge_all(pairs) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) if pairs.len() == 1 => vec![Err(error)],
            Err(_) => pairs.iter().flat_map(|pair| self.merge_each(std::slice::from_ref(pair))).collect(),
        }
    }
}

/// The processes that stay.
struct Running {
    merges: GitStream,
    /// Tells whether the attributes of two commits differ; started when that is asked.
    attributes: Option<GitStream>,
    /// The commit whose attributes `merges` reads.
    source: CommitId,
    /// Commits that were held against the source, and whether they have the same attributes.
    same: HashMap<CommitId, bool>,
    /// The answer to the last merge of a commit with itself is still to be read.
    owed: bool,
}

const DIFFERS: [&str; 8] = [
    "diff-tree",
    "--stdin",
    "-r",
    "--no-renames",
    "--name-only",
    "--no-commit-id",
    "--",
    ":(top,glob)**/.gitattributes",
];

/// A line that is no id comes back from `diff-tree --stdin` as it is, at once; a path of its answers never looks like it.
const END: &str = "end";

impl Running {
    fn start(quarantine: &Quarantine, source: &CommitId) -> Result<Running> {
        let flags = ["--stdin", "--name-only", "--messages"];
        let merges = merge_tree(quarantine, source).args(flags).deadline(SILENCE_MAX);
        Ok(Running {
            merges: GitStream::open(merges)?,
            attributes: None,
            source: source.clone(),
            same: HashMap::from([(source.clone(), true)]),
            owed: false,
        })
    }

    /// Finds out which of these have the same attributes, all at once.
    fn compare_attributes<'c>(
        &mut self,
        quarantine: &Quarantine,
        commits: impl Iterator<Item = &'c CommitId>,
    ) -> Result<()> {
        let fresh: BTreeSet<&CommitId> = commits.filter(|commit| !self.same.contains_key(commit)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let attributes = match &mut self.attributes {
            Some(attributes) => attributes,
            none => {
                let command = quarantine.command(DIFFERS).directory(quarantine.git_dir()).deadline(SILENCE_MAX);
                none.insert(GitStream::open(command)?)
            }
        };
        for commit in &fresh {
            // A commit and what is to count as its parent.
            attributes.ask(format!("{commit} {}\n{END}\n", self.source).as_bytes());
        }
        for commit in fresh {
            let mut same = true;
            while attributes.next_until(b'\n')? != END.as_bytes() {
                same = false;
            }
            self.same.insert(commit.clone(), same);
        }
        Ok(())
    }

    fn has_attributes_of(&self, commit: &CommitId) -> bool {
        self.same.get(commit) == Some(&true)
    }

    fn merge(&mut self, pairs: &[Pair<'_>]) -> Result<Vec<Outcome>> {
        let mut lines = String::new();
        for Pair { base, ours, theirs } in pairs {
            match base {
                Some(base) => lines.push_str(&format!("{base} -- {ours} {theirs}\n")),
                None => lines.push_str(&format!("{ours} {theirs}\n")),
            }
        }
        let source = &self.source;
        lines.push_str(&format!("{source} -- {source} {source}\n"));
        self.merges.ask(lines.as_bytes());
        if self.owed {
            self.answer()?;
        }
        self.owed = true;
        pairs.iter().map(|_| self.answer()).collect()
    }

    /// Reads whether it is clean, the tree and the files in conflict up to an empty field, the messages up to another.
    fn answer(&mut self) -> Result<Outcome> {
        let is_clean = self.merges.next_until(0)?;
        let mut told = Vec::new();
        let mut copy = |merges: &mut GitStream| -> Result<Vec<u8>> {
            let field = merges.next_until(0)?;
            told.extend_from_slice(&field);
            told.push(0);
            Ok(field)
        };
        while !copy(&mut self.merges)?.is_empty() {}
        loop {
            let count = copy(&mut self.merges)?;
            if count.is_empty() {
                break;
            }
            // So many paths, the kind of the message and its text.
            let paths = std::str::from_utf8(&count).ok().and_then(|count| count.parse::<usize>().ok());
            for _ in 0..paths.ok_or_else(|| unexpected("no count"))? + 2 {
                copy(&mut self.merges)?;
            }
        }
        let parsed = conflict_paths::parse(&told);
        let (tree, paths) = parsed.ok_or_else(|| unexpected(&String::from_utf8_lossy(&told)))?;
        match (&is_clean[..], CommitId::parse(&tree)) {
            (b"1", Ok(tree)) => Ok(Outcome { tree, conflicts: None }),
            (b"0", Ok(tree)) => Ok(Outcome { tree, conflicts: Some(paths) }),
            _ => Err(unexpected(&String::from_utf8_lossy(&is_clean)).into()),
        }
    }
}

fn unexpected(output: &str) -> GitError {
    GitError::Unexpected { command: "merge-tree --stdin".into(), output: output.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::merge::{Signature, commit_tree};

    fn branch(fixture: &Fixture, name: &str, files: &[(&str, &str)]) -> CommitId {
        fixture.git(&["branch", name, "main"]);
        fixture.commit_on(name, files)
    }

    /// Each pair by both ways; with and without the fork as the base.
    fn check(fixture: &Fixture, commits: &[&CommitId]) {
        let base = fixture.tip("refs/heads/main");
        let quarantine = Quarantine::create(&fixture.repo, &base).expect("a quarantine");
        let mut pairs = Vec::new();
        for ours in commits {
            for theirs in commits {
                pairs.push(Pair { base: None, ours, theirs });
                pairs.push(Pair { base: Some(&base), ours, theirs });
            }
        }
        // The tree of a conflict has the names of commits in it, and with an old git those of other commits.
        let alone =
            |pair: &Pair<'_>| outcome_of(&quarantine, pair.base, pair.ours, pair.theirs).expect("merged").into();
        let expected: Vec<Merged> = pairs.iter().map(alone).collect();
        let mut merger = Merger::open(&quarantine);
        let merged: Vec<Merged> = merger.merge_all(&pairs).expect("merged").into_iter().map(Merged::from).collect();
        assert_eq!(merged, expected);
        for (pair, expected) in pairs.iter().zip(&expected) {
            assert_eq!(&merger.merge(pair.base, pair.ours, pair.theirs).expect("merged"), expected, "{pair:?}");
        }
        quarantine.discard().expect("discarded");
    }

    #[test]
    fn what_one_git_answers_to_many_each_is_told_alone() {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.root.join("d")).expect("made");
        fixture.commit("d/one\nname", "one\n");
        let one = branch(&fixture, "one", &[("a", "ours\n"), ("d/one\nname", "ours\n")]);
        let other = branch(&fixture, "other", &[("a", "theirs\n"), ("d/one\nname", "theirs\n")]);
        let aside = branch(&fixture, "aside", &[("b", "b\n")]);
        fixture.git(&["branch", "file", "main"]);
        let spare = fixture.dir.path().join("spare");
        fixture.git(&["worktree", "add", "-q", &spare.to_string_lossy(), "file"]);
        fixture.run_in(&spare, &["rm", "-q", "-r", "d"]);
        let file = fixture.commit_in(&spare, "d", "a file now\n");
        check(&fixture, &[&one, &other, &aside, &file]);
    }

    #[test]
    fn the_attributes_of_our_side_count_whoever_was_ours_before() {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.root.join("d")).expect("made");
        fixture.commit("d/list", "one\n");
        let plain = branch(&fixture, "plain", &[("d/list", "plain\n")]);
        let other = branch(&fixture, "other", &[("d/list", "other\n"), ("a", "other\n")]);
        let union = branch(&fixture, "union", &[("d/list", "union\n"), ("d/.gitattributes", "list merge=union\n")]);
        let also = branch(&fixture, "also", &[("d/list", "also\n"), ("d/.gitattributes", "list merge=union\n")]);
        check(&fixture, &[&plain, &union, &other, &also]);
        let quarantine = Quarantine::create(&fixture.repo, &plain).expect("a quarantine");
        let mut merger = Merger::open(&quarantine);
        let mut is_clean = |ours, theirs| matches!(merger.merge(None, ours, theirs).expect("merged"), Merged::Clean(_));
        // git before 2.41 takes no attributes from a commit, and is held against itself above.
        if quarantine.git_version() >= TAKES_ATTRIBUTES {
            assert!(!is_clean(&plain, &union) && is_clean(&union, &plain) && is_clean(&also, &plain));
        }
        assert!(!is_clean(&other, &also));
        // Who says so is believed, even where it is not so.
        merger.know_same_attributes(&plain, &union);
        if quarantine.git_version() >= TAKES_ATTRIBUTES {
            assert!(matches!(merger.merge(None, &plain, &union), Ok(Merged::Clean(_))));
        }
        quarantine.discard().expect("discarded");
    }

    #[test]
    fn what_others_write_meanwhile_is_seen() {
        let fixture = Fixture::new();
        let main = fixture.tip("refs/heads/main");
        let one = branch(&fixture, "one", &[("one", "1\n")]);
        let two = branch(&fixture, "two", &[("two", "2\n")]);
        let quarantine = Quarantine::create(&fixture.repo, &main).expect("a quarantine");
        let mut merger = Merger::open(&quarantine);
        let mut tip = main.clone();
        let mut land = |tip: &CommitId, theirs: &CommitId| match merger.merge(Some(&main), tip, theirs) {
            Ok(Merged::Clean(tree)) => {
                commit_tree(&quarantine, &tree, &[tip], "m", &Signature::default()).expect("made")
            }
            other => panic!("{other:?}"),
        };
        for theirs in [&one, &two] {
            tip = land(&tip, theirs);
        }
        // Into the repository itself, as a pack, after git has looked for packs.
        let late = branch(&fixture, "late", &[("late", "3\n")]);
        fixture.git(&["repack", "-q", "-a", "-d"]);
        tip = land(&tip, &late);
        let names = quarantine.command(["ls-tree", "--name-only", tip.as_str()]).text().expect("listed");
        assert_eq!(names, ".gitignore\na\nlate\none\ntwo");
        quarantine.discard().expect("discarded");
    }

    #[test]
    fn after_one_that_cannot_be_merged_the_next_is() {
        let fixture = Fixture::new();
        let main = fixture.tip("refs/heads/main");
        let one = branch(&fixture, "one", &[("one", "1\n")]);
        fixture.git(&["checkout", "-q", "--orphan", "root"]);
        let root = fixture.commit("b", "another root\n");
        let quarantine = Quarantine::create(&fixture.repo, &main).expect("a quarantine");
        let mut merger = Merger::open(&quarantine);
        let pair = |theirs| Pair { base: None, ours: &main, theirs };
        let each = merger.merge_each(&[pair(&one), pair(&root), pair(&main)]);
        assert_eq!(each.iter().map(|merged| merged.is_ok()).collect::<Vec<_>>(), [true, false, true]);
        let error = merger.merge(None, &main, &root).expect_err("they have nothing in common").to_string();
        assert!(error.contains("unrelated histories"), "{error}");
        assert!(matches!(merger.merge(None, &main, &one), Ok(Merged::Clean(_))));
        assert!(matches!(merger.merge(Some(&main), &main, &root), Ok(Merged::Clean(_))));
        quarantine.discard().expect("discarded");
    }
}
