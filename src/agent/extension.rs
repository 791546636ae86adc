//! The tools of a task for an agent that has no MCP: an extension that speaks to the attempt's endpoint itself.
//!
//! Holds its text; `cli::mcp::task` has the same tools, and a test there holds the two together.

/// An extension of pi (`pi -e FILE`): finds the socket in `TREEHAND_ENDPOINT`, else at `$HOME/.treehand/endpoint`.
pub const PI_EXTENSION: &str = include_str!("pi.ts");
