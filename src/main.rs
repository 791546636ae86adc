//! The `treehand` program: everything is in the library; this only hands over the arguments and the exit code.
//!
//! It never exits in any other way than by returning.

use std::process::ExitCode;

fn main() -> ExitCode {
    treehand::cli::main()
}
