//! Asking a remote for the tip of a branch, once for all who ask at the same moment.
//!
//! `ls-remote --symref` names the tip; a fetch follows only when that commit is not here yet. A remote that does not
//! answer, or not in time, is an answer with an error in it: the caller's policy decides.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::repository::Repository;
use crate::model::{CommitId, Proof, Reading, Timestamp};
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
    /// The same by the clock that nobody sets: whether it is recent goes by that one.
    #[serde(default)]
    pub clock: Reading,
    /// Why there is no full answer.
    pub error: Option<String>,
}

impl RemoteAnswer {
    /// True when the remote has no such branch any more.
    pub fn is_gone(&self) -> bool {
        self.proof == Proof::LsRemote && self.tip.is_none()
    }
}

/// Asks the remote, sharing the answer with everybody who asked before this asking began. The reader may know the configuration.
pub fn ask(repo: &Repository, reader: &Reader, branch: &RemoteBranch, lookup: Lookup) -> Result<RemoteAnswer> {
    let asked = clock::reading();
    let lock_path = lock_path(repo, branch);
    let holder = format!("pid {}, fetching {} from {}", std::process::id(), branch.branch, branch.remote);
    let _lock = FileLock::acquire(&lock_path, &holder)?;
    let answer_path = lock_path.with_extension("answer");
    if let Some(shared) = read_answer(&answer_path).filter(|answer| is_shared(answer, &asked, lookup.window)) {
        return Ok(shared);
    }
    let answer = ask_now(repo, reader, branch, lookup.deadline)?;
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    fs::write_atomic(&answer_path, &text)?;
    Ok(answer)
}

/// True for an answer that is good for who asked at a moment: it was got since, or shortly before. One from before the machine
/// was started is neither.
fn is_shared(answer: &RemoteAnswer, asked: &Reading, window: Duration) -> bool {
    let since = answer.clock.running_since(asked).is_some_and(|later| later > Duration::ZERO);
    let recent = asked.running_since(&answer.clock).is_some_and(|age| age < window);
    since || (recent && answer.error.is_none())
}

fn lock_path(repo: &Repository, branch: &RemoteBranch) -> PathBuf {
    let key: String = format!("{} {}", branch.remote, branch.branch)
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("={b:02x}") })
        .collect();
    repo.lock(&format!("fetch-{key}"))
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

fn ask_now(repo: &Repository, settings: &Reader, branch: &RemoteBranch, deadline: Duration) -> Result<RemoteAnswer> {
    // Taken before the remote is asked: whoever came before this moment may use the answer.
    let clock = clock::reading();
    let answered =
        |tip, head, proof, error| RemoteAnswer { tip, head, proof, at: clock.wall, clock: clock.clone(), error };
    let silent = |error: String| answered(None, None, Proof::None, Some(error));
    let asked = ["ls-remote", "--symref", "--end-of-options", &branch.remote, "HEAD"];
    let listed = transport_by(repo, settings, asked, deadline).args(&branch.there);
    let output = match listed.run() {
        Ok(output) => output,
        Err(error) => return Ok(silent(error.to_string())),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let head = default_of(&text);
    let Some((full, tip)) = branch.there.iter().find_map(|full| Some((full, tip_of(&text, full)?))) else {
        let kind = if branch.branch.starts_with('#') { "pull request" } else { "branch" };
        let error = Some(format!("{} has no {kind} `{}`", branch.remote, branch.branch));
        return Ok(answered(None, head, Proof::LsRemote, error));
    };
    let reader = repo.reader();
    if reader.ref_commit(&branch.tracking)?.as_ref() == Some(&tip) && reader.has_commit(&tip)? {
        return Ok(answered(Some(tip), head, Proof::LsRemote, None));
    }
    let spec = format!("+{full}:{}", branch.tracking);
    let args =
        ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];
    // Refspecs of the configuration may name branches here, which are nobody's to move but the user's.
    let alone = ["--refmap=", "--no-prune", "--end-of-options", &branch.remote, &spec];
    let fetch = transport_by(repo, settings, args, deadline).args(alone);
    if let Err(error) = fetch.run() {
        return Ok(silent(error.to_string()));
    }
    // The branch may have moved since it was listed; what was fetched is then the newer truth.
    let fetched = repo.reader().ref_commit(&branch.tracking)?;
    let proof = if fetched.as_ref() == Some(&tip) { Proof::LsRemote } else { Proof::Fetch };
    Ok(answered(fetched, head, proof, None))
}

/// A command that talks to a remote.
pub(super) fn transport<const N: usize>(repo: &Repository, args: [&str; N], deadline: Duration) -> GitCommand {
    transport_by(repo, &repo.reader(), args, deadline)
}

fn transport_by<const N: usize>(repo: &Repository, reader: &Reader, args: [&str; N], deadline: Duration) -> GitCommand {
    // A relative address is meant from the top of the worktree, as git means it.
    let top = repo.main_tree.as_deref().unwrap_or(&repo.common_dir);
    let command = repo.bare(args).directory(top).deadline(deadline.max(Duration::from_millis(1)));
    let configured = env::var_os("GIT_SSH_COMMAND").is_some() || env::var_os("GIT_SSH").is_some();
    let configured = configured || reader.config("core.sshCommand").is_ok_and(|value| value.is_some());
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
pub fn default_branch(repo: &Repository, reader: &Reader, remote: &str, deadline: Duration) -> Option<String> {
    let listed =
        transport_by(repo, reader, ["ls-remote", "--symref", "--end-of-options", remote, "HEAD"], deadline).run();
    default_of(&String::from_utf8_lossy(&listed.ok()?.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_old_as_the_machine_ran_since_wherever_its_clock_was_set_to() {
        const HERE: &str = "boot";
        // What the clock says, the boot, and for how long that has run.
        let read =
            |wall: i64, boot_id: &str, up_ms: u64| Reading { wall: Timestamp(wall), boot_id: boot_id.into(), up_ms };
        let answer = |clock: &Reading, error: Option<&str>| RemoteAnswer {
            tip: None,
            head: None,
            proof: Proof::LsRemote,
            at: clock.wall,
            clock: clock.clone(),
            error: error.map(str::to_owned),
        };
        let window = Duration::from_secs(30);
        let asked = read(1_800_000_000_000, HERE, 100_000);
        let table = [
            ("ten seconds old", read(1_799_999_990_000, HERE, 90_000), [true, false, false]),
            ("got since, while who asked waited", read(1_800_000_000_500, HERE, 100_500), [true, true, true]),
            ("got since, the clock was set back", read(0, HERE, 100_500), [true, true, true]),
            ("old, the clock was set back to it", read(1_800_000_000_500, HERE, 10_000), [false; 3]),
            ("ten seconds old, the clock was set ahead", read(0, HERE, 90_000), [true, false, false]),
            ("of the same moment", asked.clone(), [true, false, false]),
            ("of another boot", read(1_800_000_000_500, "other", 100_500), [false; 3]),
            ("of no known boot", Reading::default(), [false; 3]),
        ];
        for (what, clock, expected) in table {
            let (good, bad) = (answer(&clock, None), answer(&clock, Some("silent")));
            let shared = [
                is_shared(&good, &asked, window),
                is_shared(&bad, &asked, window),
                is_shared(&good, &asked, Duration::ZERO),
            ];
            assert_eq!(shared, expected, "{what}");
        }
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
