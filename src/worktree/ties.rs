//! Apply: the files that tie a sealed tree to its git dir are as they were made, after a command has been there.
//!
//! Who replaced one would choose the repository, and with it the programs, of the next git that a person starts in the tree;
//! treehand itself reads none of them. Under `strict` they cannot be replaced, under `landlock` some can. What stands in the
//! place of one is moved into the private dir, where no git looks, and nothing is removed.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::sealed::{SealedPaths, link_line, path_line};
use crate::sys::fs;

/// One of them.
pub(super) struct Tie {
    /// The name of its copy among the pins.
    pub name: &'static str,
    /// What is in it.
    pub content: Vec<u8>,
    /// A directory that the workspace's processes could not replace.
    root: PathBuf,
    /// Where it is, beneath that.
    beneath: PathBuf,
}

impl Tie {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.beneath)
    }

    /// True when it is there as it was made. One that git makes when there is something to say in it may be missing.
    fn holds(&self) -> bool {
        let limit = self.content.len() as u64;
        match fs::read_beneath(&self.root, &self.beneath, limit) {
            Ok(Some(content)) => content == self.content,
            Ok(None) => self.content.is_empty(),
            Err(_) => false,
        }
    }
}

/// All of a workspace's.
pub(super) fn ties(paths: &SealedPaths) -> [Tie; 4] {
    let admin = |name: &str| Path::new("worktrees/wt").join(name);
    let in_git_dir = |name, content| Tie { name, content, root: paths.git_dir.clone(), beneath: admin(name) };
    [
        Tie { name: "link", content: link_line(&paths.admin), root: paths.tree.clone(), beneath: ".git".into() },
        in_git_dir("commondir", b"../..\n".to_vec()),
        in_git_dir("gitdir", path_line(&paths.tree.join(".git"))),
        in_git_dir("config.worktree", Vec::new()),
    ]
}

/// Those that were replaced.
pub fn replaced(paths: &SealedPaths) -> Vec<PathBuf> {
    ties(paths).iter().filter(|tie| !tie.holds()).map(Tie::path).collect()
}

/// Puts back those that were replaced; which these were is the answer.
pub fn mend(paths: &SealedPaths) -> Result<Vec<PathBuf>> {
    let mut replaced = Vec::new();
    for tie in ties(paths).into_iter().filter(|tie| !tie.holds()) {
        let path = tie.path();
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            let aside = paths.private.join("replaced");
            fs::create_private_dir_all(&aside)?;
            let kept = aside.join(format!("{}.{}", tie.name, std::fs::read_dir(&aside).map_or(0, Iterator::count)));
            fs::move_path(&path, &kept)?;
        }
        fs::write_beneath(&tie.root, &tie.beneath, &tie.content, None)?;
        replaced.push(path);
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, SealedPaths) {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let git_dir = at("private/common.git");
        let paths = SealedPaths {
            enclosure: at("box"),
            tree: at("box/repo"),
            home: at("box/home"),
            tmp: at("box/tmp"),
            private: at("private"),
            admin: git_dir.join("worktrees/wt"),
            git_dir,
            entry: at("entry"),
        };
        std::fs::create_dir_all(&paths.tree).expect("made");
        std::fs::create_dir_all(&paths.admin).expect("made");
        for tie in ties(&paths) {
            std::fs::write(tie.path(), &tie.content).expect("written");
        }
        (place, paths)
    }

    #[test]
    fn what_was_replaced_is_put_back_and_what_stood_there_is_kept() {
        let (_place, paths) = made();
        assert_eq!(mend(&paths).expect("looked"), [] as [PathBuf; 0]);
        let link = paths.tree.join(".git");
        let secret = paths.private.join("secret");
        std::fs::write(&secret, "secret").expect("written");
        let replacements: [&dyn Fn(); 4] = [
            &|| std::fs::write(&link, "gitdir: /elsewhere\n").expect("written"),
            &|| {
                std::fs::remove_file(&link).expect("removed");
                std::os::unix::fs::symlink(&secret, &link).expect("linked");
            },
            &|| {
                std::fs::remove_file(&link).expect("removed");
                std::fs::create_dir(&link).expect("made");
                std::fs::write(link.join("config"), "[core]").expect("written");
            },
            &|| std::fs::remove_file(&link).expect("removed"),
        ];
        for replace in replacements {
            replace();
            assert_eq!(mend(&paths).expect("mended"), std::slice::from_ref(&link));
            assert_eq!(mend(&paths).expect("looked"), [] as [PathBuf; 0]);
            assert!(std::fs::symlink_metadata(&link).expect("there").is_file());
        }
        assert_eq!(std::fs::read_to_string(secret).expect("there"), "secret");
        assert!(paths.private.join("replaced/link.0/config").exists());
        std::fs::remove_file(paths.admin.join("config.worktree")).expect("removed");
        assert_eq!(mend(&paths).expect("looked"), [] as [PathBuf; 0]);
        std::fs::write(paths.admin.join("config.worktree"), "[core]\n\tfsmonitor = x\n").expect("written");
        assert_eq!(mend(&paths).expect("mended"), [paths.admin.join("config.worktree")]);
    }

    #[test]
    fn a_git_dir_that_is_a_link_by_now_is_not_followed() {
        let (place, paths) = made();
        let elsewhere = place.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("made");
        std::fs::rename(&paths.admin, place.path().join("away")).expect("moved");
        std::os::unix::fs::symlink(&elsewhere, &paths.admin).expect("linked");
        assert!(mend(&paths).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).expect("there").count(), 0);
    }
}
