//! Keeping an eye on the branch that a run lands on: when it moves, or its counterpart on the remote does (a landing, a commit, a
//! fetch, by whomever), each task at work is told how its base stands now, by the file `fresh.json` in its mail.
//!
//! The refs are watched, not asked for; a remote is never. What cannot be looked at is told to nobody, and ends nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::behind::{self, Lacks, Target};
use super::context::{Context, RunError, blocking};
use super::post::Rung;
use crate::model::cause::chain;
use crate::model::record::TaskRecord;
use crate::model::{CommitId, Freshness, TaskFreshness, TaskId};
use crate::store::StoreError;
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::worktree::remote::Lookup;
use crate::worktree::{Repository, WorktreeError};

/// What a task is told, in its home.
const FRESH: &str = ".treehand/fresh.json";

/// How often the refs are looked at where nothing tells that they moved.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look at least lasts: several landings at once are told once.
const PACE: Duration = Duration::from_millis(200);

/// The target of the run as it is known now. It is looked at anew when one of its refs has moved.
pub fn target(context: &Context, reader: &Reader) -> Result<Arc<Target>, WorktreeError> {
    let found = match context.known_target() {
        Some(known) if known.stands(reader)? => return Ok(known),
        Some(known) => known.again(&context.repo, reader)?,
        None => {
            let lookup = Lookup { offline: true, deadline: Duration::ZERO, window: Duration::ZERO, recall: true };
            Target::look(&context.repo, reader, &context.run.into, lookup)?
        }
    };
    let found = Arc::new(found);
    context.know_target(&found);
    Ok(found)
}

/// What a task lacks of the target of its run.
pub fn lacks(context: &Context, reader: &Reader, target: &Target, task: &TaskRecord) -> Result<Lacks, RunError> {
    let needs = behind::needs(task, |id| context.task(id))?;
    Ok(behind::lacks(reader, target, (&context.run, task), &behind::landed(reader, &needs)?)?)
}

/// Watches until the run is over; who waits for news of the target hears of each move. For runs in which somebody works.
pub async fn watch(context: Arc<Context>) {
    let bell = Arc::new(Notify::new());
    let (mut watched, mut rungs): (Vec<PathBuf>, Option<Vec<Rung>>) = (Vec::new(), Some(Vec::new()));
    loop {
        let places = {
            let context = Arc::clone(&context);
            blocking(move || {
                target(&context, &context.repo.reader())
                    .inspect_err(|error| tracing::warn!(error = chain(error), "the target is not looked at"))
                    .map_or_else(|_| Vec::new(), |target| places(&context.repo, &target))
            })
            .await
        };
        let Ok(places) = places else { return };
        if !places.is_empty() && places != watched {
            // One directory has one watch: the old ones go first.
            drop(rungs.take());
            rungs = places.iter().map(|place| context.watch_directory(place, &bell)).collect();
            watched = places;
            // It may have moved before it was watched.
            continue;
        }
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(LOOK), if rungs.is_none() => {}
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The directories in which something happens when one of the refs moves, as far as they are there: those of the refs, and that
/// of packed ones.
fn places(repo: &Repository, target: &Target) -> Vec<PathBuf> {
    let common = &repo.common_dir;
    let of_ref = |(name, _): &(String, Option<CommitId>)| {
        let path = common.join(name);
        path.ancestors().skip(1).find(|directory| directory.is_dir()).map(Path::to_owned)
    };
    let mut places: Vec<PathBuf> = target.refs.iter().filter_map(of_ref).collect();
    places.extend([common.clone(), common.join("reftable")].into_iter().filter(|place| place.is_dir()));
    places.sort();
    places.dedup();
    places
}

/// Tells a task at work how its base stands.
pub async fn tell(context: &Arc<Context>, id: &TaskId, home: &Path) -> Result<(), RunError> {
    let told = {
        let (context, id, home) = (Arc::clone(context), id.clone(), home.to_owned());
        blocking(move || try_tell(&context, &id, &home)).await?
    };
    match told {
        Err(error @ RunError::Store(_)) => Err(error),
        Err(error) => {
            tracing::warn!(task = %id, error = chain(&error), "it is not told how its base stands");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn try_tell(context: &Context, id: &TaskId, home: &Path) -> Result<(), RunError> {
    let document = document(context, id)?;
    fs::write_beneath(home, Path::new(FRESH), format!("{document}\n").as_bytes(), None)?;
    Ok(())
}

/// How the base of a task stands, as it is told, which is on record then.
pub fn document(context: &Context, id: &TaskId) -> Result<Value, RunError> {
    let (reader, task) = (context.repo.reader(), context.task(id)?);
    let target = target(context, &reader)?;
    let lacks = lacks(context, &reader, &target, &task)?;
    let written = lacks.written_in(&reader, (&context.paths(id)?.tree, &task))?;
    let fresh = lacks.told(Some(written));
    let document = json!({"state": fresh.state, "missing": fresh.missing, "touches": fresh.touches,
        "target": context.run.into, "tip": target.newest});
    note(context, &task, &fresh)?;
    Ok(document)
}

/// Writes down how the base of a task stands, when that is another word than before.
pub fn note(context: &Context, task: &TaskRecord, fresh: &TaskFreshness) -> Result<(), StoreError> {
    // That nobody asked the remote is no news.
    let state = if fresh.missing.is_empty() { Freshness::Fresh } else { fresh.state };
    if task.told.unwrap_or(Freshness::Fresh) == state {
        return Ok(());
    }
    let data = json!({"state": state, "missing": fresh.missing, "touches": fresh.touches});
    let told = |task: &mut TaskRecord| task.told = Some(state);
    context.store(|store| store.edit_task(&context.run.id, &task.id, "task.stale", data, told)).map(drop)
}
