//! The arguments of `merge`. Meaning is given to them by the verb.
//! What a flag does not say the run of a result says, or the configuration.

use clap::Args;

use crate::model::record::ConfineLevel;
use crate::model::{BranchName, Strategy};

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// Workspaces or branches (`@` for the workspace that one stands in); or RUN for all its results that can land, or RUN/TASK
    #[arg(required = true, value_name = "NAME|RUN[/TASK]")]
    pub targets: Vec<String>,
    /// The branch to land on (default: what it is based on; of a run what that says)
    #[arg(long, value_name = "BRANCH", value_parser = BranchName::parse)]
    pub into: Option<BranchName>,
    /// How it becomes commits: squash, merge, rebase or ff
    #[arg(long)]
    pub strategy: Option<Strategy>,
    /// A command that must pass on the merged tree before it lands; repeat for more
    #[arg(long = "gate", value_name = "CMD")]
    pub gates: Vec<String>,
    /// How far gates are confined: strict, landlock, external or off
    #[arg(long)]
    pub confine: Option<ConfineLevel>,
    /// Land on the branch's counterpart on its remote, too
    #[arg(long)]
    pub push: bool,
    /// Print what would land, and what conflicts
    #[arg(long)]
    pub dry_run: bool,
}
