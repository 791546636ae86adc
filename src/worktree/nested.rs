//! Scan: repositories and worktrees that lie in ignored places of a worktree, of which `git status` says nothing.
//!
//! A worktree there belongs to somebody and would break; a repository counts when it has commits that no remote of its own has.
//! What a build system cloned is what its remote has. Bare repositories are not looked for. No filter and no hook of theirs is run.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::repository::{Repository, bytes_path};
use crate::sys::fs;

/// Those that hold something of their own, by their places in the worktree.
pub fn find(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<Vec<String>> {
    let list = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
    let output = repo.git.tree(git_dir, tree, list).run()?;
    let mut found = Vec::new();
    for place in output.records().filter(|place| place.ends_with(b"/")).map(bytes_path) {
        for link in links_below(&tree.join(place))? {
            let own = link.parent().unwrap_or(&link);
            if holds_something(repo, git_dir, own, &link)? {
                found.push(own.strip_prefix(tree).unwrap_or(own).display().to_string());
            }
        }
    }
    Ok(found)
}

/// Everything called `.git` below a directory, without following links or looking into those.
fn links_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let is_within = |entry: &walkdir::DirEntry| entry.file_name() == ".git";
    let mut entries = walkdir::WalkDir::new(directory).follow_links(false).into_iter();
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(directory).to_owned();
                match error.into_io_error() {
                    Some(gone) if gone.kind() == std::io::ErrorKind::NotFound => continue,
                    Some(other) => return Err(fs::at("read", &path)(other).into()),
                    None => continue,
                }
            }
        };
        if is_within(&entry) {
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

fn holds_something(repo: &Repository, git_dir: &Path, own: &Path, link: &Path) -> Result<bool> {
    let meta = std::fs::symlink_metadata(link).map_err(fs::at("look at", link))?;
    if meta.is_dir() {
        return Ok(has_own_commits(repo, link));
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
    use crate::worktree::fixture::Fixture;

    #[test]
    fn a_clone_holds_what_its_remote_has_and_anything_else_is_its_own() {
        let fixture = Fixture::new();
        std::fs::write(fixture.repo.common_dir.join("info/exclude"), "build/\n").expect("written");
        let (root, build) = (fixture.root.to_string_lossy().into_owned(), fixture.root.join("build"));
        let at = |name: &str| build.join(name).to_string_lossy().into_owned();
        let find = || find(&fixture.repo, &fixture.repo.common_dir, &fixture.root).expect("looked at");
        assert_eq!(find(), [] as [String; 0]);
        fixture.git(&["clone", "-q", &root, &at("cloned")]);
        fixture.git(&["init", "-q", &at("empty")]);
        assert_eq!(find(), [] as [String; 0]);
        fixture.run_in(&build.join("cloned"), &["commit", "-q", "--allow-empty", "-m", "own"]);
        fixture.git(&["worktree", "add", "-q", "--detach", &at("worktree")]);
        std::fs::create_dir_all(build.join("broken/.git")).expect("made");
        let mut found = find();
        found.sort();
        assert_eq!(found, ["build/broken", "build/cloned", "build/worktree"]);
    }
}
