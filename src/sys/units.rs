//! The gateway to the user's own systemd manager: what it is told of unit files, and what it says of them.
//!
//! Promises: everything has a time limit and asks nobody for anything; who cannot be served learns why, in words for a person.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::proc::{self, InTime};
use crate::model::Timestamp;

/// How long the manager may take to answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Why the manager did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    /// There is no program to ask it with.
    #[error("systemctl is not installed")]
    NotInstalled,
    /// It is not there, or not for us.
    #[error("your systemd manager cannot be reached (systemctl --user): {0}")]
    Unreachable(String),
    /// It would not do it.
    #[error("systemctl --user {what} failed: {why}")]
    Failed {
        /// What it was told.
        what: String,
        /// What it said.
        why: String,
    },
}

/// Whether there is a manager that can be told anything.
pub fn reach() -> Result<(), UnitsError> {
    systemctl(&["show", "--property=Version", "--value"]).map(drop).map_err(|error| match error {
        UnitsError::Failed { why, .. } => UnitsError::Unreachable(why),
        other => other,
    })
}

/// Lets it read its files again.
pub fn reload() -> Result<(), UnitsError> {
    systemctl(&["daemon-reload"]).map(drop)
}

/// Starts a unit, now and whenever the manager starts.
pub fn enable(unit: &str) -> Result<(), UnitsError> {
    systemctl(&["enable", "--now", unit]).map(drop)
}

/// The opposite.
pub fn disable(unit: &str) -> Result<(), UnitsError> {
    systemctl(&["disable", "--now", unit]).map(drop)
}

/// Lets it forget that a unit failed.
pub fn forget_failure(unit: &str) -> Result<(), UnitsError> {
    systemctl(&["reset-failed", unit]).map(drop)
}

/// Some properties of a unit; those that it does not know are not in it.
pub fn properties(unit: &str, names: &str) -> Result<BTreeMap<String, String>, UnitsError> {
    let text = systemctl(&["show", unit, &format!("--property={names}")])?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

/// When a timer begins next, and when it did last; `None` for what never was, or is not told.
pub fn moments(timer: &str) -> Result<(Option<Timestamp>, Option<Timestamp>), UnitsError> {
    let text = systemctl(&["list-timers", "--all", "--output=json", timer])?;
    // An older systemd knows no JSON here, and answers for people.
    let timers: Value = serde_json::from_str(&text).unwrap_or_default();
    let moment = |name: &str| {
        let micros = timers[0][name].as_i64().filter(|micros| *micros > 0)?;
        Some(Timestamp(micros / 1000))
    };
    Ok((moment("next"), moment("last")))
}

/// Whether the user's manager stays when they are not logged in; `None` where nobody says.
pub fn linger() -> Option<bool> {
    let user = rustix::process::geteuid().as_raw().to_string();
    match ask("loginctl", &["show-user", &user, "--property=Linger", "--value"]) {
        Ok(InTime::Ended { code: 0, output, .. }) => match output.trim_ascii() {
            b"yes" => Some(true),
            b"no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn ask(program: &str, args: &[&str]) -> io::Result<InTime> {
    let argv: Vec<&OsStr> = std::iter::once(program).chain(args.iter().copied()).map(OsStr::new).collect();
    proc::run_within(&argv, Path::new("/"), LIMIT)
}

fn systemctl(args: &[&str]) -> Result<String, UnitsError> {
    let failed = |why: String| UnitsError::Failed { what: args.join(" "), why };
    match ask("systemctl", &[&["--user", "--no-pager", "--no-ask-password"], args].concat()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UnitsError::NotInstalled),
        Err(error) => Err(failed(error.to_string())),
        Ok(InTime::TooLate) => Err(failed(format!("it took longer than {} s", LIMIT.as_secs()))),
        Ok(InTime::Ended { code: 0, output, .. }) => Ok(String::from_utf8_lossy(&output).into_owned()),
        Ok(InTime::Ended { code, errors, .. }) => {
            let said = String::from_utf8_lossy(&errors);
            Err(failed(said.lines().last().map_or_else(|| format!("exit {code}"), |line| line.trim().to_owned())))
        }
    }
}
