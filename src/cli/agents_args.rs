//! The arguments of `agents`. Without a word after it, it lists.
//! Meaning is given to them by the verbs.

use clap::{Args, Subcommand};

use crate::model::agent::AgentChoice;

/// Arguments of `agents`.
#[derive(Args, Debug)]
pub struct AgentsArgs {
    /// What to do beside listing them
    #[command(subcommand)]
    pub action: Option<AgentsAction>,
}

/// What to do with agents.
#[derive(Subcommand, Debug)]
pub enum AgentsAction {
    /// Try an agent out: a run in this repository that changes nothing, at the configured level of confinement
    ///
    /// The agent is asked for a word, in at most two minutes; its service may charge for that. Its run is on record like any other,
    /// and nothing else of it is left.
    Check(AgentsCheckArgs),
}

/// Arguments of `agents check`.
#[derive(Args, Debug)]
pub struct AgentsCheckArgs {
    /// The agent: NAME, or NAME:MODEL
    pub name: AgentChoice,
    /// The model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}
