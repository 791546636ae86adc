//! Admission: a task whose turn it is in its run starts when the machine has room for it and a place among all runs of the user is
//! free, and where it is to wait for what changes the same files. While it waits, its record says for what.
//!
//! It waits in the order: a place of its agent's profile, a place of the machine, files and room; and gives the places to others
//! while it does not have those. A place lasts as long as the attempt, whatever becomes of its supervisor.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::context::{Context, RunError, Stop, blocking};
use super::same_files;
use super::shares::{Facts, short_of};
use super::slots::{Crowd, Place, Pool};
use crate::model::record::TaskRecord;
use crate::model::{Delay, TaskId};
use crate::sys::{clock, machine};

/// How often it is looked whether there is room again, or files are free: the kernel does not tell.
const LOOK: Duration = Duration::from_secs(1);

/// The turn of one of a run's tasks in a queue.
pub type Turn = tokio::sync::OwnedMutexGuard<()>;

/// What waiting came to.
#[derive(Debug)]
pub enum Admitted {
    /// It may start, and has these places until they are dropped; the second is to be dropped when it has been recorded that
    /// it does: until then no other task of the run is admitted.
    Go(Vec<Place>, Turn),
    /// It has to stop, or its run pauses.
    Not,
}

/// Waits until a task may start.
pub async fn admit(context: &Arc<Context>, id: &TaskId) -> Result<Admitted, RunError> {
    let task = context.task(id)?;
    let mut news = Noted { context, id, told: task.delay.is_some() };
    let mut moves = context.target_news();
    while !context.is_hindered(id) {
        let Some(places) = wait_for_places(context, &task, &mut news).await? else { break };
        let turn = context.queue_for("room").lock_owned().await;
        let met = {
            let (context, task) = (Arc::clone(context), task.clone());
            blocking(move || same_files::met(&context, &task)).await??
        };
        let hindrance = match met {
            None => lacks(context, &task)?,
            met => met,
        };
        match hindrance {
            None => return Ok(Admitted::Go(places, turn)),
            Some(why) => news.tell(why)?,
        }
        drop((places, turn));
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            // Something may have landed.
            Ok(()) = moves.changed() => {}
            () = hindered(context.stop_of(id)) => break,
        }
    }
    Ok(Admitted::Not)
}

/// A place of each kind that is shared; `None` when it has to stop first.
async fn wait_for_places(
    context: &Context,
    task: &TaskRecord,
    news: &mut Noted<'_>,
) -> Result<Option<Vec<Place>>, RunError> {
    let profile = task.next_agent().map_or(&task.spec.agent, |choice| &choice.profile);
    let (policy, mut places) = (&context.run.admission, Vec::new());
    let kinds = [
        policy.of_profile(profile).map(|size| (Kind::Profile(profile), size)),
        (policy.slots > 0).then_some((Kind::Machine, policy.slots)),
    ];
    for wanted in kinds.into_iter().flatten() {
        match wait_for_place(context, &task.id, wanted, news).await? {
            Some(place) => places.push(place),
            None => return Ok(None),
        }
    }
    Ok(Some(places))
}

/// What the machine lacks for one more task.
fn lacks(context: &Context, task: &TaskRecord) -> Result<Option<String>, RunError> {
    let policy = &context.run.admission;
    let trees = context.paths(&task.id)?.enclosure;
    let disks = [machine::disk(&context.repo.common_dir), machine::disk(&trees)].into_iter().flatten().collect();
    let mut facts = Facts { memory: machine::memory(), disks, others_at_work: true };
    if short_of(&facts, policy).is_some() {
        let tasks = context.store(|store| store.tasks(&context.run.id))?;
        facts.others_at_work = tasks.iter().any(|other| other.state.is_active());
    }
    Ok(short_of(&facts, policy))
}

/// `None` when it has to stop first. One task of the run at a time waits for a place of a kind: the first come is served first.
async fn wait_for_place(
    context: &Context,
    id: &TaskId,
    (kind, size): (Kind<'_>, u64),
    news: &mut Noted<'_>,
) -> Result<Option<Place>, RunError> {
    let (name, behind) = (kind.pool(), || kind.words("other tasks of its run come first"));
    let Some(_turn) = wait_for_turn(context, id, &name, || news.tell(behind())).await? else { return Ok(None) };
    let mut waiter = Pool::open(&name, size)?.wait(&context.run.id)?;
    loop {
        if context.is_hindered(id) {
            return Ok(None);
        }
        match waiter.try_take()? {
            Ok(place) => return Ok(Some(place)),
            Err(crowd) => news.tell(kind.words(&described(&crowd, size)))?,
        }
        tokio::select! {
            changed = waiter.changed() => changed?,
            () = hindered(context.stop_of(id)) => return Ok(None),
        }
    }
}

/// `None` when it has to stop first. That it waits is told when it does so for longer than a moment.
async fn wait_for_turn(
    context: &Context,
    id: &TaskId,
    name: &str,
    tell: impl FnOnce() -> Result<(), RunError>,
) -> Result<Option<Turn>, RunError> {
    let mut tell = Some(tell);
    let waiting = context.queue_for(name).lock_owned();
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            turn = &mut waiting => return Ok(Some(turn)),
            () = hindered(context.stop_of(id)) => return Ok(None),
            () = tokio::time::sleep(LOOK), if tell.is_some() => tell.take().map_or(Ok(()), |tell| tell())?,
        }
    }
}

fn described(crowd: &Crowd, size: u64) -> String {
    let others = match crowd.waiting {
        0 => String::new(),
        1 => ", and 1 other run waits".to_owned(),
        waiting => format!(", and {waiting} other runs wait"),
    };
    format!("{} of {size} are taken{others}", crowd.taken)
}

/// What a place is of.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Profile(&'a str),
    Machine,
}

impl Kind<'_> {
    /// The name of its pool.
    fn pool(self) -> String {
        match self {
            Kind::Profile(profile) => format!("profile-{profile}"),
            Kind::Machine => "machine".to_owned(),
        }
    }

    fn words(self, how: &str) -> String {
        let (of, key) = match self {
            Kind::Profile(profile) => (format!("of profile {profile}"), "supervise.profile_slots"),
            Kind::Machine => ("of this machine".to_owned(), "supervise.slots"),
        };
        format!("waits for a place {of}: {how} ({key})")
    }
}

/// Comes when a task may not start any more.
async fn hindered(mut stop: Stop<'_>) {
    // When nobody can say any more that it is to stop, the run is over.
    let _gone = stop.news.wait_for(|stopping| stop.tasks.iter().any(|task| stopping.hinders(task))).await;
}

/// What of the waiting is on record.
struct Noted<'a> {
    context: &'a Context,
    id: &'a TaskId,
    told: bool,
}

impl Noted<'_> {
    /// Writes down what a task waits for, once for each thing.
    fn tell(&mut self, why: String) -> Result<(), RunError> {
        let (run, now) = (&self.context.run.id, clock::now());
        let known = if self.told { self.context.task(self.id)?.delay } else { None };
        let same = known.as_ref().is_some_and(|delay| thing(&delay.why) == thing(&why));
        if same {
            return Ok(());
        }
        self.told = true;
        let delay = Delay { why, since: now, until: None };
        let data = json!({"delay": delay});
        self.context.store(|s| s.edit_task(run, self.id, "task.waits", data, |task| task.delay = Some(delay)))?;
        Ok(())
    }
}

/// What is waited for, without the figures.
fn thing(why: &str) -> &str {
    why.split_once(':').map_or(why, |(thing, _)| thing)
}
