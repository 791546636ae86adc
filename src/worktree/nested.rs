//! Scan: repositories and worktrees that lie in a worktree, of most of which `git status` says nothing: those in ignored places,
//! and those in the midst of files that are committed.
//!
//! A worktree there belongs to somebody and would break; a repository counts when it has commits that no remote of its own has.
//! What a build system cloned is what its remote has. Bare repositories are not looked for. What cannot be read may be one. No
//! filter and no hook of theirs is run.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::index_copy::Whole;
use super::repository::{Repository, bytes_path};
use crate::sys::fs;

/// Those that hold something of their own, by their places in the worktree, in order.
pub fn find(repo: &Repository, git_dir: &Path, tree: &Path, whole: &Whole) -> Result<Vec<String>> {
    let place = |path: &Path| path.strip_prefix(tree).unwrap_or(path).to_owned();
    let mut found: Vec<PathBuf> = whole.walked.unread.iter().map(|(path, _)| place(path)).collect();
    for link in &whole.walked.repositories {
        let own = link.parent().unwrap_or(link);
        // Submodules are looked at as such.
        let in_submodule = whole.submodules.iter().any(|submodule| place(own).starts_with(submodule));
        if !in_submodule && holds_something(repo, git_dir, own, link)? {
            found.push(place(own));
        }
    }
    found.sort();
    Ok(found.iter().map(|place| place.display().to_string()).collect())
}

fn holds_something(repo: &Repository, git_dir: &Path, own: &Path, link: &Path) -> Result<bool> {
    match std::fs::metadata(link) {
        Ok(meta) if meta.is_dir() => return Ok(has_own_commits(repo, link)),
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fs::at("look at", link)(error).into()),
    }
    let text = std::fs::read(link).map_err(fs::at("read", link))?;
    let Some(path) = text.strip_prefix(b"gitdir: ") else { return Ok(false) };
    let path = own.join(bytes_path(path.trim_ascii_end()));
    let path = path.canonicalize().unwrap_or(path);
    // The clones of submodules are looked at as such.
    let modules = [git_dir.join("modules"), repo.common_dir.join("modules")];
    Ok(fs::exists(&path)? && !modules.iter().any(|modules| path.starts_with(modules)))
}

/// What cannot be read may be everything.
fn has_own_commits(repo: &Repository, git_dir: &Path) -> bool {
    let list = |what: &[&str]| {
        let args = ["rev-list", "--max-count=1"].iter().chain(what).chain(&["--not", "--remotes", "--"]);
        repo.git.bare(git_dir, args).run().map(|output| !output.stdout.is_empty())
    };
    let is_born = repo.git.bare(git_dir, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).output();
    let head: &[&str] =
        if is_born.is_ok_and(|output| output.status.success()) { &["--all", "HEAD"] } else { &["--all"] };
    list(head).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::walk::Sizes;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::index_copy::whole;

    #[test]
    fn a_clone_holds_what_its_remote_has_and_anything_else_is_its_own() {
        let fixture = Fixture::new();
        std::fs::write(fixture.repo.common_dir.join("info/exclude"), "build/\n").expect("written");
        let (root, build) = (fixture.root.to_string_lossy().into_owned(), fixture.root.join("build"));
        let at = |name: &str| build.join(name).to_string_lossy().into_owned();
        let git_dir = &fixture.repo.common_dir;
        let find = || {
            let whole = whole(&fixture.repo, git_dir, &fixture.root, Sizes::Left).expect("looked at");
            find(&fixture.repo, git_dir, &fixture.root, &whole).expect("looked at")
        };
        assert_eq!(find(), [] as [String; 0]);
        fixture.git(&["clone", "-q", &root, &at("cloned")]);
        fixture.git(&["init", "-q", &at("empty")]);
        assert_eq!(find(), [] as [String; 0]);
        fixture.run_in(&build.join("cloned"), &["commit", "-q", "--allow-empty", "-m", "own"]);
        fixture.git(&["worktree", "add", "-q", "--detach", &at("worktree")]);
        std::fs::create_dir_all(build.join("broken/.git")).expect("made");
        assert_eq!(find(), ["build/broken", "build/cloned", "build/worktree"]);
    }
    #[test]
    fn a_repository_among_files_that_are_committed_is_found() {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.root.join("src")).expect("made");
        std::fs::write(fixture.root.join("src/file"), "f").expect("written");
        fixture.git(&["add", "src"]);
        fixture.git(&["commit", "-q", "-m", "src"]);
        fixture.git(&["init", "-q", &fixture.root.join("src").to_string_lossy()]);
        fixture.run_in(&fixture.root.join("src"), &["commit", "-q", "--allow-empty", "-m", "own"]);
        let whole = whole(&fixture.repo, &fixture.repo.common_dir, &fixture.root, Sizes::Left).expect("looked at");
        let found = find(&fixture.repo, &fixture.repo.common_dir, &fixture.root, &whole).expect("looked at");
        assert_eq!((whole.dirty, found), (Vec::new(), vec!["src".to_owned()]));
    }
}
