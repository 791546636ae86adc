//! Scan: everything that `clean` decides on, gathered once.
//!
//! Looks and changes nothing that outlives it. What of the user's cannot be looked at is named and stays; it never counts as
//! absent. Only this repository's own things are looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ahead::{self, Question};
use super::facts::{AgedRef, DirFact, EntryFact, Facts, OpenIntent, RunFacts, RunStanding, StoredFact, WorkspaceFacts};
use super::look::Scan;
use super::scan_branches::Branches;
use super::scan_remote::Remotes;
use super::scan_runs::{self, Runs};
use super::types::{CleanPolicy, Kept, Kind};
use super::{decide, locks};
use crate::cleanup::error::Result;
use crate::cleanup::places::{children, directories, disk_there};
use crate::cleanup::ref_names::{SALVAGE_PREFIX, UNDO_PREFIX};
use crate::cleanup::remove::decide::TreeFact;
use crate::cleanup::remove::scan::{Look, dir_id};
use crate::cleanup::salvage::{self, bundled, bundles};
use crate::cleanup::undo::removal_again;
use crate::cleanup::verdict::Target;
use crate::cleanup::{held, remove, trash};
use crate::model::cause::chain;
use crate::model::operation::{OperationRecord, RemovedItem, UndoData};
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::model::{CommitId, Timestamp};
use crate::store::{Entry, Store};
use crate::sys::{fs, proc};
use crate::worktree::base_name::REQUESTS;
use crate::worktree::outputs::place;
use crate::worktree::pool::wanted;
use crate::worktree::repository::bytes_path;
use crate::worktree::{Repository, abandoned, disk, stock};

/// For so long a `git worktree add` may take to write where its tree is.
const STILLBORN: Duration = Duration::from_secs(60);

/// Looks at everything.
pub fn scan(repo: &Repository, store: &Store, policy: &CleanPolicy) -> Result<Facts> {
    let operations = store.operations()?;
    let mut facts = Facts { intents: intents(store, &operations)?, ..Facts::default() };
    // Before anything is looked up: what they answer is where refs that track them are from then on.
    let remotes = match policy.remote {
        Some(deadline) => Remotes::ask(repo, store, (policy, deadline), &operations, &mut facts)?,
        None => Remotes::default(),
    };
    let mut scan = Scan::begin(repo, store, policy)?;
    let runs = Runs::list(&mut scan)?;
    let branches = match policy.all_branches {
        true => Branches::list(&scan, &mut facts)?,
        false => Branches::default(),
    };
    let mut questions = scan.questions()?;
    questions.extend(runs.questions().chain(branches.questions()));
    let remotes = remotes.compared(&mut scan)?;
    questions.extend(remotes.questions());
    ahead::prove(repo, &scan.around.proofs, &questions);
    remotes.prove_by_forge(&scan, &questions)?;
    scan.workspaces(&mut facts)?;
    scan_runs::scan(&mut scan, runs, &mut facts)?;
    branches.scan(&scan, &mut facts)?;
    remotes.scan(&scan, &mut facts)?;
    facts.entries = scan.entries(&facts)?;
    // After everything that makes quarantines of its own.
    facts.quarantines = directories(&repo.state_dir().join("quarantine"))?;
    facts.quarantines.retain(|dir| !abandoned::is_used(&dir.path));
    facts.stock = directories(&stock::place(repo))?;
    facts.outputs = directories(&place::place(repo))?;
    facts.slots = wanted::idle(repo, policy.proven_now)?;
    facts.keeps = keeps(&repo.common_dir.join("objects/pack"))?;
    facts.emptied = scan.emptied(&operations)?;
    facts.locks = locks::scan(repo)?;
    let stored = |dir: DirFact| StoredFact { bytes: policy.disk_budget.map_or(0, |_| fs::disk_usage(&dir.path)), dir };
    facts.logs = logs(repo, &facts.runs)?.into_iter().map(stored).collect();
    let trash = scan.trash(&operations, &facts.intents, &mut facts.unreadable)?;
    facts.trash = trash.into_iter().map(stored).collect();
    facts.bundles = bundles::places(repo)?.into_iter().map(stored).collect();
    facts.aged = scan.aged(&facts.runs)?;
    // They go with their bundles.
    let bases: BTreeSet<String> = facts.bundles.iter().filter_map(|stored| bundled::base(&stored.dir.path)).collect();
    facts.aged.retain(|aged| !bases.contains(&aged.name));
    scan.around.proofs.keep();
    Ok(facts)
}

impl Scan<'_> {
    /// What will be asked about branches of workspaces.
    fn questions(&mut self) -> Result<Vec<Question>> {
        let mut questions = Vec::new();
        for record in self.records.clone() {
            let name = record.branch.full_ref();
            if let Some(tip) = self.tip(&name)? {
                let (base, targets) = (Some(record.base.commit.clone()), self.targets_of(&record.base)?);
                questions.push(Question { name, tip, base, targets, counted: true });
            }
        }
        Ok(questions)
    }

    fn workspaces(&mut self, facts: &mut Facts) -> Result<()> {
        for record in self.records.clone() {
            match self.workspace(&record) {
                Ok(found) => facts.workspaces.push(found),
                Err(error) => {
                    let reason = format!("it cannot be looked at: {}", chain(&error));
                    facts.unreadable.push(Kept { kind: Kind::Workspace, item: record.name.to_string(), reason });
                }
            }
        }
        Ok(())
    }

    fn workspace(&mut self, record: &WorkspaceRecord) -> Result<WorkspaceFacts> {
        let targets = self.targets_of(&record.base)?;
        // What stays anyway need not be looked into; what is in a sealed one does not show outside.
        if !record.sealed && record.state == WorkspaceState::Ready {
            let found = self.workspace_by(record, &targets, Look::Briefly)?;
            if decide::stays(&found, self.policy) {
                return Ok(found);
            }
        }
        self.workspace_by(record, &targets, Look::Measuring)
    }

    fn workspace_by(&self, record: &WorkspaceRecord, targets: &[Target], look: Look) -> Result<WorkspaceFacts> {
        let mut facts = remove::scan::facts(self.repo, &self.around, record, targets, look)?;
        // git writes the index when all files are there.
        let indexed = facts.git_dir.as_ref().map(|dir| fs::exists(&dir.join("index"))).transpose()?;
        let initializing = facts.locked.as_deref() == Some("initializing") || indexed == Some(false);
        let log = facts.git_dir.as_ref().map(|dir| dir.join("logs/HEAD"));
        let logged = match log.filter(|log| fs::exists(log).unwrap_or(false)) {
            Some(log) => trash::changed_at(&log)?,
            None => record.created_at,
        };
        let active_at = logged.max(record.created_at);
        let old = self.policy.now.since(active_at) >= self.policy.min_age;
        let whole = record.state == WorkspaceState::Ready && matches!(facts.tree, TreeFact::Present(_));
        if look != Look::Briefly
            && record.sealed
            && old
            && whole
            && facts.processes.is_empty()
            && self.has_new_work(record)?
        {
            facts.dirty.push("work that was not imported".into());
        }
        Ok(WorkspaceFacts {
            owner_alive: record.owner.as_ref().is_some_and(proc::is_alive),
            active_at,
            disk_there: match &record.disk {
                Some(disk) => disk::is_mounted(self.repo, disk),
                None => disk_there(self.repo, &record.path),
            },
            initializing,
            protected: self.protected(record.branch.as_str()),
            request: None,
            facts,
        })
    }

    fn has_new_work(&self, record: &WorkspaceRecord) -> Result<bool> {
        let paths = remove::sealed_paths(self.repo, record, &self.policy.template)?;
        let base = &record.base.commit;
        let captured = salvage::sealed::capture_sealed(self.repo, &paths, &paths.private, base)?;
        let imported = record.imported.as_ref().unwrap_or(base);
        Ok(!salvage::sealed::is_same_work(self.repo, &captured, imported)?)
    }

    /// Entries of ours that no workspace and no task accounts for.
    fn entries(&self, facts: &Facts) -> Result<Vec<EntryFact>> {
        let parent = self.repo.common_dir.join("worktrees");
        let name = |part: &str| parent.join(format!("treehand-{part}"));
        let mut owned: BTreeSet<PathBuf> = BTreeSet::new();
        owned.extend(self.records.iter().map(|record| name(&record.name.path_part())));
        let boxes = facts.unrecorded_runs.iter().flat_map(|run| &run.boxes).chain(&facts.unrecorded);
        owned.extend(boxes.map(|one| one.paths.entry.clone()));
        for run in &facts.runs {
            owned
                .extend(self.store.tasks(&run.run.id)?.iter().map(|task| name(&format!("{}.{}", run.run.id, task.id))));
        }
        let ours = |dir: &DirFact| dir.path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("treehand-"));
        let mut found = Vec::new();
        for dir in directories(&parent)?.into_iter().filter(|dir| !owned.contains(&dir.path)) {
            let back = dir.path.join("gitdir");
            if !ours(&dir) {
                let stillborn = is_stillborn(&dir)? && self.policy.now.since(dir.at) >= STILLBORN;
                let fact = EntryFact { dir, tree_there: false, disk_there: true };
                found.extend(stillborn.then_some(fact));
                continue;
            }
            let text =
                if fs::exists(&back)? { std::fs::read(&back).map_err(fs::at("read", &back))? } else { Vec::new() };
            let tree =
                dir.path.join(bytes_path(text.trim_ascii_end())).parent().map(Path::to_owned).unwrap_or_default();
            let (tree_there, disk_there) = (fs::exists(&tree)? && !text.is_empty(), disk_there(self.repo, &tree));
            found.push(EntryFact { dir, tree_there, disk_there: disk_there && !text.is_empty() });
        }
        Ok(found)
    }

    /// What is in the trash, except what an interrupted removal may still have to put back.
    fn trash(
        &self,
        operations: &[OperationRecord],
        intents: &[OpenIntent],
        unreadable: &mut Vec<Kept>,
    ) -> Result<Vec<DirFact>> {
        let mut found = directories(&trash::root(self.repo))?;
        let mut beside: BTreeSet<PathBuf> = BTreeSet::new();
        for operation in operations {
            if let UndoData::Removal { items } = &operation.undo {
                beside.extend(
                    items
                        .iter()
                        .filter_map(place)
                        .filter(|place| place.parent().is_some_and(|parent| parent.ends_with(trash::BESIDE))),
                );
            }
        }
        for path in beside {
            if let Some(id) = dir_id(&path)? {
                found.push(DirFact { at: trash::changed_at(&path)?, path, id });
            }
        }
        let mut pending: BTreeSet<PathBuf> = intents.iter().flat_map(|i| i.items.iter().filter_map(place)).collect();
        for entry in self.store.open_intents()?.iter().filter(|entry| entry.kind == removal_again::KIND) {
            pending.extend(removed_items(entry).iter().filter_map(place));
        }
        found.retain(|dir| !pending.contains(&dir.path));
        let mounts = &self.around.mounts;
        for dir in found.extract_if(.., |dir| !mounts.below(&dir.path).is_empty()) {
            let (item, reason) = (dir.path.display().to_string(), "something is mounted in it".to_owned());
            unreadable.push(Kept { kind: Kind::Trash, item, reason });
        }
        for dir in &mut found {
            let name = dir.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            dir.at = trash::stamped_at(&name).unwrap_or(dir.at);
        }
        Ok(found)
    }

    /// Empty directories of our own making around workspaces that were removed: whoever died before it removed one left it.
    fn emptied(&self, operations: &[OperationRecord]) -> Result<Vec<DirFact>> {
        let mut around: BTreeSet<PathBuf> = BTreeSet::new();
        for operation in operations {
            if let UndoData::Removal { items } = &operation.undo {
                around.extend(items.iter().filter_map(around_one_alone));
            }
        }
        let mut found = Vec::new();
        for path in around {
            let used = self.records.iter().any(|record| record.path.starts_with(&path));
            if let (false, Some(id)) = (used, dir_id(&path)?)
                && children(&path)?.is_empty()
            {
                found.push(DirFact { at: trash::changed_at(&path)?, path, id });
            }
        }
        Ok(found)
    }

    fn aged(&self, runs: &[RunFacts]) -> Result<Vec<AgedRef>> {
        let reader = self.repo.reader();
        let mut found = Vec::new();
        // Each has its stamp at one place: the names of workspaces and branches beside it may look like one.
        for (name, commit) in reader.refs_below(SALVAGE_PREFIX)? {
            let since = name.rsplit('/').nth(1).and_then(trash::stamped_at);
            found.push(AgedRef { name, commit, since, unused: false });
        }
        for (name, commit) in held::refs_at(self.repo, UNDO_PREFIX)? {
            let stamp = name.strip_prefix(UNDO_PREFIX).and_then(|rest| rest.split('/').next());
            found.push(AgedRef { since: stamp.and_then(trash::stamped_at), name, commit, unused: false });
        }
        found.extend(self.unused_requests()?);
        let over = |run: &&RunFacts| run.standing != RunStanding::AtWork;
        for (name, commit) in reader.refs_below("refs/treehand/merged/")? {
            let run = runs.iter().filter(over).find(|run| name.split('/').nth(3) == Some(run.run.id.as_str()));
            found.push(AgedRef { since: run.and_then(|run| run.run.ended_at), name, commit, unused: false });
        }
        Ok(found)
    }
}

impl Scan<'_> {
    /// Refs that track pull requests on which no workspace is based any more; they can be fetched again.
    fn unused_requests(&self) -> Result<Vec<AgedRef>> {
        let mut used = BTreeSet::new();
        for record in &self.records {
            let names = record.base.references();
            used.extend(
                names.filter_map(|name| name.rsplit_once('#')).map(|(remote, number)| format!("{remote}/{number}")),
            );
        }
        let unused = |(name, commit): (String, CommitId)| {
            let kept = name.strip_prefix(REQUESTS).is_none_or(|request| used.contains(request));
            (!kept).then_some(AgedRef { name, commit, since: None, unused: true })
        };
        Ok(self.repo.reader().refs_below(REQUESTS)?.into_iter().filter_map(unused).collect())
    }
}

/// The logs of runs that are over. Those of no run on record belong to a repository that was parted from this one, or to a run
/// that another treehand knows, and stay.
fn logs(repo: &Repository, runs: &[RunFacts]) -> Result<Vec<DirFact>> {
    let mut found = Vec::new();
    for run in runs.iter().filter(|run| run.standing == RunStanding::Over) {
        let path = repo.state_dir().join("logs").join(run.run.id.as_str());
        if let (Some(id), Some(at)) = (dir_id(&path)?, run.run.ended_at) {
            found.push(DirFact { path, id, at });
        }
    }
    Ok(found)
}

/// True for an entry that names no worktree and holds nothing but a lock: what `git worktree add` leaves when it is killed
/// in its first moment. No git ever takes it away, and nothing is in it.
fn is_stillborn(dir: &DirFact) -> Result<bool> {
    let inside = children(&dir.path)?;
    Ok(inside.iter().all(|path| path.file_name().is_some_and(|name| name == "locked")))
}

/// The directory around a workspace that was made for it alone: it bears its name.
fn around_one_alone(item: &RemovedItem) -> Option<PathBuf> {
    let RemovedItem::Workspace { record } = item else { return None };
    let around = record.path.parent()?;
    (around.file_name()?.to_str()? == record.name.path_part()).then(|| around.to_owned())
}

fn place(item: &RemovedItem) -> Option<PathBuf> {
    match item {
        RemovedItem::Directory { trash, .. } => trash.parent().map(Path::to_owned),
        _ => None,
    }
}

fn intents(store: &Store, operations: &[OperationRecord]) -> Result<Vec<OpenIntent>> {
    let mut found = Vec::new();
    for entry in store.open_intents()?.into_iter().filter(|entry| matches!(entry.kind.as_str(), "rm" | "clean")) {
        let items = removed_items(&entry);
        let owner = entry.owner();
        let holds = |operation: &OperationRecord| match &operation.undo {
            UndoData::Removal { items: taken } => items.iter().all(|item| taken.contains(item)),
            UndoData::Landing { .. } | UndoData::Update(_) | UndoData::Dropped { .. } => false,
        };
        let recorded = !items.is_empty() && operations.iter().any(holds);
        // An owner that cannot be told may live.
        let owner_alive = owner.as_ref().is_none_or(proc::is_alive);
        found.push(OpenIntent { entry, items, owner_alive, recorded });
    }
    Ok(found)
}

/// The items that an intent to remove names.
fn removed_items(entry: &Entry) -> Vec<RemovedItem> {
    serde_json::from_value(entry.data["items"].clone()).unwrap_or_default()
}

fn keeps(pack: &Path) -> Result<Vec<(PathBuf, Timestamp)>> {
    let mut found = Vec::new();
    for path in children(pack)?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "keep")) {
        // It may go at any moment: whoever made it removes it when its ref is there.
        let ours = |content: &[u8]| content.starts_with(abandoned::KEEP.as_bytes()) && !abandoned::is_held(content);
        if std::fs::read(&path).is_ok_and(|content| ours(&content))
            && let Ok(at) = trash::changed_at(&path)
        {
            found.push((path, at));
        }
    }
    Ok(found)
}
