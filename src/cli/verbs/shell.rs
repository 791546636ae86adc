//! `shell-init` and `completions`: the scripts that a shell evaluates or installs.
//!
//! The same for everybody: nothing of this machine is in them, names are asked for when the key is pressed.

use serde_json::json;

use crate::cli::args::Shell;
use crate::cli::error::CliError;
use crate::cli::output::Output;

const WRAPPER: &str = include_str!("../shell/wrapper.sh");
const WRAPPER_FISH: &str = include_str!("../shell/wrapper.fish");
const COMPLETE_BASH: &str = include_str!("../shell/complete.bash");
const COMPLETE_ZSH: &str = include_str!("../shell/complete.zsh");
const COMPLETE_FISH: &str = include_str!("../shell/complete.fish");

/// Prints the function around `treehand` that can change the directory, and the completions.
pub fn init(shell: Shell, out: &Output) -> Result<u8, CliError> {
    let wrapper = if shell == Shell::Fish { WRAPPER_FISH } else { WRAPPER };
    let script = format!("{wrapper}\n{}", completion(shell));
    answer(shell, &script, "treehand/shell-init/v1", out)
}

/// Prints the completions alone.
pub fn completions(shell: Shell, out: &Output) -> Result<u8, CliError> {
    answer(shell, completion(shell), "treehand/completions/v1", out)
}

fn completion(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => COMPLETE_BASH,
        Shell::Zsh => COMPLETE_ZSH,
        Shell::Fish => COMPLETE_FISH,
    }
}

fn answer(shell: Shell, script: &str, schema: &str, out: &Output) -> Result<u8, CliError> {
    out.answer(schema, json!({"shell": shell.to_string(), "script": script}), || script.to_owned())?;
    Ok(0)
}
