//! What the rooms have to say while they work, on standard error: warnings as the verbs themselves give them, and with `-v`
//! what goes on.
//!
//! Nothing in a line can steer a terminal: much of it is from programs and names of others.

use std::fmt;
use std::io::Write;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::output::{Output, Paint, plain};

/// Sends it there, as much as `-v` asks for (0 to 3), or as the filter in `TREEHAND_TRACE` does.
pub fn start(out: &Output, verbose: u8) {
    let level = match verbose {
        0 if out.is_quiet() => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter =
        EnvFilter::try_from_env("TREEHAND_TRACE").unwrap_or_else(|_| EnvFilter::new(format!("treehand={level}")));
    let lines = Lines(out.clone());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unfailing)
        .log_internal_errors(false)
        .event_format(lines)
        .init();
}

/// Standard error, where what cannot be said (the log of a supervisor on a full disk) is not said, and ends nobody.
struct Unfailing;

impl Write for Unfailing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(std::io::stderr().write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One line for an event.
struct Lines(Output);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let word = match level {
            Level::ERROR => self.0.paint(Paint::Red, "error:"),
            Level::WARN => self.0.paint(Paint::Yellow, "warning:"),
            _ => {
                self.0.paint(Paint::Dim, &format!("{}: {}:", level.as_str().to_lowercase(), event.metadata().target()))
            }
        };
        let mut said = String::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
            said.push_str(&format!("{}{{{fields}}}: ", span.name()));
        }
        context.format_fields(Writer::new(&mut said), event)?;
        writeln!(to, "{word} {}", plain(&said))
    }
}
