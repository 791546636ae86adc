//! Apply: notes that a repository is gone, puts away what it left, and deletes that, one of them in a call.
//!
//! Every rename is on record before the first is done, so that a call which dies is completed by the next, and a repository that
//! comes back finds all. Under the lock that it waits for, whether it is gone is looked up once more. Without `apply` nothing is written.

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use super::decide::{self, Due, Part, Policy, Rest};
use super::scan::{self, Look};
use crate::cleanup::clean::types::{Kept, Kind, Outcome};
use crate::cleanup::done::Done;
use crate::cleanup::error::Result;
use crate::cleanup::remove::decide::DirId;
use crate::cleanup::trash;
use crate::model::cause::chain;
use crate::model::{Span, Timestamp};
use crate::sys::fs;
use crate::worktree::departed::{self, Away, Departed, Record, Shelved};
use crate::worktree::registry::{Known, Whereabouts};

/// A directory that is put away or deleted, as actions of `clean` are told.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    kind: Kind,
    item: String,
    proof: String,
    expect: String,
    outcome: Outcome,
    reason: Option<String>,
    bytes: u64,
    salvage: [String; 0],
}

/// What became of what a repository left.
#[derive(Clone, Debug)]
pub struct Attended {
    /// In a word: `kept`, `planned`, `done`.
    pub word: &'static str,
    /// Why.
    pub reason: String,
    /// What was put away or deleted.
    pub actions: Vec<Action>,
    /// What stays, and why.
    pub kept: Vec<Kept>,
    /// How many bytes of the disk were given back.
    pub freed: u64,
}

impl Attended {
    /// Without anything that goes.
    fn kept(reason: String) -> Attended {
        Attended { word: "kept", reason, actions: Vec::new(), kept: Vec::new(), freed: 0 }
    }
}

/// Does with what a gone repository left what the time has come for.
pub fn attend(known: &Known, policy: &Policy, apply: bool) -> Result<Attended> {
    let call = Call { known, policy, apply, departed: known.departed() };
    if known.left()?.is_none() {
        if apply && call.is_gone()? {
            known.forget()?;
        }
        return Ok(call.goes("nothing of it is left", Vec::new()));
    }
    if !apply {
        return call.attend();
    }
    let _alone = call.departed.lock()?;
    match call.is_gone()? {
        true => call.attend(),
        false => Ok(Attended::kept(USED.into())),
    }
}

/// Tells what is still put away of a repository that is here: it should have come back when that was used. What was being
/// deleted goes to its end.
pub fn linger(known: &Known, policy: &Policy, apply: bool) -> Result<Option<Attended>> {
    let departed = known.departed();
    let sentences = departed::stuck(&departed)?;
    if sentences.is_empty() {
        return Ok(None);
    }
    let call = Call { known, policy, apply, departed };
    if apply {
        let _alone = call.departed.lock()?;
        if let Some((record, away)) = call.away()?.filter(|(_, away)| away.doomed) {
            return call.delete(record, away).map(Some);
        }
    }
    let item = call.departed.record().display().to_string();
    let kept = |reason: String| Kept { kind: Kind::State, item: item.clone(), reason };
    let kept = sentences.into_iter().map(kept).collect();
    Ok(Some(Attended { kept, ..Attended::kept("not all that it left at its former place is back".into()) }))
}

const USED: &str = "it was used again meanwhile";

struct Call<'a> {
    known: &'a Known,
    policy: &'a Policy,
    apply: bool,
    departed: Departed,
}

impl Call<'_> {
    fn goes(&self, what: &str, actions: Vec<Action>) -> Attended {
        let word = if self.apply { "done" } else { "planned" };
        let freed = 0;
        Attended { word, reason: format!("it was deleted or moved, and {what}"), actions, kept: Vec::new(), freed }
    }

    fn stays(&self, why: &str) -> Result<Attended> {
        let left = self.known.left()?.map_or_else(String::new, |left| left.display().to_string());
        Ok(Attended::kept(format!("it was deleted or moved; what is left of its tasks stays in {left}{why}")))
    }

    fn waits(&self, what: &str) -> Attended {
        let record = self.departed.record();
        let back = format!("as {} says, and comes back when it is used again", record.display());
        Attended::kept(format!("it was deleted or moved; what it left is put away, {back}; {what}"))
    }

    /// A moment to come, for the clock that is believed.
    fn moment(&self, until: Timestamp) -> String {
        let ahead = if self.policy.now >= until { ", by a clock that did not just go ahead" } else { "" };
        format!("{until}{ahead}")
    }

    /// Whether it still is, wherever it was used last.
    fn is_gone(&self) -> Result<bool> {
        Ok(self.known.again()?.is_some_and(|known| known.whereabouts() == Whereabouts::Gone))
    }

    fn away(&self) -> Result<Option<(Record, Away)>> {
        Ok(self.departed.read()?.and_then(|record| Some((record.clone(), record.away?))))
    }

    /// This moment, by the clock that says the later.
    fn now(&self) -> Timestamp {
        self.policy.now.max(self.policy.proven_now)
    }

    fn attend(&self) -> Result<Attended> {
        let away = self.away()?;
        if let Some((record, away)) = &away
            && !away.doomed
            && let waiting = pending(away)?
            && !waiting.is_empty()
        {
            return self.complete(record, away, &waiting);
        }
        let record = self.departed.read()?;
        match (decide::due(record.as_ref(), self.policy), away) {
            (Due::Note(since), _) => {
                if self.apply {
                    self.departed.write(&Record::new(since))?;
                }
                let span = Span(self.policy.retention);
                self.stays(&format!(" until that has been known for {span} (`clean --all-repos --yes` notes it)"))
            }
            (Due::Wait(until), None) => self.stays(&format!(" until {}", self.moment(until))),
            (Due::Wait(until), Some(_)) => Ok(self.waits(&format!("it is deleted after {}", self.moment(until)))),
            (Due::Delete, Some((record, away))) => self.delete(record, away),
            (Due::Delete | Due::PutAway, _) => self.put_away(record.unwrap_or_else(|| Record::new(self.now()))),
        }
    }

    fn put_away(&self, record: Record) -> Result<Attended> {
        let rest = scan::rest(self.known)?;
        if let Err(why) = decide::judge(&rest, self.policy) {
            return self.stays(&format!(": {why}"));
        }
        let mut attended = self.goes(PUT_AWAY, rest.parts.iter().map(|part| action(part, record.since)).collect());
        attended.kept.extend(rest.unproven.iter().map(|(place, why)| Kept {
            kind: Kind::State,
            item: place.display().to_string(),
            reason: format!("not touched: {why}"),
        }));
        if !self.apply {
            return Ok(attended);
        }
        if !self.is_gone()? {
            return Ok(Attended::kept(USED.into()));
        }
        let stamp = trash::stamp()?;
        let moves = self.moves(&rest, &stamp);
        let away = Away { stamp, at: self.now(), moves: moves.clone(), doomed: false };
        self.departed.write(&record.with(away))?;
        attended.actions.iter_mut().zip(&moves).for_each(|(action, shelved)| action.is(shelve(shelved)));
        Ok(attended)
    }

    /// Where each part goes: what is in the user's state within that, a box beside where it is.
    fn moves(&self, rest: &Rest, stamp: &str) -> Vec<Shelved> {
        let shelf = self.departed.shelf(stamp);
        let place = |(number, part): (usize, &Part)| {
            let mut name = OsString::from(format!("{number}-"));
            name.push(part.path.file_name().unwrap_or_default());
            let to = match &part.path {
                path if *path == self.known.sealed() => shelf.join("sealed"),
                path if *path == self.known.store() => shelf.join("store"),
                path => path.with_file_name(trash::BESIDE).join(stamp).join(name),
            };
            Shelved { from: part.path.clone(), to, device: part.id.dev, inode: part.id.ino }
        };
        rest.parts.iter().enumerate().map(place).collect()
    }

    /// Ends what a call that died had begun; its time begins anew.
    fn complete(&self, record: &Record, away: &Away, waiting: &[&Shelved]) -> Result<Attended> {
        let (look, mut actions) = (Look::new()?, Vec::new());
        for Shelved { from, device, inode, .. } in waiting.iter().copied() {
            if let Err(why) = look.inside(from).none(from) {
                return self.stays(&format!(" in part, and the rest is put away: {why}"));
            }
            let proof = format!(
                "a call that died was putting it away; the repository is not at its place since {}",
                record.since
            );
            actions.push(Action::planned(from, proof, DirId { dev: *device, ino: *inode }.to_string()));
        }
        let mut attended = self.goes(PUT_AWAY, actions);
        if self.apply {
            let away = Away { at: self.now(), ..away.clone() };
            self.departed.write(&record.with(away))?;
            attended.actions.iter_mut().zip(waiting).for_each(|(action, shelved)| action.is(shelve(shelved)));
        }
        Ok(attended)
    }

    /// What keeps what was put away from being deleted whole.
    fn undeletable(&self, away: &Away) -> Result<Option<String>> {
        let (look, shelf) = (Look::new()?, self.departed.shelf(&away.stamp));
        for Shelved { from, to, .. } in &away.moves {
            if let Err(why) = look.inside(to).none(to) {
                return Ok(Some(why));
            }
            if !to.starts_with(&shelf) && !fs::exists(to)? && scan::may_be_unmounted(from, self.known)? {
                return Ok(Some(format!("{} is not there, but its disk may not be mounted", to.display())));
            }
        }
        Ok(None)
    }

    /// Deletes what was put away. That is on record before, so that no half of it comes back.
    fn delete(&self, record: Record, away: Away) -> Result<Attended> {
        if !away.doomed
            && let Some(why) = self.undeletable(&away)?
        {
            return Ok(self.waits(&why));
        }
        if self.apply {
            self.departed.write(&record.with(Away { doomed: true, ..away.clone() }))?;
        }
        let mut attended = self.goes("what it left was put away and is deleted", Vec::new());
        for shelved in &away.moves {
            if fs::exists(&shelved.to)? {
                let proof = format!("it was {}, and is put away since {}", shelved.from.display(), away.at);
                let mut action = Action::planned(&shelved.to, proof, format!("inode {}", shelved.inode));
                if self.apply {
                    action.is(delete(shelved));
                }
                attended.actions.push(action);
            }
        }
        if self.apply {
            let gone = |action: &&Action| action.outcome == Outcome::Done;
            attended.freed = attended.actions.iter().filter(gone).map(|action| action.bytes).sum();
            if attended.actions.iter().all(|action| gone(&action)) {
                self.departed.forget(Some(&away))?;
                if self.is_gone()? && self.known.left()?.is_none() {
                    self.known.forget()?;
                }
            }
        }
        Ok(attended)
    }
}

const PUT_AWAY: &str = "what it left is put away until it is used again, or `clean.retention` is over once more";

/// Renames that wait to be done.
fn pending(away: &Away) -> Result<Vec<&Shelved>> {
    let mut waiting = Vec::new();
    for shelved in &away.moves {
        if shelved.is_pending()? {
            waiting.push(shelved);
        }
    }
    Ok(waiting)
}

fn shelve(shelved: &Shelved) -> Result<Done> {
    if !shelved.is_pending()? {
        return Done::skipped("it has changed since it was looked at");
    }
    shelved.shelve()?;
    Ok(Done::plain())
}

fn delete(shelved: &Shelved) -> Result<Done> {
    if !shelved.lies()? {
        return Done::skipped("it is not the directory that was put away");
    }
    Ok(Done::Freed(fs::remove_counting(&shelved.to)?))
}

fn action(part: &Part, since: Timestamp) -> Action {
    Action::planned(
        &part.path,
        format!("{}; the repository is not at its place since {since}", part.proof),
        part.id.to_string(),
    )
}

impl Action {
    fn planned(path: &Path, proof: String, expect: String) -> Action {
        Action {
            kind: Kind::State,
            item: path.display().to_string(),
            proof,
            expect,
            outcome: Outcome::Planned,
            reason: None,
            bytes: fs::disk_usage(path),
            salvage: [],
        }
    }

    /// Notes how it came out.
    fn is(&mut self, done: Result<Done>) {
        match done {
            Ok(Done::Yes { note, .. }) => (self.outcome, self.reason) = (Outcome::Done, note),
            Ok(Done::Freed(bytes)) => (self.outcome, self.bytes) = (Outcome::Done, bytes),
            Ok(Done::Skipped(why)) => (self.outcome, self.reason) = (Outcome::Skipped, Some(why)),
            Err(error) => (self.outcome, self.reason) = (Outcome::Failed, Some(chain(&error))),
        }
    }
}
