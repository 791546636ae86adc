//! Stories: what users live through with the real binary, each in a world of its own, without sleeps.
//!
//! One program for all of them: it is linked once, and whoever waits does not hold up the others. A file is a room or a feature.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod agents;
mod agents_hostile;
mod agents_verb;
mod assistant;
mod bases;
mod branches;
mod clean_all;
mod cleanup;
mod conflicts;
mod copy;
mod departed;
mod forced;
mod fresh;
mod health;
mod hooks;
mod import;
mod inside;
mod life;
mod locks;
mod mail;
mod man;
mod mcp;
mod merge;
mod moved;
mod night;
mod offer;
mod orphans;
mod outputs;
mod overlap;
mod ports;
mod push;
mod queue;
mod readme;
mod remote_branches;
mod resolve;
mod retry;
mod run;
mod salvage;
mod schedule;
mod scope;
mod sealed;
mod secrets;
mod sensitive;
mod setup;
mod shell;
mod slots;
mod sparse;
mod stacked;
mod stale;
mod submodules;
mod supervision;
mod together;
mod undo;
mod uninstall;
mod workspaces;
