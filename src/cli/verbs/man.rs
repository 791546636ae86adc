//! `__man`: writes the manual, one page for each command, for whoever packages or installs treehand.
//!
//! The pages say what `--help` says, since both come from the same arguments. Existing pages are replaced.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::cli::args::Cli;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::model::cause::chain;
use crate::sys::fs;

/// Writes the pages into a directory.
pub fn run(directory: &Path, out: &Output) -> Result<u8, CliError> {
    let wrong = |error: fs::FsError| CliError::io(&chain(&error), &error.source);
    fs::create_dir_all(directory).map_err(wrong)?;
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut written = Vec::new();
    for (name, text) in pages(&root, root.get_version().unwrap_or_default())? {
        let path = directory.join(name);
        fs::write_atomic(&path, &text).map_err(wrong)?;
        written.push(path);
    }
    let lines = || written.iter().map(|path: &PathBuf| format!("{}\n", path.display())).collect();
    out.answer("treehand/man/v1", json!({"pages": written}), lines)?;
    Ok(0)
}

/// File name and text of the page of a command, and of those of its subcommands.
fn pages(command: &Command, version: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let page = Man::new(command.clone()).source(format!("treehand {version}")).manual("treehand");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut all = vec![(page.get_filename(), in_ascii(&text))];
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        all.extend(pages(inner, version)?);
    }
    Ok(all)
}

/// Other characters by their numbers: roff reads bytes, and takes what is not ASCII for something else.
fn in_ascii(text: &[u8]) -> Vec<u8> {
    let one = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    String::from_utf8_lossy(text).chars().map(one).collect::<String>().into_bytes()
}
