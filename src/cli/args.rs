//! The arguments, as clap reads them. Meaning is given to them by the verbs.
//!
//! Global flags stand before or after the command, always before `--`; of a repeated scalar flag the last wins.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::agents_args::AgentsArgs;
use super::clean_args::CleanArgs;
use super::merge_args::MergeArgs;
use super::queue_args::QueueArgs;
use super::run_args::RunArgs;
use super::uninstall_args::UninstallArgs;
use crate::model::record::ConfineLevel;
use crate::model::{BranchName, Directory, Network, Span, StalePolicy, UpdateBy, Variable, VariableName};

/// Fresh git worktrees for every task, merged back under control.
#[derive(Parser, Debug)]
#[command(name = "treehand", version, args_override_self = true, propagate_version = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every command.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// Work as if started in DIR
    #[arg(short = 'C', value_name = "DIR", value_hint = ValueHint::DirPath, global = true)]
    pub directory: Option<PathBuf>,
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; repeat for more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Colours: auto, always or never
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto, global = true)]
    pub color: ColorChoice,
    /// Set one configuration value for this command
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Make a workspace: a clean worktree on a new branch at the tip of a base proved fresh
    #[command(alias = "add")]
    New(NewArgs),
    /// List workspaces and the workspaces of tasks
    ///
    /// Signs: @ where one stands, ^ the main worktree; + staged, ! modified, ? untracked, x in conflict; +N commits of its own,
    /// -N that it lacks of its base. No remote is asked.
    #[command(alias = "list")]
    Ls(LsArgs),
    /// Print where a workspace is
    Path(NameArg),
    /// Go to a workspace (needs `treehand shell-init`)
    Cd(CdArg),
    /// Run a command in a workspace, confined
    Exec(ExecArgs),
    /// Report how fresh workspaces and tasks are
    Fresh(FreshArgs),
    /// Print all that a workspace or a task changed since its base
    Diff(NameArg),
    /// Remove workspaces; what would be lost is saved first
    #[command(alias = "remove")]
    Rm(RmArgs),
    /// Run a task, or a file of tasks, each in a workspace of its own
    Run(Box<RunArgs>),
    /// List runs
    Ps,
    /// Show a run or a task
    Show(TargetArg),
    /// Print the log of a run or a task
    Logs(LogsArgs),
    /// Wait until runs are over
    Wait(WaitArgs),
    /// Stop a run, or one task of it
    Cancel(CancelArgs),
    /// Start and land nothing new of a run; what runs goes on
    Pause(RunArg),
    /// Go on with a run that was paused, or whose supervisor is dead
    Resume(AgainArgs),
    /// Answer the question with which a task is parked
    Answer(MessageArgs),
    /// Say something to a task at work
    Steer(MessageArgs),
    /// Do again what failed or was cancelled in a run, or one task of it
    Retry(AgainArgs),
    /// Land workspaces, or results of a run that wait for a person or did not land
    Merge(MergeArgs),
    /// What waits to land on a branch: list, hold back, put first, drop; pause a branch
    Queue(QueueArgs),
    /// Tell which open results would conflict, and in which files
    ///
    /// Open is what has not landed: workspaces as they are, uncommitted changes included, tasks at work, and results that wait or were
    /// rejected. Nothing is changed.
    Conflicts(ConflictsArgs),
    /// List what treehand did
    Log,
    /// Take back the last operation, or the one named
    Undo(UndoArgs),
    /// Make again what the last undo took back
    Redo,
    /// What was saved before removals: list, show, bring back, drop
    Salvage(SalvageArgs),
    /// Plan the removal of what is landed or left over; --yes applies it
    Clean(CleanArgs),
    /// Plan to take treehand out of the repository, or the account; --yes applies it
    Uninstall(UninstallArgs),
    /// List agents: what is installed, what each needs; `check` tries one out
    Agents(AgentsArgs),
    /// Offer tools over MCP (Model Context Protocol) on standard input and output
    ///
    /// For your own assistant: start and follow runs, see conflicts, land with your consent. With --task: for an agent at work on a task.
    Mcp(McpArgs),
    /// Say what this machine and repository can do; --repair mends what is damaged or half done
    Doctor(DoctorArgs),
    /// Show the configuration
    Config(ConfigArgs),
    /// Show the main job on a repository made for it, and clean up
    Demo(DemoArgs),
    /// Print what lets a shell `cd` to workspaces and complete names, for its start file
    ShellInit(ShellArg),
    /// Print the completions of a shell
    Completions(ShellArg),
    /// Say what fits where the cursor stands (asked by the completions)
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
    /// Write the manual, a page for each command (for packagers)
    #[command(name = "__man", hide = true)]
    Man {
        /// The directory.
        directory: PathBuf,
    },
    /// Make workspaces ready before anybody asks for them (started by who made one)
    #[command(name = "__slots", hide = true)]
    Slots {
        /// The shared git dir.
        common_dir: PathBuf,
    },
    /// Supervise a run (started by `run`)
    #[command(name = "__supervise", hide = true)]
    Supervise {
        /// The scope that was made for it
        #[arg(long, conflicts_with = "plain")]
        scope: Option<String>,
        /// Why none was made
        #[arg(long)]
        plain: Option<String>,
        /// The shared git dir.
        common_dir: PathBuf,
        /// The run.
        run: String,
    },
}

/// Arguments of `ls`.
#[derive(Args, Debug)]
pub struct LsArgs {
    /// Do not look at files: uncommitted changes and sizes are left out
    #[arg(long)]
    pub quick: bool,
    /// Show it again every 2 s, until interrupted
    #[arg(long, short)]
    pub watch: bool,
}

/// Arguments of `new`.
#[derive(Args, Debug, Default)]
pub struct NewArgs {
    /// Its name
    pub name: String,
    /// What it starts from: a branch, a remote branch, a tag or a commit
    #[arg(long, value_name = "REF")]
    pub base: Option<String>,
    /// Start from pull request N (GitHub, GitLab, Forgejo) of any remote
    #[arg(long, value_name = "N", conflicts_with = "base")]
    pub from_pr: Option<u32>,
    /// Its branch (default: its name)
    #[arg(long, value_parser = BranchName::parse)]
    pub branch: Option<BranchName>,
    /// Do not ask the remote
    #[arg(long)]
    pub offline: bool,
    /// What a base that is not fresh means: warn, block or update (bring it up to date first)
    #[arg(long)]
    pub stale: Option<StalePolicy>,
    /// Only the files in this directory and on the way to it, as in git's sparse checkouts; may be given several times
    #[arg(long, value_name = "DIR", value_parser = Directory::parse, value_hint = ValueHint::DirPath)]
    pub sparse: Vec<Directory>,
    /// Give it a private git dir that only its own commands enter
    #[arg(long)]
    pub sealed: bool,
    /// Run this command line in it
    #[arg(short = 'x', value_name = "CMD")]
    pub execute: Option<String>,
}

/// One name.
#[derive(Args, Debug)]
pub struct NameArg {
    /// A workspace (a unique prefix is enough, `@` is where one stands), or RUN/TASK
    pub name: String,
}

/// Where to go.
#[derive(Args, Debug)]
pub struct CdArg {
    /// A workspace, RUN/TASK, `@` for the root of this one, `^` for the main worktree, `-` for where one came from
    #[arg(allow_hyphen_values = true)]
    pub name: String,
}

/// One shell.
#[derive(Args, Debug)]
pub struct ShellArg {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Friendly interactive shell.
    Fish,
}

impl std::fmt::Display for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        })
    }
}

/// Arguments of `__complete`.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    /// Who asks
    #[arg(value_enum)]
    pub shell: Shell,
    /// bash: the part that it replaces, and the line up to the cursor; others: the word at the cursor, and those before it
    #[arg(last = true)]
    pub words: Vec<std::ffi::OsString>,
}

/// A run or one of its tasks.
#[derive(Args, Debug)]
pub struct TargetArg {
    /// RUN or RUN/TASK (a unique prefix of each is enough)
    pub target: String,
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How far its scripts are confined: strict, landlock, external or off
    #[arg(long, default_value = "strict")]
    pub confine: ConfineLevel,
}

/// Arguments of `exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// The workspace
    pub name: String,
    /// What of the network it may reach, as far as it is confined: none, full or HOST:PORT,…
    #[arg(long, value_name = "NET")]
    pub net: Option<Network>,
    /// Give it a variable, as it is set here or with this value; repeat for more
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<Variable>,
    /// Give it a variable that is kept out of logs; repeat for more
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<VariableName>,
    /// How far it is confined: strict, landlock, external or off
    #[arg(long)]
    pub confine: Option<ConfineLevel>,
    /// Print what would be started, and how
    #[arg(long)]
    pub dry_run: bool,
    /// The command
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Arguments of `fresh`.
#[derive(Args, Debug)]
pub struct FreshArgs {
    /// Workspaces (default: all), or tasks as RUN/TASK
    pub names: Vec<String>,
    /// Do not ask the remote
    #[arg(long)]
    pub offline: bool,
    /// Exit 6 when any is not known to be fresh: stale, diverged or unknown
    #[arg(long)]
    pub check: bool,
    /// Bring the bases in: rebase or merge; a workspace with a conflict stays as it was
    #[arg(long, value_name = "HOW")]
    pub update: Option<UpdateBy>,
}

/// Arguments of `rm`.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Workspaces
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Although it has uncommitted changes (they are saved)
    #[arg(short, long)]
    pub force: bool,
    /// Delete its branch although it is not merged (it is saved)
    #[arg(short = 'D', long)]
    pub force_delete: bool,
}

/// Arguments of `mcp`.
#[derive(Args, Debug)]
pub struct McpArgs {
    /// Offer an agent the tools of the task that it works on
    #[arg(long)]
    pub task: bool,
    /// The socket that its calls are handed to
    #[arg(long, value_name = "PATH", requires = "task", hide = true, value_hint = ValueHint::FilePath)]
    pub endpoint: Option<PathBuf>,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Mend a damaged store, and complete what died half-way
    #[arg(long)]
    pub repair: bool,
}

/// Arguments of `logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// RUN or RUN/TASK
    pub target: String,
    /// Go on until the run is over
    #[arg(short, long)]
    pub follow: bool,
    /// What agents wrote, as they wrote it, and not what it says
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// RUN or RUN/TASK (a unique prefix of each is enough)
    pub target: String,
    /// Why: written down with a task that is stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `answer` and `steer`.
#[derive(Args, Debug)]
pub struct MessageArgs {
    /// RUN/TASK (a unique prefix of each is enough)
    pub target: String,
    /// What to say; `-` reads it from standard input
    pub text: String,
}

/// A run.
#[derive(Args, Debug)]
pub struct RunArg {
    /// RUN (a unique prefix is enough)
    pub target: String,
}

/// Arguments of `resume` and `retry`.
#[derive(Args, Debug)]
pub struct AgainArgs {
    /// RUN, or with `retry` RUN/TASK (a unique prefix of each is enough)
    pub target: String,
    /// Return at once, the run goes on
    #[arg(long)]
    pub detach: bool,
}

/// Arguments of `conflicts`.
#[derive(Args, Debug)]
pub struct ConflictsArgs {
    /// What is meant for this branch (default: the branch that the workspace one stands in is meant for, else the current one)
    #[arg(long, value_name = "BRANCH")]
    pub into: Option<String>,
}

/// Arguments of `wait`.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// The runs
    #[arg(required = true)]
    pub runs: Vec<String>,
    /// Until the first is over
    #[arg(long)]
    pub any: bool,
    /// At most this long (exit 124)
    #[arg(long, value_name = "D")]
    pub timeout: Option<Span>,
}

/// Arguments of `undo`.
#[derive(Args, Debug)]
pub struct UndoArgs {
    /// The operation (see `treehand log`)
    pub operation: Option<i64>,
    /// By a new commit on its branch, for what others have built upon
    #[arg(long)]
    pub revert: bool,
}

/// Arguments of `salvage`.
#[derive(Args, Debug)]
pub struct SalvageArgs {
    /// What to do with it
    #[command(subcommand)]
    pub action: SalvageAction,
}

/// What to do with what was saved.
#[derive(Subcommand, Debug)]
pub enum SalvageAction {
    /// List what is saved, newest first: where from, how much, and when `clean` takes it
    #[command(alias = "list")]
    Ls,
    /// Print what is in it, against the newest commit that a branch holds
    Show(SavedArg),
    /// Make a new branch that holds all of it
    Restore(SalvageRestoreArgs),
    /// Let it go for good
    Drop(SalvageDropArgs),
}

/// One saved thing.
#[derive(Args, Debug)]
pub struct SavedArg {
    /// Its name, a unique prefix of it, the workspace or RUN/TASK it is from, or a ref
    #[arg(value_name = "NAME")]
    pub saved: String,
}

/// Arguments of `salvage restore`.
#[derive(Args, Debug)]
pub struct SalvageRestoreArgs {
    /// Its name, a unique prefix of it, the workspace or RUN/TASK it is from, or a ref
    #[arg(value_name = "NAME")]
    pub saved: String,
    /// The new branch (default: salvaged/NAME)
    #[arg(long, value_parser = BranchName::parse)]
    pub branch: Option<BranchName>,
    /// Make a workspace W that starts from it
    #[arg(long, value_name = "W")]
    pub workspace: Option<String>,
}

/// Arguments of `salvage drop`.
#[derive(Args, Debug)]
pub struct SalvageDropArgs {
    /// Their names, as for `show`
    #[arg(required = true, value_name = "NAME")]
    pub saved: Vec<String>,
    /// Although nothing brings it back
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do with it
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub enum ConfigAction {
    /// Print each value with its origin
    Show,
}

pub(super) fn deadline(text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        Ok(span) if span.0.is_zero() => Err("it must be more than zero; leave it out to set no deadline".into()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}
