//! The arguments of `run`: what is to be done, by whom, and how its results land.
//! What they mean together is decided by the verb and by `tasks_source`.

use std::path::PathBuf;

use clap::Args;

use super::args::deadline;
use crate::model::agent::AgentChoice;
use crate::model::record::ConfineLevel;
use crate::model::{BranchName, MergePolicy, Network, Span, StalePolicy, Strategy, Variable, VariableName};

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// What an agent is to do
    #[arg(conflicts_with_all = ["tasks", "command"])]
    pub goal: Option<String>,
    /// The agent that does it, or several with commas between, in the order in which they are tried: NAME or NAME:MODEL
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub agent: Vec<AgentChoice>,
    /// The model, where one agent is named
    #[arg(long, value_name = "MODEL", requires = "agent")]
    pub model: Option<String>,
    /// How hard an agent is to think, in its own word
    #[arg(long, value_name = "EFFORT")]
    pub effort: Option<String>,
    /// A file of tasks, TOML or JSON; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub tasks: Option<PathBuf>,
    /// The id of the one task
    #[arg(long, conflicts_with = "tasks")]
    pub name: Option<String>,
    /// What tasks start from
    #[arg(long, value_name = "REF")]
    pub base: Option<String>,
    /// Do not ask the remote
    #[arg(long)]
    pub offline: bool,
    /// What a base that is not fresh means, at first and for results: warn, block or update (bring up to date)
    #[arg(long)]
    pub stale: Option<StalePolicy>,
    /// The branch that results land on
    #[arg(long, value_name = "BRANCH", value_parser = BranchName::parse)]
    pub into: Option<BranchName>,
    /// How many tasks at once (default: number of cores)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub jobs: Option<u32>,
    /// Land results by themselves (auto) or leave that to a person (manual)
    #[arg(long)]
    pub merge: Option<MergePolicy>,
    /// How results become commits: squash, merge, rebase or ff
    #[arg(long)]
    pub strategy: Option<Strategy>,
    /// A command that must pass on the merged tree before it lands; repeat for more
    #[arg(long = "gate", value_name = "CMD")]
    pub gates: Vec<String>,
    /// Land results on the branch's counterpart on its remote, too
    #[arg(long)]
    pub push: bool,
    /// Deadline of each attempt
    #[arg(long, value_name = "D", value_parser = deadline)]
    pub timeout: Option<Span>,
    /// What of the network tasks may reach, as far as they are confined: none, full or HOST:PORT,…
    #[arg(long, value_name = "NET")]
    pub net: Option<Network>,
    /// Give every task a variable, as it is set here or with this value; repeat for more
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<Variable>,
    /// Give every task a variable that is kept out of logs; repeat for more
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<VariableName>,
    /// How far commands are confined: strict, landlock, external or off
    #[arg(long)]
    pub confine: Option<ConfineLevel>,
    /// Print the run and return at once
    #[arg(long)]
    pub detach: bool,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print every event as a line of JSON
    #[arg(long, conflicts_with_all = ["json", "detach"])]
    pub events: bool,
    /// The command of the one task
    #[arg(last = true)]
    pub command: Vec<String>,
}
