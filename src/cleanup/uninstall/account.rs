//! Scan and apply: what treehand keeps for a user and no repository's: reports, sockets, places, the registry, the timer.
//!
//! It goes as a whole only where no repository needs it any more; private git dirs of repositories that nobody knows stay, for
//! they may be the only copy. Files that a person writes (the configuration, start files of shells) are named, never touched.

use std::collections::BTreeSet;
use std::path::Path;

use super::types::{Goes, Stays};
use crate::cleanup::error::Result;
use crate::cleanup::places::children;
use crate::cleanup::schedule::{self, Schedule};
use crate::sys::{env, fs};
use crate::worktree::{departed, ports};

/// What belongs to repositories, below the directory of the user's own state, beside what their workspaces have leased.
const OF_REPOSITORIES: [&str; 4] = ["known", "sealed", "repos", departed::DIRECTORY];

/// Start files in which people put the line of `shell-init`, below their home.
const START_FILES: [&str; 6] =
    [".bashrc", ".bash_profile", ".profile", ".zshrc", ".config/fish/config.fish", ".config/fish/conf.d/treehand.fish"];

/// Largest start file that is looked into.
const START_FILE_MAX: u64 = 1 << 20;

/// Who still needs what is the user's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nobody.
    Nobody,
    /// Repositories that cannot be reached: only what is theirs.
    Unreachable,
    /// Repositories that keep treehand.
    Repositories,
}

/// What goes, and what stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// What goes.
    pub goes: Vec<Goes>,
    /// What stays.
    pub stays: Vec<Stays>,
}

/// Looks; `leaving` are the ids of repositories that treehand leaves, `own` the program.
pub fn look(need: Need, leaving: &BTreeSet<String>, own: &Path) -> Result<Account> {
    let mut account = Account::default();
    let state = env::state_home().map(|home| home.join("treehand"));
    if let Some(state) = state.filter(|state| state.is_dir()) {
        state_of(&state, need, leaving, &mut account)?;
    }
    timer(need, own, &mut account);
    persons(own, &mut account)?;
    Ok(account)
}

fn state_of(state: &Path, need: Need, leaving: &BTreeSet<String>, account: &mut Account) -> Result<()> {
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut foreign = Vec::new();
    for part in ["sealed", "repos", departed::DIRECTORY] {
        foreign.extend(children(&state.join(part))?.into_iter().filter(|path| !leaving.contains(&named(path))));
    }
    let whole = need == Need::Nobody && foreign.is_empty();
    let mut own = Vec::new();
    let is_theirs = |path: &Path| OF_REPOSITORIES.iter().chain(&ports::FILES).any(|theirs| named(path) == *theirs);
    for path in children(state)?.into_iter().filter(|path| !is_theirs(path)) {
        own.push(Goes { kind: "state", item: path.display().to_string(), bytes: fs::disk_usage(&path) });
    }
    own.sort_by(|one, other| one.item.cmp(&other.item));
    let stays = |path: &Path, why: &str| Stays { kind: "state", item: path.display().to_string(), why: why.into() };
    if whole {
        let bytes = own.iter().map(|goes| goes.bytes).sum();
        account.goes.push(Goes { kind: "state", item: state.display().to_string(), bytes });
    } else if need == Need::Repositories {
        account.stays.push(stays(state, "repositories that keep treehand need it"));
    } else {
        account.goes.extend(own);
        account.stays.extend(foreign.iter().map(|path| {
            stays(path, "it is of a repository that cannot be reached or is not known, and may be the only copy")
        }));
        if need == Need::Unreachable {
            account.stays.push(stays(&state.join("known"), "repositories in it cannot be reached now"));
        }
    }
    Ok(())
}

fn timer(need: Need, own: &Path, account: &mut Account) {
    let stays = |item: String, why: String| Stays { kind: "schedule", item, why };
    let Schedule { timer, service, problems, .. } = match schedule::look(own) {
        Ok(schedule) => schedule,
        Err(error) => {
            account.stays.push(stays("the timer of systemd".into(), error.to_string()));
            return;
        }
    };
    for path in [timer, service].into_iter().flatten() {
        let item = path.display().to_string();
        if problems.iter().any(|problem| problem.starts_with(&item) && problem.ends_with("is not treehand's")) {
            account.stays.push(stays(item, "treehand did not write it".into()));
        } else if need == Need::Repositories {
            account.stays.push(stays(item, "repositories keep treehand: treehand clean schedule remove".into()));
        } else {
            account.goes.push(Goes { kind: "schedule", bytes: fs::disk_usage(&path), item });
        }
    }
}

fn persons(own: &Path, account: &mut Account) -> Result<()> {
    let mut stays = |kind, path: &Path, why: &str| {
        account.stays.push(Stays { kind, item: path.display().to_string(), why: why.to_owned() });
    };
    if let Some(file) = env::config_home().map(|home| home.join("treehand/config.toml"))
        && fs::exists(&file)?
    {
        stays("configuration", &file, "it is yours: remove it when you need it no more");
    }
    let home = env::home().unwrap_or_default();
    for name in START_FILES.iter().filter(|_| home.is_absolute()) {
        let path = home.join(name);
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= START_FILE_MAX);
        let text = if small { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
        if String::from_utf8_lossy(&text).contains("treehand shell-init") {
            stays("shell", &path, "take the line with `treehand shell-init` out of it");
        }
    }
    stays("program", own, "remove it the way it was installed");
    Ok(())
}

/// Takes what goes; what a person should know. A timer that cannot be taken stays, and is named as that.
pub fn remove(account: &mut Account) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if account.goes.iter().any(|goes| goes.kind == "schedule") {
        match schedule::remove() {
            Ok(removed) => notes.extend(removed.notes),
            Err(error) => {
                let (timer, goes) =
                    std::mem::take(&mut account.goes).into_iter().partition(|goes| goes.kind == "schedule");
                account.goes = goes;
                let stays = |goes: Goes| Stays { kind: goes.kind, item: goes.item, why: error.to_string() };
                account.stays.extend(Vec::into_iter(timer).map(stays));
            }
        }
    }
    for goes in account.goes.iter().filter(|goes| goes.kind == "state") {
        let path = Path::new(&goes.item);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_tree(path)?,
            _ => fs::remove_file(path)?,
        }
    }
    Ok(notes)
}
