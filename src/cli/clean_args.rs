//! The arguments of what `clean` has beside cleaning: its reports and its schedule.
//!
//! As clap reads them; meaning is given to them by the verbs.

use clap::{Args, Subcommand};

/// What else there is to `clean`.
#[derive(Subcommand, Debug)]
pub enum CleanAction {
    /// Show the last cleanups: what each freed, what failed, and why things stayed
    Report(ReportArgs),
}

/// Arguments of `clean report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}
