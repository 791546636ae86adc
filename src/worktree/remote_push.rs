//! Apply: branches of a remote deleted, or made again, each only from where it must be.
//!
//! By `git push --force-with-lease`: the remote itself compares and swaps, so that nobody's work that came meanwhile is touched.
//! No hook of the repository runs, and nothing else is pushed along.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Result;
use super::import::update_ref;
use super::remote::transport;
use super::remote_refs::tracking;
use super::repository::Repository;
use crate::model::CommitId;
use crate::model::cause::chain;

/// A branch of a remote, without `refs/heads/`, and its tip.
pub type RemoteTip = (String, CommitId);

/// How it came out with one branch: why it did not go, if it did not.
pub type Pushed = std::result::Result<(), String>;

/// Deletes these, which are all there; the refs that track them go with them.
pub fn delete(repo: &Repository, remote: &str, tips: &[RemoteTip], deadline: Duration) -> Result<Vec<Pushed>> {
    let leases = tips.iter().map(|(branch, tip)| format!("--force-with-lease=refs/heads/{branch}:{tip}"));
    let specs = tips.iter().map(|(branch, _)| format!(":refs/heads/{branch}"));
    let pushed = push(repo, remote, tips, leases.collect(), specs.collect(), deadline)?;
    for ((branch, tip), pushed) in tips.iter().zip(&pushed) {
        let tracking = tracking(remote, branch);
        // git takes it away itself where it knows what tracks what.
        if pushed.is_ok() && repo.reader().ref_commit(&tracking)?.as_ref() == Some(tip) {
            track(repo, &tracking, None, Some(tip));
        }
    }
    Ok(pushed)
}

/// Makes these again, none of which may be there, and the refs that track them.
pub fn create(repo: &Repository, remote: &str, tips: &[RemoteTip], deadline: Duration) -> Result<Vec<Pushed>> {
    let leases = tips.iter().map(|(branch, _)| format!("--force-with-lease=refs/heads/{branch}:"));
    let specs = tips.iter().map(|(branch, tip)| format!("{tip}:refs/heads/{branch}"));
    let pushed = push(repo, remote, tips, leases.collect(), specs.collect(), deadline)?;
    for ((branch, tip), pushed) in tips.iter().zip(&pushed) {
        let tracking = tracking(remote, branch);
        if pushed.is_ok() && repo.reader().ref_commit(&tracking)?.is_none() {
            track(repo, &tracking, Some(tip), None);
        }
    }
    Ok(pushed)
}

/// Brings a ref that tracks a branch to where that is now. Where that cannot be done the next fetch says so, too; on the remote it
/// is done.
pub(super) fn track(repo: &Repository, tracking: &str, new: Option<&CommitId>, expected: Option<&CommitId>) {
    if let Err(error) = update_ref(repo, tracking, new, expected, "treehand: as it is on the remote now") {
        tracing::debug!("{tracking} stays where it is: {}", chain(&error));
    }
}

fn push(
    repo: &Repository,
    remote: &str,
    tips: &[RemoteTip],
    leases: Vec<String>,
    specs: Vec<String>,
    deadline: Duration,
) -> Result<Vec<Pushed>> {
    let no_mirror = format!("remote.{remote}.mirror=false");
    let plain = ["-c", "push.pushOption=", "-c", &no_mirror, "push", "--porcelain", "--no-verify", "--no-signed"];
    let alone = ["--no-follow-tags", "--recurse-submodules=no"];
    let push = transport(repo, plain, deadline).args(alone).args(leases);
    let push = push.args(["--end-of-options", remote]).args(specs);
    let name = push.name();
    let output = push.output()?;
    let said = parse(&String::from_utf8_lossy(&output.stdout));
    // One that is refused makes the whole fail although the others have gone; without a word on each, nothing is known of any.
    if !output.status.success() && tips.iter().any(|(branch, _)| !said.contains_key(branch)) {
        return Err(output.into_error(name).into());
    }
    let silent = || Err("the remote said nothing of it".to_owned());
    Ok(tips.iter().map(|(branch, _)| said.get(branch).cloned().unwrap_or_else(silent)).collect())
}

/// Reads `<flag><TAB><from>:<to><TAB><what>` lines.
fn parse(text: &str) -> BTreeMap<String, Pushed> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let (flag, refs, what) = (parts.next()?, parts.next()?, parts.next()?);
        let branch = refs.rsplit_once(':')?.1.strip_prefix("refs/heads/")?.to_owned();
        Some((branch, if flag == "!" { Err(what.to_owned()) } else { Ok(()) }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::worktree::fixture::Fixture;

    const LONG: Duration = Duration::from_secs(60);

    /// The fixture with a remote, which has the branches `gone`, `moved` and `stays` and refuses to let the last one go.
    fn with_remote() -> (Fixture, PathBuf) {
        let fixture = Fixture::new();
        let remote = fixture.dir.path().join("remote.git");
        let place = remote.to_string_lossy().into_owned();
        fixture.git(&["init", "-q", "--bare", "-b", "main", &place]);
        fixture.git(&["remote", "add", "origin", &place]);
        fixture.git(&["push", "-q", "origin", "main", "main:gone", "main:moved", "main:stays"]);
        let hook = remote.join("hooks/update");
        std::fs::write(&hook, "#!/bin/sh\ntest $1 != refs/heads/stays\n").expect("written");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
        (fixture, remote)
    }

    #[test]
    fn a_branch_goes_from_where_it_must_be_and_comes_back_where_none_is() {
        let (fixture, remote) = with_remote();
        let tip = fixture.tip("refs/heads/main");
        fixture.commit("b", "more\n");
        fixture.git(&["push", "-q", "origin", "main:moved"]);
        let tips = ["gone", "moved", "stays"].map(|branch| (branch.to_owned(), tip.clone()));
        let pushed = delete(&fixture.repo, "origin", &tips, LONG).expect("an answer");
        assert_eq!(pushed[0], Ok(()));
        assert!(pushed[1].as_ref().is_err_and(|why| why.contains("stale info")), "{pushed:?}");
        assert!(pushed[2].as_ref().is_err_and(|why| why.contains("hook declined")), "{pushed:?}");
        let there = || fixture.run_in(&remote, &["for-each-ref", "--format=%(refname:short)"]);
        assert_eq!(there(), "main\nmoved\nstays");
        assert_eq!(fixture.find("refs/remotes/origin/gone"), None);
        let pushed = create(&fixture.repo, "origin", &tips[..2], LONG).expect("an answer");
        assert_eq!(pushed[0], Ok(()));
        assert!(pushed[1].is_err(), "what came meanwhile is not overwritten");
        assert_eq!(there(), "gone\nmain\nmoved\nstays");
        assert_eq!(fixture.find("refs/remotes/origin/gone"), Some(tip));
    }

    #[test]
    fn a_remote_that_is_not_there_is_an_error_for_all() {
        let (fixture, remote) = with_remote();
        std::fs::rename(&remote, remote.with_extension("away")).expect("moved");
        let tips = [("gone".to_owned(), fixture.tip("refs/heads/main"))];
        assert!(delete(&fixture.repo, "origin", &tips, LONG).is_err());
        assert!(create(&fixture.repo, "origin", &tips, LONG).is_err());
    }
}
