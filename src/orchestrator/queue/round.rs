//! Apply: one round of the queue: the longest batch that merges is judged once, on exactly the tree that would land, and becomes
//! the new tip by compare-and-swap. A red batch is searched: what is before the culprit lands, the culprit is refused.
//!
//! Nothing is concluded from a tip that has moved meanwhile. A conflict leaves every tree and ref untouched.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::bell;
use super::place::{self, Ground};
use super::scan;
use super::search::{Found, Search, Trial};
use super::stack::{Link, Stack};
use crate::model::cause::chain;
use crate::model::{CommitId, GateSpec, QueueEntry, Reason, ReasonKind, Timestamp};
use crate::orchestrator::context::{Context, RunError, blocking};
use crate::orchestrator::gates::{self, Judged, Verdict};
use crate::orchestrator::recover::{Meant, One};
use crate::orchestrator::{kept, recover, room};
use crate::store::{Intent, Landing};
use crate::sys::clock;
use crate::worktree::WorktreeError;
use crate::worktree::advance::Advanced;
use crate::worktree::housekeeping;
use crate::worktree::import::RefChange;
use crate::worktree::index_lock::Obstacle;

/// How a round went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Round {
    /// The remote that is to be landed on does not answer, for this reason.
    Silent(String),
    /// Something landed or was refused.
    Progress,
    /// Something that it rested on is otherwise now; it has to be looked at anew.
    Changed,
    /// The branch moved meanwhile.
    Raced,
    /// So many cannot land together: one at a time.
    Divide(usize),
}

/// Tries these entries, which are first in the queue of the run's branch and are judged in the same way.
pub async fn round(context: &Arc<Context>, entries: Vec<QueueEntry>) -> Result<Round, RunError> {
    let ground = {
        let (context, entries) = (Arc::clone(context), entries.clone());
        blocking(move || place::look(&context, &entries)).await?
    };
    let Ground { tip, landed } = match (ground, &context.run.push) {
        (Err(RunError::Worktree(error)), Some(target)) => return Ok(Round::Silent(place::silence(target, &error))),
        (ground, _) => ground?,
    };
    let Some(tip) = tip else {
        let message = format!("the branch `{}` is gone", context.run.into);
        refuse(context, &entries, &Reason::new(ReasonKind::InTheWay, message))?;
        return Ok(Round::Progress);
    };
    if !landed.is_empty() {
        record_elsewhere(context, &landed)?;
        return Ok(Round::Progress);
    }
    let stack = {
        let (context, tip) = (Arc::clone(context), tip.clone());
        blocking(move || -> Result<Stack, RunError> {
            let subjects = context.store(|store| scan::subjects(store, &entries))?;
            Stack::build(&context.repo, (&context.run.into, &tip), subjects)
        })
        .await??
    };
    for (entry, reason) in &stack.refused {
        refuse(context, std::slice::from_ref(entry), reason)?;
    }
    if stack.links.is_empty() {
        let refused = !stack.refused.is_empty();
        stack.quarantine.discard()?;
        return Ok(if refused { Round::Progress } else { Round::Changed });
    }
    let trials = Trials { context, stack: Arc::new(stack) };
    let judged = trials.judge().await;
    let stack = Arc::into_inner(trials.stack);
    let stack = stack.ok_or_else(|| RunError::Usage { message: "a batch is judged twice at once".into() })?;
    match judged {
        Ok(Conclusion::Lands(count)) => land(context, stack, count).await,
        Ok(Conclusion::Culprit { found, why }) => refuse_culprit(context, stack, found, why).await,
        Ok(Conclusion::Cancelled) => {
            stack.quarantine.discard()?;
            Ok(Round::Changed)
        }
        Err(error) => {
            stack.quarantine.discard()?;
            Err(error)
        }
    }
}

/// What is before the culprit was green, and lands; the culprit is refused where that is what it was found out on.
async fn refuse_culprit(context: &Arc<Context>, stack: Stack, found: Found, why: Failure) -> Result<Round, RunError> {
    let (before, tip) = (found.culprit - 1, stack.tip.clone());
    let Some(culprit) = stack.links.get(before).map(|link| link.subject.entry.clone()) else {
        return Ok(Round::Changed);
    };
    let reason = why.reason(found.with.and_then(|with| stack.links.get(with - 1)));
    let stands = if before == 0 {
        stack.quarantine.discard()?;
        place::stands(context, &tip)?
    } else {
        match land(context, stack, before).await? {
            Round::Progress => true,
            other => return Ok(other),
        }
    };
    if !stands {
        return Ok(Round::Raced);
    }
    refuse(context, &[culprit], &reason)?;
    Ok(Round::Progress)
}

/// What judging a batch came to.
enum Conclusion {
    /// The first so many land.
    Lands(usize),
    /// One fails.
    Culprit { found: Found, why: Failure },
    /// Somebody wants one of them no longer.
    Cancelled,
}

/// How a gate failed.
#[derive(Clone, Debug)]
struct Failure {
    message: String,
    log: PathBuf,
}

impl Failure {
    /// Why a result is refused; `with` is what it does not go together with.
    fn reason(self, with: Option<&Link>) -> Reason {
        let message = match with {
            None => self.message,
            Some(link) => {
                let name = link.subject.entry.name();
                format!("{}; it passes without {name}, which lands before it: the two do not go together", self.message)
            }
        };
        let log = Some(self.log.to_string_lossy().into_owned());
        Reason { log, ..Reason::new(ReasonKind::Gate, message) }
    }
}

/// The gates at work on a stack.
struct Trials<'a> {
    context: &'a Arc<Context>,
    stack: Arc<Stack>,
}

impl Trials<'_> {
    async fn judge(&self) -> Result<Conclusion, RunError> {
        let count = self.stack.links.len();
        if self.gates().is_empty() {
            return Ok(Conclusion::Lands(count));
        }
        let entries: Vec<QueueEntry> = self.stack.links.iter().map(|link| link.subject.entry.clone()).collect();
        let now = Some(clock::now());
        let data = json!({"batch": entries.iter().map(QueueEntry::name).collect::<Vec<_>>()});
        self.context.store(|s| s.edit_queue(&entries, "queue.judged", &data, |entry| entry.judged_since = now))?;
        let mut why = match self.trial(Trial::Beginning(count), count).await? {
            Verdict::Passed => return Ok(Conclusion::Lands(count)),
            Verdict::Cancelled => return Ok(Conclusion::Cancelled),
            Verdict::Failed { message, log } => Failure { message, log },
        };
        let mut search = Search::among(count);
        loop {
            let trial = match search.next() {
                Ok(found) => return Ok(Conclusion::Culprit { found, why }),
                Err(trial) => trial,
            };
            let verdict = self.trial(trial, search.culprit().unwrap_or(count)).await?;
            if let (Trial::Beginning(_), Verdict::Failed { message, log }) = (trial, &verdict) {
                why = Failure { message: message.clone(), log: log.clone() };
            }
            match verdict {
                Verdict::Cancelled => return Ok(Conclusion::Cancelled),
                verdict => search = search.learn(trial, verdict == Verdict::Passed),
            }
        }
    }

    /// Those of its first, which are those of all.
    fn gates(&self) -> &[GateSpec] {
        self.stack.links.first().map_or(&[], |link| link.subject.gates.as_slice())
    }

    /// Judges some of the batch; `culprit` is the one that is tried without what is before it.
    async fn trial(&self, trial: Trial, culprit: usize) -> Result<Verdict, RunError> {
        let links = &self.stack.links;
        let (commit, together) = match trial {
            Trial::Beginning(count) => (Some(links[count - 1].after.clone()), &links[..count]),
            Trial::CulpritBehind(count) => {
                let onto = links[..count].last().map_or(&self.stack.tip, |link| &link.after).clone();
                let (context, stack) = (Arc::clone(self.context), Arc::clone(&self.stack));
                let put = blocking(move || stack.elsewhere(&context.repo, culprit - 1, &onto)).await??;
                (put, &links[culprit - 1..culprit])
            }
        };
        // It needs something of what is left out: that is no way for it to pass.
        let Some(commit) = commit else {
            return Ok(Verdict::Failed { message: String::new(), log: PathBuf::new() });
        };
        let (stack, made) = (Arc::clone(&self.stack), commit.clone());
        let tree = blocking(move || stack.tree_of(&made)).await??;
        let source = self.stack.quarantine.git_dir().to_owned();
        let entries = together.iter().map(|link| link.subject.entry.clone()).collect();
        gates::judge(self.context, self.gates(), &Judged { commit, tree, source, entries }).await
    }
}

/// Lands the first so many of a stack.
async fn land(context: &Arc<Context>, stack: Stack, count: usize) -> Result<Round, RunError> {
    let lowest = stack.links.first().map(|link| link.subject.entry.clone());
    let moved = {
        let context = Arc::clone(context);
        blocking(move || move_target(&context, stack, count)).await?
    };
    let refuse_lowest = |kind, message: String| -> Result<Round, RunError> {
        refuse(context, lowest.as_slice(), &Reason::new(kind, message))?;
        Ok(Round::Progress)
    };
    match moved {
        Ok(Moved::Landed) => {
            tidy_up(context).await?;
            Ok(Round::Progress)
        }
        Ok(Moved::Unwanted) => Ok(Round::Changed),
        Ok(Moved::Refused(_)) if count > 1 => Ok(Round::Divide(count)),
        Ok(Moved::Refused(why)) => {
            let target = context.run.push.as_ref().map(ToString::to_string).unwrap_or_default();
            refuse_lowest(ReasonKind::Policy, format!("{target} does not take it: {why}"))
        }
        Ok(Moved::Not(Advanced::InTheWay(_) | Advanced::Busy { .. })) if count > 1 => Ok(Round::Divide(count)),
        Ok(Moved::Not(Advanced::InTheWay(Obstacle { message, paths }))) => {
            refuse(context, lowest.as_slice(), &Reason::new(ReasonKind::InTheWay, message).with_paths(paths))?;
            Ok(Round::Progress)
        }
        Ok(Moved::Not(Advanced::Busy { lock })) => {
            // Left by a process that died, perhaps: then it is completed, and this landing tried again.
            let repo = context.repo.clone();
            let recovered = blocking(move || recover::recover(&repo, &repo.store()?)).await??;
            if !recovered.settled.is_empty() {
                return Ok(Round::Changed);
            }
            refuse_lowest(ReasonKind::Busy, format!("{} is held by another git process", lock.display()))
        }
        Ok(Moved::Not(_)) => Ok(Round::Raced),
        // It is the disk's doing, and no result's.
        Err(error) if room::is_full(&error) => Err(error),
        Err(RunError::Worktree(_)) if count > 1 => Ok(Round::Divide(count)),
        Err(RunError::Worktree(error @ WorktreeError::Locked { .. })) => refuse_lowest(ReasonKind::Busy, chain(&error)),
        // What git cannot do with this result is this result's end, not the run's. Nothing of it has landed.
        Err(RunError::Worktree(error)) if !matches!(error, WorktreeError::Store(_)) => {
            refuse_lowest(ReasonKind::Failed, format!("it cannot be landed: {}", chain(&error)))
        }
        Err(error) => Err(error),
    }
}

/// Says of entries that are still there why they do not land; each one's owner acts on it.
pub fn refuse(context: &Context, entries: &[QueueEntry], reason: &Reason) -> Result<(), RunError> {
    let reason = context.without_secrets(reason.clone())?;
    let data = json!({"reason": reason});
    let change = |entry: &mut QueueEntry| entry.refused = Some(reason.clone());
    context.store(|store| store.edit_queue(entries, "queue.refused", &data, change))?;
    bell::ring(&context.repo)
}

/// Has git roll up the packs of many results. It has landed, whatever comes of that.
async fn tidy_up(context: &Arc<Context>) -> Result<(), RunError> {
    let repo = context.repo.clone();
    if let Err(error) = blocking(move || housekeeping::roll_up(&repo)).await? {
        tracing::warn!(error = chain(&error), "the packs of results are not rolled up");
    }
    Ok(())
}

/// How moving the target went.
enum Moved {
    Landed,
    /// One of them is held back, dropped or cancelled since.
    Unwanted,
    /// The remote does not want it.
    Refused(String),
    Not(Advanced),
}

fn move_target(context: &Context, mut stack: Stack, count: usize) -> Result<Moved, RunError> {
    stack.whole &= stack.links.len() == count;
    stack.links.truncate(count);
    let Stack { quarantine, into, tip, links, whole, .. } = stack;
    let entries: Vec<QueueEntry> = links.iter().map(|link| link.subject.entry.clone()).collect();
    // Before anything of it comes into the repository, where it would stay as garbage.
    if !context.store(|store| scan::still_wanted(store, &into, &entries))? {
        quarantine.discard()?;
        return Ok(Moved::Unwanted);
    }
    let after = links.last().map_or(&tip, |link| &link.after);
    if !place::stands(context, &tip)? {
        quarantine.discard()?;
        return Ok(Moved::Not(Advanced::Raced));
    }
    if *after == tip {
        quarantine.discard()?;
        record(context, &links, None)?;
        return Ok(Moved::Landed);
    }
    // Each with all that it reaches. A person may take one of these branches while gates are at work, and git what only that reached; a
    // remote is sent what is here.
    let standing: Vec<RefChange> = links.iter().map(|link| link.subject.stands()).collect();
    let stand = whole && context.run.push.is_none() && kept::stand(&context.repo, &standing)?;
    let (new, known) = (std::slice::from_ref(after), std::slice::from_ref(&tip));
    let kept = if stand { quarantine.migrate_made(new, known)? } else { quarantine.migrate(new, known)? };
    let standing = if stand { standing } else { Vec::new() };
    let one = |link: &Link| {
        let QueueEntry { run, task, .. } = link.subject.entry.clone();
        One { run, task, before: link.before.clone(), after: link.after.clone() }
    };
    let meant = Meant {
        into: into.clone(),
        before: tip.clone(),
        after: after.clone(),
        here: place::tip_here(&context.repo, &into)?.filter(|_| context.run.push.is_some()),
        push: context.run.push.clone(),
        landed: links.iter().map(one).collect(),
    };
    let intent = context.store(|store| store.intend(&meant.draft()))?;
    let message = recover::reflog(&entries.iter().map(QueueEntry::name).collect::<Vec<_>>());
    let moved = place::move_on(context, (&tip, after), (&links, &standing), &message);
    let outcome = match moved {
        // The branch here comes along while the intent is open: who dies in between has a successor that sees to it.
        Ok(place::Moved::Done) => place::follow(context, after, &message)
            .and_then(|()| record(context, &links, Some(&intent)))
            .map(|()| Moved::Landed),
        // The intent stays open: it is what recovery completes the files from.
        Ok(place::Moved::Not(Advanced::Behind { message })) => {
            record(context, &links, None)?;
            Err(RunError::Behind { message })
        }
        // Should a remote have taken it although nobody heard so, the next round there finds what says that it has landed.
        other => {
            let why = match &other {
                Ok(place::Moved::Not(why)) => format!("{why:?}"),
                Ok(place::Moved::Refused(why)) => why.clone(),
                Ok(place::Moved::Done) => String::new(),
                Err(error) => chain(error),
            };
            context.store(|store| store.failed(intent, json!({"why": why})))?;
            match other? {
                place::Moved::Not(why) => Ok(Moved::Not(why)),
                _ => Ok(Moved::Refused(why)),
            }
        }
    };
    kept.release()?;
    quarantine.discard()?;
    outcome
}

fn record(context: &Context, links: &[Link], intent: Option<&Intent>) -> Result<(), RunError> {
    // They are, where all went well: what a failing git or a remote left is made up for here.
    kept::keep(&context.repo, &links.iter().map(|link| link.subject.captured()).collect::<Vec<_>>())?;
    let at = clock::now();
    let landings: Vec<Landing<'_>> = links.iter().map(|link| landing(link, at)).collect();
    context.store(|store| store.record_landings(&landings, intent))?;
    Ok(())
}

/// What another machine has landed on the remote already is no operation of this one.
fn record_elsewhere(context: &Context, landed: &[(QueueEntry, CommitId)]) -> Result<(), RunError> {
    let captured = landed.iter().map(|(entry, _)| ((entry.run.clone(), entry.task.clone()), entry.commit.clone()));
    kept::keep(&context.repo, &captured.collect::<Vec<_>>())?;
    let at = clock::now();
    let landings: Vec<Landing<'_>> = landed
        .iter()
        .map(|(QueueEntry { run, task, target, .. }, commit)| Landing {
            run,
            task,
            into: target,
            before: commit,
            after: commit,
            at,
        })
        .collect();
    context.store(|store| store.record_landings(&landings, None))?;
    if let Some((_, last)) = landed.last() {
        place::follow(context, last, "treehand: landed on the remote")?;
    }
    Ok(())
}

fn landing(link: &Link, at: Timestamp) -> Landing<'_> {
    let QueueEntry { run, task, target, .. } = &link.subject.entry;
    Landing { run, task, into: target, before: &link.before, after: &link.after, at }
}
