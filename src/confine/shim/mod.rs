//! The shim: one small process per attempt that holds a child's sandbox, its pipes and its log.
//!
//! `launch` starts it; it starts the child, keeps its limits, and writes down how it ended. When whoever supervises it is
//! gone, it ends the child; when it is gone itself, the kernel ends the sandbox. Decides nothing about runs.

mod child;
mod entry;
mod foreground;
mod output;
mod serve;
mod wire;

pub use entry::main;
pub use wire::{ExitRecord, Order, Refusal, Report, Stopped, read_frame, write_frame};
