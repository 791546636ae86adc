//! Scan: everything that `uninstall` decides on, gathered once, and which places are treehand's.
//!
//! Looks and changes nothing that outlives it. Outside the repository only what carries its id is looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::types::{Goes, IntentFact, RefFact, SealedFact, Stays, UninstallFacts};
use crate::cleanup::clean::types::{CleanPolicy, Kept, Kind};
use crate::cleanup::error::Result;
use crate::cleanup::places::{children, is_of_the_run_alone};
use crate::cleanup::remove::scan::enclosure;
use crate::cleanup::remove::{self, RemoveOptions};
use crate::cleanup::salvage::{bundled, bundles};
use crate::cleanup::{clean, trash};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::model::record::WorkspaceRecord;
use crate::store::Store;
use crate::sys::marks::Marks;
use crate::sys::standing::Processes;
use crate::sys::{fs, proc};
use crate::worktree::Repository;
use crate::worktree::registry::{self, Known};
use crate::worktree::sealed::SealedPaths;
use crate::worktree::store_place::{self, UNINSTALLING};

/// Where all our refs are.
pub const OURS: &str = "refs/treehand/";

/// Looks at everything.
pub fn scan(repo: &Repository, store: &Store, policy: &CleanPolicy, sockets: &[PathBuf]) -> Result<UninstallFacts> {
    let clean = clean::scan::scan(repo, store, policy)?;
    let records = store.workspaces()?;
    let mut facts = UninstallFacts { clean, before: before(repo)?, ..UninstallFacts::default() };
    for record in records.iter().filter(|record| record.sealed) {
        facts.sealed.push(sealed(repo, store, record)?);
    }
    for entry in store.open_intents()? {
        let alive = !proc::is_known_dead(entry.owner().as_ref());
        facts.intents.push(IntentFact { seq: entry.seq, kind: entry.kind, alive });
    }
    facts.clean.unreadable.extend(unknown_private(repo, store, &records)?);
    facts.working = working(&records)?;
    facts.refs = refs(repo)?;
    facts.places = places(repo, sockets)?;
    facts.stays = stays(repo)?;
    facts.records = records;
    Ok(facts)
}

fn sealed(repo: &Repository, store: &Store, record: &WorkspaceRecord) -> Result<SealedFact> {
    // What is uncommitted is captured; what is its branch stays.
    let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
    let refused = match parted(repo, record)? {
        Some(why) => Some(why),
        None => remove::plan(repo, store, record, &options).err().map(|error| chain(&error)),
    };
    let branched = repo.reader().ref_commit(&record.branch.full_ref())?.is_some();
    Ok(SealedFact { record: record.clone(), refused, branched, bytes: fs::disk_usage(&enclosure(record)) })
}

/// Why what a sealed workspace holds cannot be captured by this user: `rm` leaves that in the trash, from where it comes back.
fn parted(repo: &Repository, record: &WorkspaceRecord) -> Result<Option<String>> {
    let private = SealedPaths::of_record(repo, record)?.private;
    if fs::exists(&private)? || !fs::exists(&record.path)? {
        return Ok(None);
    }
    Ok(Some(format!(
        "the private git dir of `{}` is not in {}, so that its work cannot be saved; use the XDG_STATE_HOME it was made with, \
         or copy what is needed out of it",
        record.name,
        private.display()
    )))
}

/// What was saved, and in the trash, when an uninstall began that died.
pub fn before(repo: &Repository) -> Result<Option<BTreeSet<String>>> {
    let path = repo.state_dir().join(UNINSTALLING);
    if !fs::exists(&path)? {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(fs::at("read", &path))?;
    // One that was cut short says nothing: everything counts as there before.
    Ok(serde_json::from_slice(&text).ok())
}

/// Private directories of sealed workspaces and tasks that are not on record: they may hold the only copy of something. Those
/// of runs that are not on record `clean` names.
fn unknown_private(repo: &Repository, store: &Store, records: &[WorkspaceRecord]) -> Result<Vec<Kept>> {
    let Some(_) = id(repo)? else { return Ok(Vec::new()) };
    let mut known: BTreeSet<PathBuf> = BTreeSet::new();
    for record in records.iter().filter(|record| record.sealed) {
        known.insert(SealedPaths::of_record(repo, record)?.private);
    }
    let mut there = children(&repo.sealed_root()?.join("named"))?;
    for run in store.runs()? {
        let dir = repo.run_dir(&run.id)?;
        known.extend(store.tasks(&run.id)?.iter().map(|task| dir.join(task.id.as_str())));
        there.extend(children(&dir)?.into_iter().filter(|path| !is_of_the_run_alone(&named(path))));
    }
    let unknown = there.into_iter().filter(|path| !known.contains(path) && named(path) != trash::BESIDE);
    let reason = "it is of no workspace on record".to_owned();
    Ok(unknown
        .map(|path| Kept { kind: Kind::State, item: path.display().to_string(), reason: reason.clone() })
        .collect())
}

fn named(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Commands of `exec` and of attempts that stand in workspaces: they carry a mark.
fn working(records: &[WorkspaceRecord]) -> Result<Vec<String>> {
    let (marks, processes) = (Marks::scan().map_err(fs::at("read", "/proc".as_ref()))?, Processes::scan()?);
    let marked: BTreeSet<u32> = marks.all().map(|marked| marked.process.pid).collect();
    let mut found = Vec::new();
    for record in records {
        let inside = processes.inside(&record.path).into_iter().find(|process| marked.contains(&process.pid));
        found
            .extend(inside.map(|process| format!("{} (pid {}) works in `{}`", process.name, process.pid, record.name)));
    }
    Ok(found)
}

/// Every ref of ours, and whether it alone holds what it names; what is in bundles by the names that refs would have.
pub fn refs(repo: &Repository) -> Result<Vec<RefFact>> {
    let list = |place: &str| {
        let format = "--format=%(objectname) %(objecttype) %(refname)";
        repo.bare(["for-each-ref", format, place]).text()
    };
    let (text, there) = (list(OURS)?, bundles::all(repo)?);
    let ours: Vec<(&str, &str, &str)> = text.lines().filter_map(parts).collect();
    let bundled: Vec<(&CommitId, String)> = there.parts().map(|(part, name)| (&part.commit, name)).collect();
    let (mut input, mut positive) = (String::new(), false);
    for (id, kind, _) in &ours {
        if *kind == "commit" {
            input.push_str(&format!("{id}\n"));
            positive = true;
        }
    }
    let mut unheld: BTreeSet<String> = BTreeSet::new();
    for (id, _) in &bundled {
        input.push_str(&format!("{id}\n"));
        positive = true;
    }
    if positive {
        for place in ["refs/heads/", "refs/tags/", "refs/remotes/"] {
            for (id, kind, _) in list(place)?.lines().filter_map(parts) {
                if matches!(kind, "commit" | "tag") {
                    input.push_str(&format!("^{id}\n"));
                }
            }
        }
        let listed = repo.bare(["rev-list", "--ignore-missing", "--stdin"]).stdin(input).text()?;
        unheld.extend(listed.lines().map(str::to_owned));
    }
    let fact = |(id, kind, name): &(&str, &str, &str)| RefFact {
        name: (*name).to_owned(),
        alone: *kind != "commit" || unheld.contains(*id),
    };
    let mut facts: Vec<RefFact> = ours.iter().map(fact).collect();
    let reader = repo.reader();
    for (id, name) in bundled {
        // What the repository does not have no branch can hold.
        let alone = unheld.contains(id.as_str()) || !reader.has_commit(id)?;
        facts.push(RefFact { name, alone });
    }
    let unreadable =
        |(prefix, _): &(String, String)| RefFact { name: format!("{prefix}/{}", bundled::FILE), alone: true };
    facts.extend(there.unreadable.iter().map(unreadable));
    Ok(facts)
}

fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.splitn(3, ' ');
    Some((words.next()?, words.next()?, words.next()?))
}

/// The id of the repository, where it has one; none is made by looking.
pub fn id(repo: &Repository) -> Result<Option<String>> {
    Ok(if fs::exists(&repo.state_dir().join("id"))? { Some(repo.id()?) } else { None })
}

/// What the user's registry says of this repository.
pub fn known(repo: &Repository) -> Result<Vec<Known>> {
    let (id, mut found) = (id(repo)?, Vec::new());
    for known in registry::all()? {
        // One without an id lost it to an uninstall that died, or to whoever made the repository anew.
        let same = id.as_ref() == Some(&known.id);
        if same || known.common_dir == repo.common_dir && known.left()?.is_none() {
            found.push(known);
        }
    }
    Ok(found)
}

/// Directories outside the repository that carry its id: private git dirs, and the store where it is not in the repository.
pub fn private(repo: &Repository) -> Result<Vec<PathBuf>> {
    let (Some(id), Some(home)) = (id(repo)?, &repo.state_home) else { return Ok(Vec::new()) };
    Ok(["sealed", "repos"].map(|part| home.join("treehand").join(part).join(&id)).to_vec())
}

/// The file of a store that is neither in the repository nor in the directory that carries its id.
pub fn store_elsewhere(repo: &Repository) -> Result<Option<PathBuf>> {
    if !store_place::is_elsewhere(repo)? {
        return Ok(None);
    }
    let dir = store_place::store_dir(repo)?;
    Ok((!private(repo)?.contains(&dir)).then(|| Store::file_in(&dir)))
}

fn places(repo: &Repository, sockets: &[PathBuf]) -> Result<Vec<Goes>> {
    let mut found = Vec::new();
    let mut place = |kind: &'static str, path: &Path| -> Result<()> {
        if fs::exists(path)? {
            found.push(Goes { kind, item: path.display().to_string(), bytes: fs::disk_usage(path) });
        }
        Ok(())
    };
    private(repo)?.iter().try_for_each(|path| place("state", path))?;
    if let Some(file) = store_elsewhere(repo)? {
        place("state", &file)?;
    }
    sockets.iter().try_for_each(|path| place("socket", path))?;
    place("state", &repo.state_dir())?;
    for known in known(repo)? {
        found.push(Goes { kind: "registry", item: known.id, bytes: 0 });
    }
    Ok(found)
}

/// What stays whatever is decided: it is the user's, or git needs it.
fn stays(repo: &Repository) -> Result<Vec<Stays>> {
    let mut found = Vec::new();
    let mut stays = |kind, path: &Path, why: &str| {
        found.push(Stays { kind, item: path.display().to_string(), why: why.to_owned() });
    };
    if let Some(file) = repo.main_tree.as_ref().map(|tree| tree.join(".treehand.toml"))
        && fs::exists(&file)?
    {
        stays("configuration", &file, "it is the repository's own");
    }
    let mut clones = Vec::new();
    submodules(&repo.common_dir.join("modules"), &mut clones)?;
    for clone in clones {
        let refs = repo.git.bare(&clone, ["for-each-ref", "--count=1", OURS, "refs/heads/treehand/"]).text()?;
        if !refs.is_empty() {
            stays("submodule", &clone, "refs of treehand in it hold commits that the repository names");
        }
    }
    if let Some(account) = repo.state_home.as_ref().map(|home| home.join("treehand"))
        && fs::exists(&account)?
    {
        stays("account", &account, "what is yours and no repository's goes with: treehand uninstall --account");
    }
    Ok(found)
}

/// The git dirs of submodules' clones, and of those in them.
fn submodules(place: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in children(place)? {
        if !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        if fs::exists(&path.join("HEAD"))? && fs::exists(&path.join("objects"))? {
            submodules(&path.join("modules"), found)?;
            found.push(path);
        } else {
            submodules(&path, found)?;
        }
    }
    Ok(())
}
