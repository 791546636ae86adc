//! What people, tasks and crashes do to a repository, one simple deed after the other.
//!
//! A deed that cannot be done is not done: git or treehand says so, and the next one follows.

use std::path::PathBuf;

use crate::support::World;
use crate::support::chance::Chance;
use crate::support::followed::Followed;

const NAMES: &[&str] = &["one", "two", "three", "four"];
const FILES: &[&str] = &["a.txt", "src/lib.txt", "new.txt", "deep/er.txt", "cache.ignored", "sp ace"];

/// A world to which things happen.
pub struct Deeds {
    world: World,
    told: Vec<String>,
    count: u64,
}

impl Deeds {
    /// A repository in which nothing has happened.
    pub fn begin() -> Deeds {
        let world = World::new();
        std::fs::write(world.repo().join(".git/info/exclude"), "*.ignored\n").expect("written");
        let deeds = Deeds { world, told: Vec::new(), count: 0 };
        for name in &NAMES[..2] {
            deeds.world.treehand(&["new", name]).expect(0);
            deeds.write(&deeds.world.tree(name), &format!("{name}.txt"));
            deeds.commits(&deeds.world.tree(name));
        }
        deeds
    }

    /// The world, and what happened to it.
    pub fn end(self) -> (World, Vec<String>) {
        (self.world, self.told)
    }

    fn git(&self, place: &std::path::Path, args: &[&str]) -> i32 {
        if place.is_dir() { self.world.try_git_in(place, args).code } else { 1 }
    }

    fn tree(&self, chance: &mut Chance) -> PathBuf {
        self.world.tree(chance.one(NAMES))
    }

    fn write(&self, place: &std::path::Path, file: &str) {
        let path = place.join(file);
        if place.is_dir() && std::fs::create_dir_all(path.parent().expect("a parent")).is_ok() {
            // A link or a directory may be in its place.
            let _it_may_not_be_written = std::fs::write(path, format!("deed {}\n", self.count));
        }
    }

    /// One thing happens.
    pub fn happens(&mut self, chance: &mut Chance) {
        self.count += 1;
        let what = match chance.below(26) {
            0..=5 => self.makes(chance),
            6..=10 => self.works(chance),
            11..=15 => self.lands(chance),
            16..=19 => self.moves(chance),
            20..=22 => self.breaks(chance),
            _ => self.runs(chance),
        };
        self.told.push(format!("{}: {what}", self.count));
    }

    fn makes(&self, chance: &mut Chance) -> String {
        let name = chance.one(NAMES);
        let mut args = vec!["new", name];
        args.extend(if chance.below(5) == 0 { vec!["--sealed"] } else { Vec::new() });
        args.extend(if chance.below(4) == 0 { vec!["--base", NAMES[0]] } else { Vec::new() });
        let code = self.world.treehand(&args).code;
        self.write(&self.world.tree(name), "work.txt");
        self.commits(&self.world.tree(name));
        format!("{args:?} {code}")
    }

    fn commits(&self, tree: &std::path::Path) {
        self.git(tree, &["add", "--all"]);
        self.git(tree, &["commit", "-q", "-m", &format!("deed {}", self.count)]);
    }

    fn works(&self, chance: &mut Chance) -> String {
        let (tree, file) = (self.tree(chance), chance.one(FILES));
        self.write(&tree, file);
        let what = chance.below(7);
        match what {
            0 => {}
            1 => {
                self.git(&tree, &["add", "--all"]);
                self.write(&tree, &format!("{file}2"));
            }
            2 => {
                self.git(&tree, &["commit", "-q", "-a", "--amend", "-m", "amended"]);
            }
            3 => {
                self.git(&tree, &["stash", "-q"]);
            }
            _ => self.commits(&tree),
        }
        format!("work {what} on {file} in {}", tree.display())
    }

    fn lands(&self, chance: &mut Chance) -> String {
        let (repo, name) = (self.world.repo(), chance.one(NAMES));
        let what = chance.below(8);
        match what {
            0 => self.git(&repo, &["merge", "-q", "--no-ff", "-m", "merged", name]),
            1 => self.git(&repo, &["merge", "-q", "--ff-only", name]),
            2 | 3 => {
                self.git(&repo, &["merge", "-q", "--squash", name]);
                self.git(&repo, &["commit", "-q", "-m", "squashed"])
            }
            4 => self.git(&repo, &["cherry-pick", name]),
            5 => self.git(&repo, &["revert", "--no-edit", "HEAD"]),
            6 => self.git(&repo, &["tag", &format!("tag-{}", self.count), name]),
            _ => {
                self.write(&repo, "main.txt");
                self.git(&repo, &["add", "main.txt"]);
                self.git(&repo, &["commit", "-q", "-m", "main goes on"])
            }
        };
        for abort in [["merge", "--abort"], ["cherry-pick", "--abort"], ["revert", "--abort"], ["reset", "--merge"]] {
            self.git(&repo, &abort);
        }
        format!("landing {what} of {name}")
    }

    fn moves(&self, chance: &mut Chance) -> String {
        let (tree, name) = (self.tree(chance), format!("branch-{}", self.count));
        let what = chance.below(9);
        match what {
            0 => {
                self.git(&tree, &["checkout", "-q", "--detach"]);
                self.write(&tree, "detached.txt");
                self.commits(&tree);
            }
            1 => {
                self.git(&tree, &["switch", "-q", "-c", &name]);
                self.write(&tree, "other.txt");
                self.commits(&tree);
            }
            2 => {
                self.git(&tree, &["branch", "-q", "-m", &name]);
            }
            3 => {
                self.git(&tree, &["branch", "-q", &name, "HEAD~1"]);
            }
            4 => {
                self.git(&self.world.repo(), &["worktree", "lock", "--reason", "mine", &tree.to_string_lossy()]);
            }
            5 | 6 => {
                let side = self.world.path().join(format!("side-{}", self.count));
                self.git(&self.world.repo(), &["worktree", "add", "-q", "-b", &name, &side.to_string_lossy(), "HEAD"]);
                self.write(&side, "side.txt");
            }
            7 => {
                self.git(&tree, &["rebase", "-q", "main"]);
            }
            _ => {
                self.git(&tree, &["reset", "-q", "--hard", "HEAD~1"]);
            }
        }
        format!("move {what} in {}", tree.display())
    }

    fn breaks(&self, chance: &mut Chance) -> String {
        let (tree, name) = (self.tree(chance), chance.one(NAMES));
        let what = chance.below(9);
        match what {
            0 => {
                let _it_may_not_be_there = std::fs::remove_dir_all(&tree);
            }
            1 => {
                let _it_may_not_be_there = std::fs::remove_dir_all(tree.parent().expect("a box"));
            }
            2 => {
                let aside = self.world.path().join(format!("aside-{}", self.count));
                let _it_may_not_be_there = std::fs::rename(&tree, aside);
            }
            3 => {
                self.world.treehand(&["rm", "-f", name]);
            }
            4 => {
                self.world.treehand(&["rm", "-f", "-D", name]);
            }
            5 => {
                self.world.treehand(&["undo"]);
            }
            6 => {
                self.git(&self.world.repo(), &["gc", "-q", "--prune=now"]);
            }
            7 => {
                let _it_may_not_be_there = std::fs::remove_dir_all(&tree);
                self.git(&self.world.repo(), &["clone", "-q", ".", &tree.to_string_lossy()]);
                self.write(&tree, "of-a-clone.txt");
            }
            _ => {
                let _it_may_be_there = std::fs::create_dir(&tree);
                self.write(&tree, "mine.txt");
            }
        }
        format!("break {what} of {name} or {}", tree.display())
    }

    fn runs(&self, chance: &mut Chance) -> String {
        let what = chance.below(6);
        let file = format!("run-{}.txt", self.count);
        let (flags, script): (&[&str], String) = match what {
            0 => (&[], format!("echo {file} > {file}")),
            1 => (&["--merge", "manual"], format!("echo {file} > {file}")),
            2 => (&[], format!("echo {file} > {file}; exit 1")),
            3 => {
                (&[], format!("echo {file} > {file}; git add .; git commit -q -m own; echo more > more-{file}; exit 1"))
            }
            4 => (&["--merge", "manual"], format!("git commit -q --allow-empty -m own; echo {file} > a.txt")),
            _ => {
                let id = Followed::leave_behind(&self.world, "t", &format!("echo {file} > {file}"));
                return format!("run {id} left behind");
            }
        };
        let args = [&["run", "-q", "--confine", "off"], flags, &["--", "sh", "-c", &script]].concat();
        format!("run {what}: {}", self.world.treehand(&args).code)
    }
}
