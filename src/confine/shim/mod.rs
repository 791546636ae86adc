//! The shim: one small process per attempt that holds a child's sandbox, its pipes and its log.
//!
//! `launch` starts it; it starts the child, keeps its limits, and writes down how it ended. When whoever supervises it is
//! gone, it waits for a successor where its policy says so, and ends the child; when it is gone itself, the kernel ends the
//! sandbox. Decides nothing about runs.

mod agent;
mod child;
mod companions;
mod door;
mod endpoint;
mod entry;
mod foreground;
mod keeper;
mod line;
mod output;
mod places;
mod pulse;
mod serve;
mod silence;
mod wire;

pub use entry::main;
pub use wire::{
    ExitRecord, Greeting, Order, Question, Refusal, Report, Stopped, read_frame, receive_frame, send_frame, write_frame,
};
