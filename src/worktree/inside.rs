//! A command in a person's workspace, plain or sealed: what it reaches and lives in, and what is put in order after it.
//!
//! In a sealed workspace git works as everywhere; in a plain one, whose git dir is the user's own, it can look and not write.
//! Starts nothing itself.

use std::path::PathBuf;

use super::error::Result;
use super::exported;
use super::filled;
use super::reach::{self, Quarters, Reach};
use super::repository::Repository;
use super::sealed::{Identity, SealedPaths};
use super::ties;
use crate::confine::Launch;
use crate::confine::view::System;
use crate::model::record::{ConfineLevel, WorkspaceRecord};
use crate::model::{Bounds, Token};
use crate::sys::fs;

/// The workspace that a command is to run in, and how far it is confined.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'a> {
    /// Its repository.
    pub repo: &'a Repository,
    /// Its record.
    pub record: &'a WorkspaceRecord,
    /// Its parts, for a sealed one.
    pub sealed: Option<&'a SealedPaths>,
    /// The level.
    pub level: ConfineLevel,
    /// What it may use up and reach.
    pub bounds: &'a Bounds,
    /// The ports that are the workspace's.
    pub ports: &'a [u16],
}

/// A command that can be launched, and what was made for it.
#[derive(Clone, Debug)]
pub struct Furnished {
    /// The command.
    pub launch: Launch,
    /// A directory that goes with it.
    directory: Option<PathBuf>,
}

impl Inside<'_> {
    /// Prepares a command and the place for it. What is made goes with [`Furnished::leave`].
    pub fn furnish(&self, machine: &System, command: (Vec<String>, Token)) -> Result<Furnished> {
        let Inside { repo, record, sealed, level, bounds, ports } = *self;
        let (quarters, reach) = match sealed {
            Some(paths) => {
                let lenders = [paths.private.join("base.git/objects")];
                let reach = reach::of_sealed(repo, paths, &lenders, machine)?;
                reach::furnish(paths, &Identity::of_user(repo)?)?;
                (Quarters::of_sealed(paths), reach)
            }
            None => {
                let quarters = reach::quarters_of_plain(&record.path, level, &command.1)?;
                let reach =
                    if self.is_confined() { reach::of_plain(repo, &quarters, machine)? } else { Reach::default() };
                (quarters, reach)
            }
        };
        let mut launch = reach::launch_in(&quarters, reach, bounds, level, command);
        launch.env.extend(exported::variables(repo, record, ports));
        Ok(Furnished { launch, directory: quarters.directory })
    }

    /// Puts back the files that say where a sealed workspace's git dir is, where a confined command replaced them; which
    /// these were is the answer.
    pub fn mend(&self) -> Result<Vec<PathBuf>> {
        match self.sealed {
            Some(paths) if self.is_confined() => ties::mend(paths),
            _ => Ok(Vec::new()),
        }
    }

    /// Its own part of a git dir.
    pub(super) fn admin(&self) -> Result<PathBuf> {
        self.sealed.map_or_else(|| filled::admin_of(&self.record.path), |paths| Ok(paths.admin.clone()))
    }

    fn is_confined(&self) -> bool {
        matches!(self.level, ConfineLevel::Strict | ConfineLevel::Landlock)
    }
}

impl Furnished {
    /// Removes what was made for it.
    pub fn leave(&self) -> Result<()> {
        Ok(self.directory.as_deref().map_or(Ok(()), fs::remove_tree)?)
    }

    /// The name of a secret whose value the command has in it: what is written there is kept.
    pub fn written_secret(&self) -> Option<&str> {
        let Launch { secrets, argv, env, .. } = &self.launch;
        let value = secrets.iter().find(|value| argv.iter().any(|argument| argument.contains(*value)))?;
        env.iter().find(|(_, other)| other == value).map(|(name, _)| name.as_str())
    }
}
