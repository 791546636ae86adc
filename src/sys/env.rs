//! The environment of this process: variables, directories of the user, our own executable.
//!
//! Read at the edge (the command line and the supervisor's start) and handed down as values.

use std::ffi::OsString;
use std::path::PathBuf;

/// One variable, when it is set, not empty and UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the environment")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every variable whose name and value are UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the environment")]
pub fn vars() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// One variable as the bytes it is.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the environment")]
pub fn var_os(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The directory this process stands in.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the environment")]
pub fn current_dir() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

/// Our own executable, to start it again as supervisor.
pub fn own_executable() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Our own executable as a child of ours can start it, also when the file was replaced meanwhile.
pub fn self_again() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { own_executable() }
}

/// The user who became root by `sudo`, which says so (as git asks it, too, whose repositories are to be trusted).
pub fn user_of_sudo() -> Option<u32> {
    let user = var("SUDO_UID").filter(|_| rustix::process::geteuid().is_root())?.parse().ok()?;
    (user != 0).then_some(user)
}

/// `$HOME`.
pub fn home() -> Option<PathBuf> {
    var_os("HOME").map(PathBuf::from)
}

/// `$XDG_STATE_HOME`, or `~/.local/state`. Relative values are ignored, as the XDG specification asks.
pub fn state_home() -> Option<PathBuf> {
    absolute("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")))
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
pub fn config_home() -> Option<PathBuf> {
    absolute("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")))
}

fn absolute(name: &str) -> Option<PathBuf> {
    var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
