//! Scan and apply: what processes that died left in the middle of things: quarantines, and the `.keep` files of packs that were
//! to be held until a ref holds them. Each names its owner, and goes only when that one is known to be dead.
//!
//! To be called after recovery: what a dead process had begun and another completed is on a ref by then.

use std::path::Path;

use super::error::Result;
use super::pool::{self, slot::Holder};
use super::repository::Repository;
use crate::model::{ProcId, Token};
use crate::sys::{fs, proc};

/// How a `.keep` file of ours begins. Those of the first version have nothing more.
pub const KEEP: &str = "treehand\n";

/// Largest file that names an owner.
const OWNER_MAX: u64 = 4096;

/// This process, as a `.keep` file of ours names it.
pub(super) fn signature() -> String {
    proc::own().map_or_else(String::new, |own| serde_json::to_string(&own).unwrap_or_default())
}

/// The name of a quarantine of this process: its owner is in it, so that it is never there without one.
pub(super) fn name(token: &Token) -> String {
    format!("{}{}", token.as_str(), owner_suffix())
}

/// How such a name ends.
pub(super) fn owner_suffix() -> String {
    match proc::own() {
        Some(ProcId { pid, start_time, boot_id }) => format!(".{pid}.{start_time}.{boot_id}"),
        None => String::new(),
    }
}

/// The owner in such a name.
pub(super) fn owner_in(name: &str) -> Option<ProcId> {
    let mut parts = name.splitn(4, '.').skip(1);
    let (pid, start_time) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(ProcId { pid, start_time, boot_id: parts.next()?.to_owned() })
}

/// Removes the slots that dead processes had in hand.
pub fn sweep_slots(repo: &Repository) -> Result<()> {
    let dead = pool::slot::all(repo)?.into_iter().filter(|path| pool::slot::holder(path) == Some(Holder::Dead));
    dead.into_iter().try_for_each(|path| pool::slot::remove(&path).map(drop))
}

/// Removes what dead processes left of quarantines and slots in a repository.
pub fn sweep(repo: &Repository) -> Result<()> {
    sweep_slots(repo)?;
    for dir in children(&repo.state_dir().join("quarantine"))? {
        let owner = dir.file_name().and_then(|name| name.to_str()).and_then(owner_in);
        if proc::is_known_dead(owner.as_ref()) {
            fs::remove_tree(&dir)?;
        }
    }
    let packs = repo.common_dir.join("objects/pack");
    for path in children(&packs)?.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "keep")) {
        if is_of_the_dead(&packs, path.file_name().unwrap_or_default().as_ref(), KEEP)? {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// True for a quarantine whose owner lives, however old it looks: the clock may have been set.
pub fn is_used(quarantine: &Path) -> bool {
    let owner = quarantine.file_name().and_then(|name| name.to_str()).and_then(owner_in);
    owner.is_some_and(|owner| proc::is_alive(&owner))
}

/// True for the content of a `.keep` file of ours whose owner lives.
pub fn is_held(keep: &[u8]) -> bool {
    let owner: Option<ProcId> = keep.strip_prefix(KEEP.as_bytes()).and_then(|owner| serde_json::from_slice(owner).ok());
    owner.is_some_and(|owner| proc::is_alive(&owner))
}

/// True when a file names a process that is known to be dead.
pub(super) fn is_of_the_dead(dir: &Path, name: &Path, prefix: &str) -> Result<bool> {
    let Some(content) = fs::read_beneath(dir, name, OWNER_MAX)? else { return Ok(false) };
    let text = String::from_utf8_lossy(&content);
    let owner: Option<ProcId> = text.strip_prefix(prefix).and_then(|owner| serde_json::from_str(owner).ok());
    Ok(proc::is_known_dead(owner.as_ref()))
}

pub(super) fn children(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fs::at("read", dir))?,
    };
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.path());
    Ok(entries.map(path).collect::<std::io::Result<_>>().map_err(fs::at("read", dir))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::quarantine::Quarantine;

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_use_stays() {
        let fixture = Fixture::new();
        let repo = &fixture.repo;
        let mine = Quarantine::create(repo, &fixture.tip("HEAD")).expect("made");
        let dead = ProcId { pid: 4_000_000_000, start_time: 1, boot_id: "gone".into() };
        assert_eq!(owner_in("0123.4000000000.1.gone"), Some(dead.clone()));
        assert_eq!((owner_in("0123"), owner_in("0123.x.1.gone")), (None, None));
        let dead = serde_json::to_string(&dead).expect("written");
        let other = repo.state_dir().join("quarantine/0123.4000000000.1.gone");
        std::fs::create_dir(&other).expect("made");
        let scratch = repo.scratch().expect("made");
        assert_eq!(scratch.path().file_name().and_then(|name| owner_in(name.to_str()?)), proc::own());
        let old = repo.state_dir().join("quarantine/old");
        std::fs::create_dir(&old).expect("made");
        let pack = |name: &str| repo.common_dir.join("objects/pack").join(name);
        std::fs::write(pack("pack-1.keep"), format!("{KEEP}{dead}")).expect("written");
        std::fs::write(pack("pack-2.keep"), format!("{KEEP}{}", signature())).expect("written");
        std::fs::write(pack("pack-3.keep"), "a person's").expect("written");
        std::fs::write(pack("pack-4.keep"), KEEP).expect("written");
        assert!(is_used(mine.git_dir()) && !is_used(&other) && !is_used(&old));
        let keep = |name: &str| std::fs::read(pack(name)).expect("there");
        assert!(is_held(&keep("pack-2.keep")) && !is_held(&keep("pack-1.keep")) && !is_held(&keep("pack-4.keep")));
        sweep(repo).expect("swept");
        assert!(mine.git_dir().exists() && scratch.path().exists() && !other.exists() && old.exists());
        let left = |name: &str| pack(name).exists();
        assert!(!left("pack-1.keep") && left("pack-2.keep") && left("pack-3.keep") && left("pack-4.keep"));
    }
}
