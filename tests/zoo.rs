//! The zoo: every kind of thing that `clean` may meet, built for real, each with the verdict that it has to get.
//!
//! A *pen* is one repository with specimens that can live together. What is asserted of each is in `zoo/pen.rs`: the plan says
//! all of this and nothing else, what is done is what was planned, nothing else changes by a bit, `undo` brings everything back.

#![expect(clippy::disallowed_methods, reason = "specimens are made with the programs that people use")]

mod support;

#[path = "zoo/branches.rs"]
mod branches;
#[path = "zoo/deeds.rs"]
mod deeds;
#[path = "zoo/digest.rs"]
mod digest;
#[path = "zoo/disks.rs"]
mod disks;
#[path = "zoo/foreign.rs"]
mod foreign;
#[path = "zoo/fuzz.rs"]
mod fuzz;
#[path = "zoo/inventory.rs"]
mod inventory;
#[path = "zoo/kills.rs"]
mod kills;
#[path = "zoo/landed.rs"]
mod landed;
#[path = "zoo/leftovers.rs"]
mod leftovers;
#[path = "zoo/pen.rs"]
mod pen;
#[path = "zoo/places.rs"]
mod places;
#[path = "zoo/processes.rs"]
mod processes;
#[path = "zoo/registry.rs"]
mod registry;
#[path = "zoo/runs.rs"]
mod runs;
#[path = "zoo/states.rs"]
mod states;
#[path = "zoo/stubborn.rs"]
mod stubborn;
