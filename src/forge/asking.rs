//! Scan: the pull requests of a repository, as its forge's own program lists them.
//!
//! That program has the user's account; it is never asked to change anything. Everything but a whole answer is an error.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::address::{Kind, Place};
use super::requests::{GITHUB_FIELDS, Request, Requests, from_github, from_gitlab};
use crate::sys::proc::{InTime, run_within};

/// Most open requests: beyond so many the list may not be whole.
const OPEN_MAX: usize = 3000;

/// So many of those that were merged last are looked at.
const MERGED_MAX: usize = 1000;

/// How many GitLab lists at once at most.
const PAGE: usize = 100;

/// Why nothing is known of the pull requests of a repository.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The program of the forge is not installed.
    #[error("`{program}`, which would be asked for it, is not there")]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// It could not be started or read from.
    #[error("`{program}` cannot be asked")]
    Io {
        /// Its name.
        program: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`{program}` says: {message}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The first line that it wrote.
        message: String,
    },
    /// It took too long.
    #[error("`{program}` did not answer in time")]
    TooLate {
        /// Its name.
        program: &'static str,
    },
    /// What it printed is not what was asked for.
    #[error("what `{program}` prints is not understood")]
    NotUnderstood {
        /// Its name.
        program: &'static str,
    },
    /// There are more open requests than are listed.
    #[error("more than {OPEN_MAX} pull requests are open")]
    TooMany,
}

/// Asks the forge, for at most this long for each list.
pub fn ask(place: &Place, limit: Duration) -> Result<Requests, ForgeError> {
    let (open, merged) = match place.kind {
        Kind::GitHub => (github(place, "open", OPEN_MAX + 1, limit)?, github(place, "merged", MERGED_MAX, limit)?),
        Kind::GitLab => {
            (gitlab(place, None, OPEN_MAX + 1, limit)?, gitlab(place, Some("--merged"), MERGED_MAX, limit)?)
        }
    };
    if open.len() > OPEN_MAX {
        return Err(ForgeError::TooMany);
    }
    Ok(Requests { open, merged })
}

fn github(place: &Place, state: &str, most: usize, limit: Duration) -> Result<Vec<Request>, ForgeError> {
    let (repository, most) = (format!("{}/{}", place.host, place.path), most.to_string());
    let args = ["pr", "list", "--repo", &repository, "--state", state, "--limit", &most, "--json", GITHUB_FIELDS];
    let output = said("gh", &args, limit)?;
    from_github(&output).ok_or(ForgeError::NotUnderstood { program: "gh" })
}

/// Without a word on the state, those that are open are listed.
fn gitlab(place: &Place, state: Option<&str>, most: usize, limit: Duration) -> Result<Vec<Request>, ForgeError> {
    let (repository, per_page) = (format!("https://{}/{}", place.host, place.path), PAGE.to_string());
    let mut found = Vec::new();
    for page in 1..=most.div_ceil(PAGE) {
        let page = page.to_string();
        let mut args = vec!["mr", "list", "--repo", &repository, "--output", "json", "--per-page", &per_page];
        args.extend(["--page", &page]);
        args.extend(state);
        let output = said("glab", &args, limit)?;
        let listed = from_gitlab(&output).ok_or(ForgeError::NotUnderstood { program: "glab" })?;
        let is_last = listed.len() < PAGE;
        found.extend(listed);
        if is_last {
            break;
        }
    }
    Ok(found)
}

fn said(program: &'static str, args: &[&str], limit: Duration) -> Result<Vec<u8>, ForgeError> {
    let argv: Vec<&OsStr> = std::iter::once(program).chain(args.iter().copied()).map(OsStr::new).collect();
    match run_within(&argv, Path::new("/"), limit) {
        Ok(InTime::Ended { code: 0, output, .. }) => Ok(output),
        Ok(InTime::Ended { errors, code, .. }) => {
            let errors = String::from_utf8_lossy(&errors).into_owned();
            let first = errors.lines().find(|line| !line.trim().is_empty());
            let message = first.map_or_else(|| format!("exit code {code}"), str::to_owned);
            Err(ForgeError::Failed { program, message })
        }
        Ok(InTime::TooLate) => Err(ForgeError::TooLate { program }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ForgeError::NoProgram { program }),
        Err(source) => Err(ForgeError::Io { program, source }),
    }
}
