//! Apply: landing on a branch of a remote: the branch moves there and a ref for each result says that it has landed, in one step of
//! the remote's own, or nothing does.
//!
//! The refs are `refs/treehand/landed/BRANCH/COMMIT`, named by what was handed in: of several machines that have the same result one
//! makes the ref, and the others find it. Leases are what keep it right; nothing here can look as late as the remote does.

use std::collections::BTreeMap;

use super::error::Result;
use super::remote::transport;
use super::remote_push::track;
use super::remote_refs::{self, tracking};
use super::repository::Repository;
use crate::model::{CommitId, PushTarget};

/// What a remote has of a branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct There {
    /// Its tip; `None` where it has no such branch.
    pub tip: Option<CommitId>,
    /// Of these results, what each has landed as.
    pub landed: BTreeMap<CommitId, CommitId>,
}

/// How a push went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// All of it is there.
    Done,
    /// The branch or one of the results is not as it was looked at; nothing has moved.
    Raced,
    /// The remote does not want it, in its words; nothing has moved.
    Refused(String),
}

/// Below what the remote keeps which results have landed on a branch.
fn below(target: &PushTarget) -> String {
    format!("refs/treehand/landed/{}/", target.branch)
}

/// Asks the remote, and brings here what its branch has and is not here yet.
pub fn look(repo: &Repository, target: &PushTarget, results: &[&CommitId]) -> Result<There> {
    let (branch, below) = (format!("refs/heads/{}", target.branch), below(target));
    let wanted = results.iter().map(|result| format!("{below}{result}"));
    let args = ["ls-remote", "--end-of-options", &target.remote, &branch];
    let text = transport(repo, args, target.deadline.0).args(wanted).text()?;
    let there = parse(&text, &branch, &below);
    if let Some(tip) = &there.tip {
        remote_refs::fetch(repo, &target.remote, &[(&target.branch, tip)], target.deadline.0)?;
    }
    Ok(there)
}

/// Reads `<id><TAB><ref>` lines.
fn parse(text: &str, branch: &str, below: &str) -> There {
    let mut there = There { tip: None, landed: BTreeMap::new() };
    for (id, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        let Ok(id) = CommitId::parse(id) else { continue };
        if name == branch {
            there.tip = Some(id);
        } else if let Some(Ok(result)) = name.strip_prefix(below).map(CommitId::parse) {
            there.landed.insert(result, id);
        }
    }
    there
}

/// Moves the branch of the remote from one commit to another, and says there what each of these results has landed as.
pub fn push(
    repo: &Repository,
    target: &PushTarget,
    (from, to): (&CommitId, &CommitId),
    landed: &[(CommitId, CommitId)],
) -> Result<Pushed> {
    let (branch, below) = (format!("refs/heads/{}", target.branch), below(target));
    let no_mirror = format!("remote.{}.mirror=false", target.remote);
    let plain = ["-c", "push.pushOption=", "-c", &no_mirror, "push", "--porcelain", "--no-verify", "--no-signed"];
    let alone = ["--atomic", "--no-follow-tags", "--recurse-submodules=no"];
    let leases = std::iter::once(format!("--force-with-lease={branch}:{from}"))
        .chain(landed.iter().map(|(result, _)| format!("--force-with-lease={below}{result}:")));
    let specs = std::iter::once(format!("{to}:{branch}"))
        .chain(landed.iter().map(|(result, commit)| format!("{commit}:{below}{result}")));
    let command = transport(repo, plain, target.deadline.0).args(alone).args(leases);
    let command = command.args(["--end-of-options", &target.remote]).args(specs);
    let name = command.name();
    let output = command.output()?;
    if output.status.success() {
        // git does so itself where it knows what tracks what.
        let (tracking, known) = (tracked(target), repo.reader().ref_commit(&tracked(target))?);
        if known.as_ref() != Some(to) {
            track(repo, &tracking, Some(to), known.as_ref());
        }
        return Ok(Pushed::Done);
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let refused: Vec<&str> = said.lines().filter(|line| line.starts_with('!')).collect();
    if refused.is_empty() {
        return Err(output.into_error(name).into());
    }
    // Why one was refused is words of the remote's; whether somebody was faster is not.
    let results: Vec<&CommitId> = landed.iter().map(|(result, _)| result).collect();
    let now = look(repo, target, &results)?;
    if now.tip.as_ref() != Some(from) || !now.landed.is_empty() {
        return Ok(Pushed::Raced);
    }
    let why = refused.iter().filter_map(|line| line.splitn(3, '\t').nth(2)).filter(|why| !why.contains("atomic"));
    let why = why.chain(refused.iter().filter_map(|line| line.splitn(3, '\t').nth(2))).next().unwrap_or("refused");
    Ok(Pushed::Refused(why.to_owned()))
}

/// The ref that tracks the branch here.
pub fn tracked(target: &PushTarget) -> String {
    tracking(&target.remote, &target.branch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;
    use crate::worktree::fixture::Fixture;

    fn with_remote() -> (Fixture, std::path::PathBuf, PushTarget) {
        let fixture = Fixture::new();
        let remote = fixture.dir.path().join("remote.git");
        let place = remote.to_string_lossy().into_owned();
        fixture.git(&["init", "-q", "--bare", "-b", "main", &place]);
        fixture.git(&["remote", "add", "origin", &place]);
        fixture.git(&["push", "-q", "origin", "main"]);
        let deadline = Span(std::time::Duration::from_secs(60));
        (fixture, remote, PushTarget { remote: "origin".into(), branch: "main".into(), deadline })
    }

    #[test]
    fn branch_and_results_move_together_once_and_only_from_where_they_must_be() {
        let (fixture, remote, target) = with_remote();
        let before = fixture.tip("refs/heads/main");
        fixture.git(&["branch", "work"]);
        let result = fixture.commit_on("work", &[("work", "1\n")]);
        let landed = fixture.commit("landed", "1\n");
        let there = |results: &[&CommitId]| look(&fixture.repo, &target, results).expect("asked");
        assert_eq!(there(&[&result]), There { tip: Some(before.clone()), landed: BTreeMap::new() });
        let push = |from: &CommitId, to: &CommitId, results: &[(CommitId, CommitId)]| {
            super::push(&fixture.repo, &target, (from, to), results).expect("an answer")
        };
        let marks = [(result.clone(), landed.clone())];
        assert_eq!(push(&landed, &landed, &marks), Pushed::Raced, "it is not there yet");
        assert_eq!(push(&before, &landed, &marks), Pushed::Done);
        assert_eq!(
            there(&[&result, &before]),
            There { tip: Some(landed.clone()), landed: BTreeMap::from(marks.clone()) }
        );
        let more = fixture.commit("more", "1\n");
        assert_eq!(push(&before, &landed, &marks), Pushed::Done, "the same once more is there");
        let again = [(result.clone(), more.clone())];
        assert_eq!(push(&landed, &more, &again), Pushed::Raced, "that result has landed");
        assert_eq!(there(&[]).tip, Some(landed.clone()), "nothing of it moved");
        let hook = remote.join("hooks/update");
        std::fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("written");
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let refused = push(&landed, &more, &[]);
        assert!(matches!(&refused, Pushed::Refused(why) if why.contains("hook")), "{refused:?}");
        std::fs::rename(&remote, remote.with_extension("away")).expect("moved");
        assert!(look(&fixture.repo, &target, &[]).is_err());
    }
}
