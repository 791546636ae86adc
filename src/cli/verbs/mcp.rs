//! `mcp`: tools over MCP on standard input and output, for an agent at work on a task (`--task`) or for a person's own assistant.
//!
//! With `--task` nothing is opened but the socket of the attempt: neither a repository nor a configuration, for it runs in the task's sandbox.

use std::path::PathBuf;

use crate::cli::args::{Global, McpArgs};
use crate::cli::error::CliError;
use crate::cli::mcp::endpoint::{Endpoint, Patience};
use crate::cli::mcp::person::Person;
use crate::cli::mcp::server::serve;
use crate::cli::mcp::task::Task;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::sys::env;

/// The variable that names the socket.
const ENDPOINT: &str = "TREEHAND_ENDPOINT";

/// Serves until nobody asks any more.
pub fn run(global: &Global, args: &McpArgs, out: &Output) -> Result<u8, CliError> {
    let served = if args.task {
        let path = endpoint(args)?;
        serve(|| Task { endpoint: Endpoint::at(path, Patience::default()) })
    } else {
        // What is wrong with the repository or the configuration is said now, not with each call.
        let session = Session::open(global, out)?;
        let directory = crate::cli::session::directory(&session.global)?;
        let flags = global.set.iter().map(|set| format!("--set={set}").into()).collect();
        serve(|| Person { directory, flags })
    };
    served.map_err(|error| CliError::unserved(error.to_string()))
}

/// The socket: by the flag, the variable, or where it is in the home of a task.
fn endpoint(args: &McpArgs) -> Result<PathBuf, CliError> {
    let named = args.endpoint.clone().or_else(|| env::var_os(ENDPOINT).map(PathBuf::from));
    let path = named.or_else(|| env::home().map(|home| home.join(".treehand/endpoint"))).ok_or_else(|| {
        CliError::not_found("no endpoint of an attempt is known").hint(format!("name its socket in {ENDPOINT}"))
    })?;
    let here = env::current_dir().map_err(|error| CliError::io("cannot tell the current directory", &error))?;
    Ok(here.join(path))
}
