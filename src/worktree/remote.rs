//! Asking a remote for the tip of a branch, once for all who ask at the same moment.
//!
//! `ls-remote --symref` names the tip; a fetch follows only when that commit is not here yet. A remote that does not
//! answer, or not in time, is an answer with an error in it: the caller's policy decides.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::repository::Repository;
use crate::model::{CommitId, Proof, Timestamp};
use crate::sys::git::{GitCommand, Reader};
use crate::sys::lock::FileLock;
use crate::sys::{clock, env, fs};

/// How a remote is to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Do not ask it.
    pub offline: bool,
    /// How long it may take.
    pub deadline: Duration,
    /// How old an answer may be that counts as one of now; nothing but those asked for at the same moment where it is zero.
    pub window: Duration,
    /// Offline, the last answer of the remote counts as far as nothing has moved since: for looking, never for a decision.
    pub recall: bool,
}

/// A branch on a remote, or another ref there that moves, and the ref that tracks it here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteBranch {
    /// The remote's name.
    pub remote: String,
    /// The branch there, without `refs/heads/`; of a pull request its number, as `#12`.
    pub branch: String,
    /// The tracking ref here, in full.
    pub tracking: String,
    /// What it may be called there, in full; the first that is there counts.
    pub there: Vec<String>,
}

/// What a remote said, or why it said nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoteAnswer {
    /// The tip it named; `None` when it has no such branch or did not answer.
    pub tip: Option<CommitId>,
    /// The branch that its `HEAD` points to.
    pub head: Option<String>,
    /// How strong the answer is.
    pub proof: Proof,
    /// When it was asked.
    pub at: Timestamp,
    /// Why there is no full answer.
    pub error: Option<String>,
}

impl RemoteAnswer {
    /// True when the remote has no such branch any more.
    pub fn is_gone(&self) -> bool {
        self.proof == Proof::LsRemote && self.tip.is_none()
    }
}

/// Asks the remote, sharing the answer with everybody who asked before this asking began.
pub fn ask(repo: &Repository, branch: &RemoteBranch, lookup: Lookup) -> Result<RemoteAnswer> {
    let asked_at = clock::now();
    let lock_path = lock_path(repo, branch);
    let holder = format!("pid {}, fetching {} from {}", std::process::id(), branch.branch, branch.remote);
    let _lock = FileLock::acquire(&lock_path, &holder)?;
    let answer_path = lock_path.with_extension("answer");
    let now = clock::now();
    if let Some(shared) = read_answer(&answer_path).filter(|answer| is_shared(answer, asked_at, now, lookup.window)) {
        return Ok(shared);
    }
    let answer = ask_now(repo, branch, lookup.deadline)?;
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    fs::write_atomic(&answer_path, &text)?;
    Ok(answer)
}

/// True for an answer that is good for who asked at a moment: it was got since, or shortly before.
fn is_shared(answer: &RemoteAnswer, asked_at: Timestamp, now: Timestamp, window: Duration) -> bool {
    let recent = answer.error.is_none() && asked_at.since(answer.at) < window;
    // One from the future was written before the clock was set back.
    (answer.at > asked_at || recent) && answer.at <= now
}

fn lock_path(repo: &Repository, branch: &RemoteBranch) -> PathBuf {
    let key: String = format!("{} {}", branch.remote, branch.branch)
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("={b:02x}") })
        .collect();
    repo.state_dir().join("locks").join(format!("fetch-{key}"))
}

/// What the remote said when it was asked last, if the branch that tracks it is still where that answer put it.
pub fn last_answer(repo: &Repository, reader: &Reader, branch: &RemoteBranch) -> Result<Option<RemoteAnswer>> {
    let tracked = reader.ref_commit(&branch.tracking)?;
    let answer = read_answer(&lock_path(repo, branch).with_extension("answer"));
    Ok(answer.filter(|answer| answer.error.is_none() && answer.tip.is_some() && answer.tip == tracked))
}

fn read_answer(path: &PathBuf) -> Option<RemoteAnswer> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn ask_now(repo: &Repository, branch: &RemoteBranch, deadline: Duration) -> Result<RemoteAnswer> {
    // Taken before the remote is asked: whoever came before this moment may use the answer.
    let at = clock::now();
    let silent = |error: String| RemoteAnswer { tip: None, head: None, proof: Proof::None, at, error: Some(error) };
    let listed = transport(repo, ["ls-remote", "--symref", "--end-of-options", &branch.remote, "HEAD"], deadline);
    let listed = listed.args(&branch.there);
    let output = match listed.run() {
        Ok(output) => output,
        Err(error) => return Ok(silent(error.to_string())),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let head = default_of(&text);
    let Some((full, tip)) = branch.there.iter().find_map(|full| Some((full, tip_of(&text, full)?))) else {
        let kind = if branch.branch.starts_with('#') { "pull request" } else { "branch" };
        let error = Some(format!("{} has no {kind} `{}`", branch.remote, branch.branch));
        return Ok(RemoteAnswer { tip: None, head, proof: Proof::LsRemote, at, error });
    };
    let reader = repo.reader();
    if reader.ref_commit(&branch.tracking)?.as_ref() == Some(&tip) && reader.has_commit(&tip)? {
        return Ok(RemoteAnswer { tip: Some(tip), head, proof: Proof::LsRemote, at, error: None });
    }
    let spec = format!("+{full}:{}", branch.tracking);
    let args =
        ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];
    let fetch = transport(repo, args, deadline).args(["--end-of-options", &branch.remote, &spec]);
    if let Err(error) = fetch.run() {
        return Ok(silent(error.to_string()));
    }
    // The branch may have moved since it was listed; what was fetched is then the newer truth.
    let fetched = repo.reader().ref_commit(&branch.tracking)?;
    let proof = if fetched.as_ref() == Some(&tip) { Proof::LsRemote } else { Proof::Fetch };
    Ok(RemoteAnswer { tip: fetched, head, proof, at, error: None })
}

fn transport<const N: usize>(repo: &Repository, args: [&str; N], deadline: Duration) -> GitCommand {
    // A relative address is meant from the top of the worktree, as git means it.
    let top = repo.main_tree.as_deref().unwrap_or(&repo.common_dir);
    let command = repo.bare(args).directory(top).deadline(deadline.max(Duration::from_millis(1)));
    let configured = env::var_os("GIT_SSH_COMMAND").is_some() || env::var_os("GIT_SSH").is_some();
    let configured = configured || repo.reader().config("core.sshCommand").is_ok_and(|value| value.is_some());
    // ssh asks on the terminal by itself; in batch mode it fails at once instead.
    if configured { command } else { command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes") }
}

/// The commit of a ref in what `ls-remote` printed: `<id><TAB><ref>` lines.
fn tip_of(text: &str, full: &str) -> Option<CommitId> {
    let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.find_map(|(id, name)| if name == full { CommitId::parse(id).ok() } else { None })
}

/// The branch that `HEAD` points to in what `ls-remote --symref` printed: `ref: refs/heads/main<TAB>HEAD`.
fn default_of(text: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.find_map(|(target, name)| {
        (name == "HEAD").then(|| target.strip_prefix("ref: refs/heads/"))?.map(str::to_owned)
    })
}

/// The branch that the remote's `HEAD` points to, asked for now.
pub fn default_branch(repo: &Repository, remote: &str, deadline: Duration) -> Option<String> {
    let listed = transport(repo, ["ls-remote", "--symref", "--end-of-options", remote, "HEAD"], deadline).run();
    default_of(&String::from_utf8_lossy(&listed.ok()?.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_makes_no_old_answer_a_fresh_one() {
        const YEAR: i64 = 365 * 86_400_000;
        let (now, window) = (Timestamp(1_800_000_000_000), Duration::from_secs(30));
        let answer = |at: i64, error: Option<&str>| RemoteAnswer {
            tip: None,
            head: None,
            proof: Proof::LsRemote,
            at: Timestamp(now.0 + at),
            error: error.map(str::to_owned),
        };
        let asked = |before: i64| Timestamp(now.0 - before);
        assert!(is_shared(&answer(-10_000, None), asked(0), now, window));
        assert!(!is_shared(&answer(-10_000, Some("silent")), asked(0), now, window));
        assert!(is_shared(&answer(-500, Some("silent")), asked(1_000), now, window), "asked while somebody asked");
        assert!(!is_shared(&answer(-YEAR, None), asked(0), now, window), "the clock was set forward");
        assert!(!is_shared(&answer(YEAR, None), asked(0), now, window), "the clock was set back");
        assert!(!is_shared(&answer(-10_000, None), asked(0), now, Duration::ZERO));
    }

    #[test]
    fn ls_remote_output_is_read_by_column() {
        let id = "a".repeat(40);
        let text = format!(
            "ref: refs/heads/trunk\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/x/refs/heads/main\n{id}\trefs/heads/main\n"
        );
        assert_eq!(tip_of(&text, "refs/heads/main").map(String::from), Some(id));
        assert_eq!(default_of(&text).as_deref(), Some("trunk"));
        assert_eq!((tip_of("", "refs/heads/main"), default_of("")), (None, None));
    }
}
