//! Scan and apply: what processes that died left in the middle of things: quarantines, and the `.keep` files of packs that were
//! to be held until a ref holds them. Each names its owner, and goes only when that one is known to be dead.
//!
//! To be called after recovery: what a dead process had begun and another completed is on a ref by then.

use std::path::Path;

use super::error::Result;
use super::repository::Repository;
use crate::model::ProcId;
use crate::sys::{fs, proc};

/// How a `.keep` file of ours begins. Those of the first version have nothing more.
pub const KEEP: &str = "treehand\n";

/// The file of a quarantine that names its owner.
pub(super) const OWNER: &str = "owner";

/// Largest file that names one.
const OWNER_MAX: u64 = 4096;

/// This process, as such a file names it.
pub(super) fn signature() -> String {
    proc::own().map_or_else(String::new, |own| serde_json::to_string(&own).unwrap_or_default())
}

/// Removes what dead processes left of quarantines in a repository.
pub fn sweep(repo: &Repository) -> Result<()> {
    for dir in children(&repo.state_dir().join("quarantine"))? {
        if is_of_the_dead(&dir, OWNER.as_ref(), "")? {
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

/// True when a file names a process that is known to be dead.
pub(super) fn is_of_the_dead(dir: &Path, name: &Path, prefix: &str) -> Result<bool> {
    let Some(content) = fs::read_beneath(dir, name, OWNER_MAX)? else { return Ok(false) };
    let text = String::from_utf8_lossy(&content);
    let owner: Option<ProcId> = text.strip_prefix(prefix).and_then(|owner| serde_json::from_str(owner).ok());
    Ok(proc::is_known_dead(owner.as_ref()))
}

fn children(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
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
        let dead = serde_json::to_string(&dead).expect("written");
        let other = repo.state_dir().join("quarantine/other");
        std::fs::create_dir(&other).expect("made");
        std::fs::write(other.join(OWNER), &dead).expect("written");
        let old = repo.state_dir().join("quarantine/old");
        std::fs::create_dir(&old).expect("made");
        let pack = |name: &str| repo.common_dir.join("objects/pack").join(name);
        std::fs::write(pack("pack-1.keep"), format!("{KEEP}{dead}")).expect("written");
        std::fs::write(pack("pack-2.keep"), format!("{KEEP}{}", signature())).expect("written");
        std::fs::write(pack("pack-3.keep"), "a person's").expect("written");
        std::fs::write(pack("pack-4.keep"), KEEP).expect("written");
        sweep(repo).expect("swept");
        assert!(mine.git_dir().exists() && !other.exists() && old.exists());
        let left = |name: &str| pack(name).exists();
        assert!(!left("pack-1.keep") && left("pack-2.keep") && left("pack-3.keep") && left("pack-4.keep"));
    }
}
