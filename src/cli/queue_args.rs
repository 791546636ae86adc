//! The arguments of `queue`. Meaning is given to them by the verb.
//! Each of its words is a command of its own.

use clap::{Args, Subcommand};

use crate::model::BranchName;

/// Arguments of `queue`.
#[derive(Args, Debug)]
pub struct QueueArgs {
    /// What to do with it
    #[command(subcommand)]
    pub action: QueueAction,
}

/// What to do with a queue.
#[derive(Subcommand, Debug)]
pub enum QueueAction {
    /// List what waits to land, in the order in which it does, and why something does not
    #[command(alias = "list")]
    Ls(QueueLsArgs),
    /// Show one entry
    Show(EntryArg),
    /// Hold entries back until they are resumed
    Hold(EntriesArgs),
    /// Take entries out of the queue; their branches stay
    Drop(EntriesArgs),
    /// Put entries before everything else
    Bump(BumpArgs),
    /// Let nothing land on a branch until it is resumed
    Pause(QueuePauseArgs),
    /// Let things land on a branch again, or entries that are held back
    Resume(QueueResumeArgs),
}

/// Arguments of `queue ls`.
#[derive(Args, Debug)]
pub struct QueueLsArgs {
    /// Only what is to land on this branch
    #[arg(long, value_name = "BRANCH", value_parser = BranchName::parse)]
    pub into: Option<BranchName>,
}

/// One entry.
#[derive(Args, Debug)]
pub struct EntryArg {
    /// Its number, or RUN/TASK (a unique prefix of each is enough)
    #[arg(value_name = "ENTRY")]
    pub entry: String,
}

/// Entries, and why.
#[derive(Args, Debug)]
pub struct EntriesArgs {
    /// Their numbers, or RUN/TASK, or RUN for all of a run
    #[arg(required = true, value_name = "ENTRY")]
    pub entries: Vec<String>,
    /// Why: written down with them
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `queue bump`.
#[derive(Args, Debug)]
pub struct BumpArgs {
    /// Their numbers, or RUN/TASK, or RUN for all of a run
    #[arg(required = true, value_name = "ENTRY")]
    pub entries: Vec<String>,
}

/// Arguments of `queue pause`.
#[derive(Args, Debug)]
pub struct QueuePauseArgs {
    /// Why: told to all who wait
    pub reason: Option<String>,
    /// The branch (default: the one that one stands on)
    #[arg(long, value_name = "BRANCH", value_parser = BranchName::parse)]
    pub into: Option<BranchName>,
}

/// Arguments of `queue resume`.
#[derive(Args, Debug)]
pub struct QueueResumeArgs {
    /// Entries that are held back: their numbers, RUN/TASK or RUN; without any, the branch
    #[arg(value_name = "ENTRY")]
    pub entries: Vec<String>,
    /// The branch (default: the one that one stands on)
    #[arg(long, value_name = "BRANCH", value_parser = BranchName::parse, conflicts_with = "entries")]
    pub into: Option<BranchName>,
}
