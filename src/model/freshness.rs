//! What is known about a base against its remote, and what the user wants done about it.
//! The words are those of the contract; how they are come by is decided in `worktree::freshness`.

use serde::{Deserialize, Serialize};

use super::{CommitId, Timestamp};

/// How a commit stands to the newest known tip of its base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Lacks nothing.
    Fresh,
    /// Lacks commits, has none of its own.
    Stale,
    /// Lacks commits and has some of its own.
    Diverged,
    /// Could not be found out.
    Unknown,
}

impl Freshness {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Diverged => "diverged",
            Self::Unknown => "unknown",
        }
    }
}

/// How the newest tip became known, strongest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The remote named its tip in this very command, or has no such branch: then there is no tip, and nothing is fresh.
    LsRemote,
    /// A fetch in this command brought it, but the remote's list could not be read.
    Fetch,
    /// There is no remote for it: the local ref is the truth.
    Local,
    /// The remote was not asked or did not answer.
    None,
}

/// What to do when a base is stale, diverged, or its freshness cannot be proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// Say so and go on.
    #[default]
    Warn,
    /// Refuse (exit 6).
    Block,
    /// Bring it up to date first: what is only here and what is only on the remote are merged.
    Update,
}

impl StalePolicy {
    /// The one that accepts less: for tasks that start from one base, and each with a say in it.
    pub fn stricter(self, other: Self) -> Self {
        let strictness = |policy| match policy {
            Self::Warn => 0,
            Self::Update => 1,
            Self::Block => 2,
        };
        if strictness(other) > strictness(self) { other } else { self }
    }
}

super::text_enum!(StalePolicy { Warn = "warn", Block = "block", Update = "update" });

/// How a workspace is brought up to its base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateBy {
    /// Its commits are put on the base's tip, one by one.
    Rebase,
    /// The base's tip is merged into it.
    Merge,
}

super::text_enum!(UpdateBy { Rebase = "rebase", Merge = "merge" });

/// The base of a workspace or a run and its freshness, as `--json` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BaseReport {
    /// The ref as resolved: `main`, `origin/main`, a tag or a commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit that was taken.
    pub commit: CommitId,
    /// Its standing.
    pub freshness: Freshness,
    /// Commits that it has and the newest tip lacks.
    pub ahead: usize,
    /// Commits that the newest tip has and it lacks.
    pub behind: usize,
    /// Subjects of the missing commits, newest first, at most [`MISSING_MAX`].
    pub missing: Vec<String>,
    /// The tip that the remote named, if it did.
    pub remote_commit: Option<CommitId>,
    /// When the remote was last asked.
    pub fetched_at: Option<Timestamp>,
    /// How it is known.
    pub proof: Proof,
    /// Where the base is the branch of another workspace: the bases below it, nearest first.
    #[serde(default)]
    pub stack: Vec<String>,
}

impl BaseReport {
    /// The base and what is below it, nearest first.
    pub fn references(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.reference).chain(&self.stack)
    }

    /// The report of a commit that nothing can be newer than: it lacks nothing, by what is known here.
    pub fn fixed(reference: &str, commit: CommitId) -> BaseReport {
        BaseReport {
            reference: reference.to_owned(),
            commit,
            freshness: Freshness::Fresh,
            ahead: 0,
            behind: 0,
            missing: Vec::new(),
            remote_commit: None,
            fetched_at: None,
            proof: Proof::Local,
            stack: Vec::new(),
        }
    }
}

/// Most subjects listed in [`BaseReport::missing`].
pub const MISSING_MAX: usize = 50;

/// How the base of a task stands to the newest known tip of the branch that its result is to land on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskFreshness {
    /// Its standing.
    pub state: Freshness,
    /// Subjects of the commits that came there since the run began and that it lacks, newest first, at most [`MISSING_MAX`].
    pub missing: Vec<String>,
    /// Files that it and those commits have changed; `None` where that was not looked for.
    pub touches: Option<Vec<String>>,
}
