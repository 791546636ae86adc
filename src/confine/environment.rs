//! The environment of a child: an explicit list, never the whole environment of whoever started treehand.
//! Promises that nothing secret is passed on by accident; what a task needs beyond it is added by name.

use std::path::Path;

use super::machine;
use super::mask::VALUE_MIN;
use crate::model::{Token, Variable, VariableName};
use crate::sys::{env, proc};

/// Variables that are passed on when they are set: what finds programs, homes, words and clocks. No secrets.
const BASELINE: &[&str] = &[
    "CARGO_HOME",
    "COLORTERM",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GOCACHE",
    "GOMODCACHE",
    "GOPATH",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "NVM_DIR",
    "PATH",
    "PYENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// Those that lead to files of the user which a sandbox does not show.
const LEADING_OUTSIDE: &[&str] = &[
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// A secret that cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not set here.
    #[error("the secret `{name}` is not set")]
    Unset {
        /// Which.
        name: VariableName,
    },
    /// So short a text is in too much by chance to be kept out of logs.
    #[error("the secret `{name}` has fewer than {VALUE_MIN} characters, too few to be kept out of logs")]
    Short {
        /// Which.
        name: VariableName,
    },
}

/// What children get of these surroundings, as it is to be kept for those who start some of them later, from elsewhere.
pub fn here() -> Vec<(String, String)> {
    env::vars().into_iter().filter(|(name, _)| is_passed_on(name)).collect()
}

/// What has to change here so that children get what was kept: each variable with its value, or without one where it goes.
pub fn changes_to(kept: &[(String, String)]) -> Vec<(String, Option<String>)> {
    changes(&here(), kept)
}

/// Where nothing was kept, nothing changes.
fn changes(here: &[(String, String)], kept: &[(String, String)]) -> Vec<(String, Option<String>)> {
    if kept.is_empty() {
        return Vec::new();
    }
    let new = here.iter().filter(|(name, _)| !kept.iter().any(|(known, _)| known == name));
    let gone = new.map(|(name, _)| (name.clone(), None));
    gone.chain(kept.iter().map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

fn is_passed_on(name: &str) -> bool {
    BASELINE.contains(&name) || name.starts_with("LC_")
}

/// The variables that are named, as they are set here unless they have a value; what is not set is left out.
pub fn passed(variables: &[Variable]) -> Vec<(String, String)> {
    let here = env::vars();
    let value = |variable: &Variable| variable.value(|name| set(&here, name));
    variables.iter().filter_map(|variable| Some((variable.name().to_string(), value(variable)?))).collect()
}

/// The secrets that are named, as they are set here.
pub fn secrets(names: &[VariableName]) -> Result<Vec<(String, String)>, SecretError> {
    let here = env::vars();
    let one = |name: &VariableName| {
        let value = set(&here, name.as_str()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| SecretError::Unset { name: name.clone() })?;
        if value.len() < VALUE_MIN {
            return Err(SecretError::Short { name: name.clone() });
        }
        Ok((name.to_string(), value))
    };
    names.iter().map(one).collect()
}

fn set(here: &[(String, String)], name: &str) -> Option<String> {
    here.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// The environment of a child in a sandbox: a home and a temporary directory of its own, and where the toolchains are.
pub fn enclosed(home: &Path, tmp: &Path, ceiling: &Path, token: &Token) -> Vec<(String, String)> {
    let toolchains = machine::environment(env::home().as_deref(), &env::vars());
    let mut vars = baseline(tmp, ceiling, token);
    vars.retain(|(name, _)| {
        !LEADING_OUTSIDE.contains(&name.as_str()) && !toolchains.iter().any(|(toolchain, _)| toolchain == name)
    });
    vars.push(("HOME".into(), home.to_string_lossy().into_owned()));
    vars.extend(toolchains);
    vars
}

/// The baseline as it is set here, with the locale (`LC_*`), the child's own temporary directory and its mark.
pub fn baseline(tmp: &Path, ceiling: &Path, token: &Token) -> Vec<(String, String)> {
    let mut vars = here();
    if !vars.iter().any(|(name, _)| name == "PATH") {
        vars.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
    }
    vars.push(("TMPDIR".into(), tmp.to_string_lossy().into_owned()));
    vars.push(("GIT_CEILING_DIRECTORIES".into(), ceiling.to_string_lossy().into_owned()));
    vars.push(("GIT_TERMINAL_PROMPT".into(), "0".into()));
    vars.push((proc::MARK.into(), token.as_str().into()));
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_stands_and_what_was_not_there_goes() {
        let vars = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let here = vars(&[("PATH", "/here"), ("LC_ALL", "C")]);
        let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let expected = [("LC_ALL".to_owned(), None), set("PATH", "/then"), set("HOME", "/home")];
        assert_eq!(changes(&here, &vars(&[("PATH", "/then"), ("HOME", "/home")])), expected);
        assert_eq!(changes(&here, &[]), [], "a run of the first version goes on as it did");
    }
}
