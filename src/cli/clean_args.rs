//! The arguments of `clean`, and of what it has beside cleaning: its reports and its schedule.
//!
//! As clap reads them; meaning is given to them by the verbs.

use clap::{Args, Subcommand, ValueEnum};

use crate::cleanup::schedule::when::{Every, TimeOfDay};
use crate::model::{ByteSize, Span};

/// Arguments of `clean`.
#[derive(Args, Debug)]
pub struct CleanArgs {
    /// What else there is to it
    #[command(subcommand)]
    pub action: Option<CleanAction>,
    /// Apply the plan
    #[arg(long, short)]
    pub yes: bool,
    /// Which branches: those of workspaces and runs, or every one
    #[arg(long, value_enum, default_value_t = Branches::Ours)]
    pub branches: Branches,
    /// On remotes, too: branches whose work is in a branch there and has been for `--min-age`, as far as no pull request is open
    #[arg(long)]
    pub remote: bool,
    /// In every repository of yours that treehand was used in
    #[arg(long)]
    pub all_repos: bool,
    /// Leave what is younger than this
    #[arg(long, value_name = "D")]
    pub min_age: Option<Span>,
    /// At most SIZE of disk for what was removed and for logs: the oldest go although their time is not over
    #[arg(long, value_name = "SIZE")]
    pub disk_budget: Option<ByteSize>,
    /// Only these kinds: workspaces,entries,branches,processes,temp,trash,locks,state
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Run CMD with `sh -c` when it is over, with the report on its standard input (default: clean.notify)
    #[arg(long, value_name = "CMD", requires = "yes")]
    pub notify: Option<String>,
    /// Its caller reports on it (`--all-repos` says so to those that it starts)
    #[arg(long, hide = true)]
    pub unreported: bool,
}

/// Which branches `clean` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Branches {
    /// Those of workspaces and runs.
    Ours,
    /// Every one.
    All,
}

/// What else there is to `clean`.
#[derive(Subcommand, Debug)]
pub enum CleanAction {
    /// Show the last cleanups: what each freed, what failed, and why things stayed
    Report(ReportArgs),
    /// Clean every repository by itself, at night
    Schedule(ScheduleArgs),
}

/// Arguments of `clean report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Arguments of `clean schedule`.
#[derive(Args, Debug)]
pub struct ScheduleArgs {
    /// What to do with it
    #[command(subcommand)]
    pub action: ScheduleAction,
}

/// What to do with the schedule.
#[derive(Subcommand, Debug)]
pub enum ScheduleAction {
    /// Clean every repository each night, by a timer of your systemd manager
    Install(InstallArgs),
    /// Show when it begins, how it came out last, and what is wrong with it
    Show,
    /// Take the timer away
    Remove,
}

/// Arguments of `clean schedule install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Each day at this time (default: 03:30)
    #[arg(long, value_name = "HH:MM", conflicts_with = "every")]
    pub at: Option<TimeOfDay>,
    /// Again after D: minutes that divide an hour, hours that divide a day, or 1d to 15d
    #[arg(long, value_name = "D")]
    pub every: Option<Every>,
    /// Run CMD with `sh -c` after each cleanup, with the report on its standard input
    #[arg(long, value_name = "CMD")]
    pub notify: Option<String>,
    /// Leave what is younger than this
    #[arg(long, value_name = "D")]
    pub min_age: Option<Span>,
    /// Which branches: those of workspaces and runs, or every one
    #[arg(long, value_enum, default_value_t = Branches::Ours)]
    pub branches: Branches,
    /// Branches on remotes, too
    #[arg(long)]
    pub remote: bool,
}
