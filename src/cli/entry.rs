//! From the arguments of the process to its exit code: parse, run the verb, report what went wrong.
//!
//! Errors of usage are reported in JSON too when `--json` was among the arguments.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use super::args::Cli;
use super::error::CliError;
use super::output::{Output, print};
use super::{trace, verbs};
use crate::confine::{launch, selftest, shim};
use crate::sys::git;
use crate::worktree::apart;

/// Runs the program.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = own_process(&args) {
        return ExitCode::from(code);
    }
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let code = match Cli::try_parse_from(&args) {
        Ok(cli) => run(cli),
        Err(error) => usage(&error, json),
    };
    ExitCode::from(code)
}

/// What treehand starts itself as, before anything else of it is set up.
fn own_process(args: &[OsString]) -> Option<u8> {
    match args.get(1)?.to_str()? {
        launch::SHIM => Some(shim::main(&args[2..])),
        apart::SERVER => Some(u8::from(git::serve(std::io::stdin().lock(), std::io::stdout().lock()).is_err())),
        selftest::TESTER => Some(selftest::escape(args.get(2)?.to_str()?)),
        _ => None,
    }
}

fn usage(error: &clap::Error, json: bool) -> u8 {
    use clap::error::ErrorKind;
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let code = if help { 0 } else { 2 };
    if json && !help {
        let rendered = error.to_string();
        let paragraph = rendered.lines().map(str::trim).take_while(|line| !line.is_empty());
        let message = paragraph.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let error = CliError::usage(message).hint("see `treehand --help`");
        return finish(print(&format!("{}\n", error.document())), code);
    }
    finish(error.print(), code)
}

fn finish(printed: std::io::Result<()>, code: u8) -> u8 {
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => 1,
        _ => code,
    }
}

fn run(cli: Cli) -> u8 {
    let out = Output::new(&cli.global);
    trace::start(&out, cli.global.verbose);
    match verbs::run(cli, &out) {
        Ok(code) => code,
        Err(error) => report(&error, &out),
    }
}

fn report(error: &CliError, out: &Output) -> u8 {
    if out.is_json() {
        return finish(print(&format!("{}\n", error.document())), error.code);
    }
    out.error(&error.message, error.hint.as_deref());
    error.code
}
