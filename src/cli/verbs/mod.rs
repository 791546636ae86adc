//! One file per verb: resolve, refuse early, act, report.
//!
//! A verb answers with its exit code or with an error that has one.

mod agents;
mod agents_check;
mod answer;
mod cancel;
mod clean;
mod clean_all;
mod clean_recorded;
mod clean_report;
mod clean_schedule;
mod complete;
mod config;
mod conflicts;
mod demo;
mod diff;
mod dispatch;
mod doctor;
mod exec;
mod fresh;
mod log;
mod logs;
mod logs_document;
mod ls;
mod man;
mod mcp;
mod merge;
mod merge_offers;
mod merge_preview;
mod merge_results;
mod new;
mod path;
mod pause;
mod ps;
mod queue;
mod redo;
mod resume;
mod retry;
mod rm;
mod run;
mod salvage;
mod shell;
mod show;
mod slots;
mod supervise;
mod undo;
mod undo_landing;
mod uninstall;
mod uninstall_all;
mod wait;

pub use dispatch::run;
