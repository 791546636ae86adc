//! Scan: what a result changes that runs something for whoever takes it, in its submodules too; see `sensitive_paths`.
//!
//! Looks at commits that are in the repository and its clones, and at no file of a worktree.

use std::os::unix::ffi::OsStrExt;

use super::error::Result;
use super::import::changes;
use super::repository::{Repository, bytes_path};
use super::result_policy::{GITLINK, RawChange, Refusal};
use super::sensitive_paths::{self, LINK, Sight};
use super::submodule_moves::moves;
use crate::model::CommitId;
use crate::model::sensitive::{Handling, Sensitive};
use crate::sys::git::GitCommand;

/// Most links of one result whose targets are looked at; a result with more has to be looked at by a person.
const LINKS_MAX: usize = 10_000;

/// Decides on what a result changes since its base; see [`sensitive_paths::judge`]. `hooks` is a directory of hooks in the tree.
pub fn judge(
    repo: &Repository,
    (base, commit): (&CommitId, &CommitId),
    changed: &[RawChange],
    (patterns, hooks): (&[String], Option<&str>),
    policy: &Sensitive,
) -> Result<Option<(Handling, Refusal)>> {
    let (mut all, mut links) = (changed.to_vec(), targets(|| repo.bare([] as [&str; 0]), changed)?);
    if changed.iter().any(|change| change.new_mode == GITLINK) {
        for one in moves(repo, base, commit)? {
            let Some((clone, before)) = one.within else { continue };
            let command = || repo.git.bare(&clone, [] as [&str; 0]).env("GIT_NO_REPLACE_OBJECTS", "1");
            let inside = changes(command(), &before, &one.after)?.raw;
            let below = |path: &[u8]| one.at.join(bytes_path(path)).as_os_str().as_bytes().to_vec();
            let targets = targets(command, &inside)?.into_iter();
            let below_root = |change: RawChange| RawChange { path: below(&change.path), ..change };
            // A link in a submodule may lead anywhere in the submodule, and no further.
            let judged = |(path, target): (Vec<u8>, Vec<u8>)| {
                let out = sensitive_paths::leads_out(&String::from_utf8_lossy(&path), &target);
                (below(&path), if out { b"/".to_vec() } else { b".".to_vec() })
            };
            links.extend(targets.map(judged));
            all.extend(inside.into_iter().map(below_root));
        }
    }
    let sight = Sight { changes: &all, links: &links, hooks, patterns };
    Ok(sensitive_paths::judge(&sight, policy))
}

/// Where the links among some changes lead: path and target. What is not answered is not in it.
fn targets(command: impl FnOnce() -> GitCommand, changed: &[RawChange]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let links: Vec<&RawChange> = changed.iter().filter(|change| change.new_mode == LINK).take(LINKS_MAX).collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let ids: String = links.iter().map(|link| format!("{}\n", link.id)).collect();
    let output = command().args(["cat-file", "--batch"]).stdin(ids).run()?;
    let (mut rest, mut found) = (&output.stdout[..], Vec::new());
    for link in links {
        // `ID blob SIZE<newline>CONTENT<newline>`
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let Some(size) = head.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok()) else { break };
        let Some(content) = rest.get(end + 1..end + 1 + size) else { break };
        found.push((link.path.clone(), content.to_vec()));
        rest = rest.get(end + 2 + size..).unwrap_or_default();
    }
    Ok(found)
}
