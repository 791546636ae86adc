//! The arguments of `uninstall`.
//!
//! As clap reads them; meaning is given to them by the verb.

use clap::Args;

/// Arguments of `uninstall`.
#[derive(Args, Debug)]
pub struct UninstallArgs {
    /// Only print what would go and what would stay (what it does without --yes, too)
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it
    #[arg(long, short)]
    pub yes: bool,
    /// In every repository of yours that treehand was used in, and what treehand keeps for you beside them
    #[arg(long)]
    pub account: bool,
    /// Let go for good what was saved and what undo would bring back, although its time is not over
    #[arg(long)]
    pub discard: bool,
}
