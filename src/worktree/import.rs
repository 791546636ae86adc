//! Import: a captured commit comes into the repository as a pushed one would, through quarantine, strict checks and
//! policy, and only then a branch names it (compare-and-swap).

use std::path::Path;
use std::time::Instant;

use super::capture::Captured;
use super::error::{Result, WorktreeError};
use super::import_submodules::import_around;
use super::patience::{Attempt, while_locked};
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::result_policy::{self, ResultChanges};
use crate::model::{CommitId, Hooks};
use crate::sys::fs;
use crate::sys::git::{Git, GitCommand, GitOutput};

/// The number of the signal that ends a writer whose reader is gone.
const SIGPIPE: i32 = 13;

/// How often a walk that failed is repeated: a ref that goes while git reads all of them ends it.
const WALKS: usize = 3;

/// What is to come in, and where.
#[derive(Clone, Debug)]
pub struct ImportRequest<'a> {
    /// The commit that the workspace started from: here already.
    pub base: &'a CommitId,
    /// The ref that will name the result, in full.
    pub reference: &'a str,
    /// Where that ref must be now; `None` when it must not exist.
    pub expected: Option<&'a CommitId>,
    /// Patterns of what may change; empty means everything.
    pub paths: &'a [String],
    /// Most bytes that a result may bring.
    pub max_bytes: u64,
    /// Written into the reflog.
    pub message: &'a str,
}

/// Imports a captured commit; what it changes is the answer.
/// What was captured in its submodules comes into the repository's clones of them first.
pub fn import(repo: &Repository, captured: &Captured, request: &ImportRequest<'_>) -> Result<ResultChanges> {
    import_around(repo, captured, request, || import_commit(repo, captured, request))
}

fn import_commit(repo: &Repository, captured: &Captured, request: &ImportRequest<'_>) -> Result<ResultChanges> {
    let quarantine = Quarantine::create(repo, request.base)?;
    let imported = import_into(repo, &quarantine, captured, request);
    let discarded = quarantine.discard();
    let changes = imported?;
    discarded?;
    Ok(changes)
}

fn import_into(
    repo: &Repository,
    quarantine: &Quarantine,
    captured: &Captured,
    request: &ImportRequest<'_>,
) -> Result<ResultChanges> {
    let changes = take_in(quarantine, captured, request)?;
    let kept = quarantine.migrate_packs()?;
    let updated = update_ref(repo, request.reference, Some(&captured.commit), request.expected, request.message);
    kept.release()?;
    updated?;
    Ok(changes)
}

/// Takes a captured commit into a quarantine, strictly checked and within the policy; the repository is as it was.
pub fn take_in(quarantine: &Quarantine, captured: &Captured, request: &ImportRequest<'_>) -> Result<ResultChanges> {
    let commit = &captured.commit;
    receive(captured.git(), quarantine, &captured.scratch, commit, Some(request.base), request.max_bytes)?;
    check_connected(quarantine, commit, Some(request.base))?;
    let changes = changes(quarantine.command([] as [&str; 0]), request.base, commit)?;
    let allowed = result_policy::compile(request.paths).map_err(|message| WorktreeError::Refused {
        message: format!("`paths` cannot be read: {message}"),
        hint: None,
    })?;
    if let Some(refusal) = result_policy::judge(&changes, request.paths, &allowed) {
        return Err(WorktreeError::BadResult { message: refusal.message, paths: refusal.paths });
    }
    Ok(changes)
}

/// `pack-objects` from the scratch dir into a strict `index-pack` in the quarantine; what `known` reaches is there.
pub(super) fn receive(
    git: &Git,
    quarantine: &Quarantine,
    scratch: &Path,
    commit: &CommitId,
    known: Option<&CommitId>,
    max_bytes: u64,
) -> Result<()> {
    let known = known.map(|known| format!("^{known}\n")).unwrap_or_default();
    let revisions = format!("{commit}\n{known}");
    let args = ["pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"];
    let send = git.bare(scratch, args).env("GIT_NO_REPLACE_OBJECTS", "1").stdin(revisions);
    let limit = format!("--max-input-size={max_bytes}");
    let take = quarantine.command(["index-pack", "--stdin", "--fix-thin", "--strict", &limit]);
    let (sent, taken) = match git.is_apart() {
        false => send.pipe_into(take)?,
        true => {
            let outgoing = scratch.join("outgoing.pack");
            let sent = send.into_file(&outgoing).output()?;
            let pack = fs::open_beneath(scratch, "outgoing.pack".as_ref(), u64::MAX)?;
            let (pack, _) = pack.ok_or_else(|| rejected("packed", &sent))?;
            let taken = take.output_from(pack)?;
            fs::remove_file(&outgoing)?;
            (sent, taken)
        }
    };
    // Who only wrote into a pipe that nobody read any more has nothing to say.
    let cut_off = sent.code() == -SIGPIPE && !taken.status.success();
    match (sent.status.success() || cut_off, taken.status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(rejected("accepted", &taken)),
        (false, _) => Err(rejected("packed", &sent)),
    }
}

/// An error unless everything is there that a commit reaches; what `known` reaches is. Where nothing is known all refs are
/// asked, of which some may go meanwhile, so that it is asked again before it is believed.
pub(super) fn check_connected(quarantine: &Quarantine, commit: &CommitId, known: Option<&CommitId>) -> Result<()> {
    let known = known.map_or("--all", CommitId::as_str);
    let walk = || {
        let walk = quarantine.command(["rev-list", "--objects", "--stdin", "--not", known, "--quiet"]);
        walk.stdin(format!("{commit}\n")).output()
    };
    let mut output = walk()?;
    for _ in 0..WALKS {
        if output.status.success() {
            break;
        }
        output = walk()?;
    }
    if output.status.success() { Ok(()) } else { Err(rejected("walked", &output)) }
}

fn rejected(what: &str, output: &GitOutput) -> WorktreeError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The first line says what is wrong; what follows are its consequences.
    let first = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("git gave no reason");
    let message = format!("the result cannot be {what} by git: {}", first.trim().escape_debug());
    WorktreeError::BadResult { message, paths: Vec::new() }
}

/// What lies between two commits; `command` says where they are.
pub fn changes(command: GitCommand, base: &CommitId, commit: &CommitId) -> Result<ResultChanges> {
    let args = ["diff-tree", "-r", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"];
    let output = command.args(args).args([base.as_str(), commit.as_str()]).run()?;
    Ok(result_policy::parse_diff(&output.stdout))
}

/// Moves a ref by compare-and-swap; `None` means absent on either side. Locks that others hold are waited for.
pub fn update_ref(
    repo: &Repository,
    reference: &str,
    new: Option<&CommitId>,
    expected: Option<&CommitId>,
    message: &str,
) -> Result<()> {
    let change = RefChange { reference: reference.to_owned(), new: new.cloned(), expected: expected.cloned() };
    update_ref_with(repo, &change, &[], message, Instant::now() + repo.patience.limit)
}

/// The same, waiting until then, with others that move in the same transaction.
pub fn update_ref_with(
    repo: &Repository,
    change: &RefChange,
    also: &[RefChange],
    message: &str,
    deadline: Instant,
) -> Result<()> {
    let references: Vec<&str> = std::iter::once(change).chain(also).map(|one| one.reference.as_str()).collect();
    while_locked(repo, &references, deadline, || try_update_ref(repo, change, also, message))
}

fn try_update_ref(repo: &Repository, change: &RefChange, also: &[RefChange], message: &str) -> Result<Attempt<()>> {
    let RefChange { reference, new, expected } = change;
    let command = match new {
        // No reflog is made for what goes.
        None if also.is_empty() => {
            let (_, old) = change.ends();
            repo.bare(["update-ref", "-m", message, "-d", reference, &old])
        }
        _ => in_one(repo, std::iter::once(change).chain(also), message),
    };
    let output = heard_by_hooks(repo, command).output()?;
    if output.status.success() {
        return Ok(Attempt::Done(()));
    }
    match repo.reader().ref_commit(reference)? {
        now if now == *expected => Ok(Attempt::NotMoved(output.into_error(format!("update-ref {reference}")).into())),
        // git moves a ref before it writes the reflog of HEAD, and fails when it cannot do that (it is another user's, the
        // disk is full). Who took that for a ref that did not move would leave the files behind it.
        now if now == *new && expected.is_some() && new.is_some() => {
            let said = String::from_utf8_lossy(&output.stderr);
            tracing::warn!("{reference} has moved, although git says: {}", said.trim());
            Ok(Attempt::Done(()))
        }
        now => Err(moved(reference, now.as_ref(), expected.as_ref())),
    }
}

/// One of several refs that move together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefChange {
    /// Its full name.
    pub reference: String,
    /// Where it goes; `None` deletes it.
    pub new: Option<CommitId>,
    /// Where it must be; `None` means absent.
    pub expected: Option<CommitId>,
}

impl RefChange {
    /// None at all, that only holds as long as the ref is there: the others in its transaction move if it is. (git's own `verify` looks
    /// like a deletion to hooks.)
    pub fn none(reference: String, at: CommitId) -> RefChange {
        RefChange { reference, new: Some(at.clone()), expected: Some(at) }
    }

    /// Where it goes and where it is, as git is told: absence is zeros.
    fn ends(&self) -> (String, String) {
        let RefChange { new, expected, .. } = self;
        let zero = || new.as_ref().or(expected.as_ref()).map(CommitId::zero_like).unwrap_or_default();
        let id = |commit: &Option<CommitId>| commit.as_ref().map_or_else(zero, ToString::to_string);
        (id(new), id(expected))
    }

    /// The line of `update-ref --stdin -z` that makes it.
    fn line(&self) -> Vec<u8> {
        let (new, expected) = self.ends();
        format!("update {}\0{new}\0{expected}\0", self.reference).into_bytes()
    }
}

/// Moves refs by compare-and-swap in one transaction: all of them, or none. Without any nothing is asked of git.
pub fn update_refs(repo: &Repository, changes: &[RefChange], message: &str) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let references: Vec<&str> = changes.iter().map(|change| change.reference.as_str()).collect();
    let deadline = Instant::now() + repo.patience.limit;
    while_locked(repo, &references, deadline, || try_update_refs(repo, changes, message))
}

fn try_update_refs(repo: &Repository, changes: &[RefChange], message: &str) -> Result<Attempt<()>> {
    let output = heard_by_hooks(repo, in_one(repo, changes, message)).output()?;
    if output.status.success() {
        return Ok(Attempt::Done(()));
    }
    let reader = repo.reader();
    for RefChange { reference, expected, .. } in changes {
        let now = reader.ref_commit(reference)?;
        if now != *expected {
            return Err(moved(reference, now.as_ref(), expected.as_ref()));
        }
    }
    Ok(Attempt::NotMoved(output.into_error("update-ref --stdin".to_owned()).into()))
}

/// What makes these changes in one transaction.
fn in_one<'a>(repo: &Repository, changes: impl IntoIterator<Item = &'a RefChange>, message: &str) -> GitCommand {
    let lines: Vec<u8> = changes.into_iter().flat_map(RefChange::line).collect();
    repo.bare(["update-ref", "--create-reflog", "-m", message, "--stdin", "-z"]).stdin(lines)
}

fn heard_by_hooks(repo: &Repository, command: GitCommand) -> GitCommand {
    if repo.hooks == Hooks::Unconfined { command.with_hooks() } else { command }
}

fn moved(reference: &str, now: Option<&CommitId>, expected: Option<&CommitId>) -> WorktreeError {
    let (now, expected) = (now.map_or("absent", CommitId::as_str), expected.map_or("absent", CommitId::as_str));
    WorktreeError::Busy { what: reference.to_owned(), holder: format!("it is {now} now, not {expected}") }
}
