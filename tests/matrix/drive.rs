//! What is done in each kind of repository, and what has to hold after each step: `new`, a run that lands, `undo`, `rm`, `clean`.
//!
//! A row makes a repository by a shell script, says where a person stands, and drives. The person has work of their own
//! there: a staged file, a changed one, an untracked one and an ignored one. After every step all of it is byte for byte
//! as it was, the refs are as they were but for what the step is for, and git finds nothing wrong.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sight::{Files, Sight, Tree, assert_same, files};
use crate::support::{Answer, World, answer, task};

/// What each script can call. `seed` makes the first commit of the repository it is called in, `mess` the person's own work.
const PRELUDE: &str = r#"
seed() {
  printf 'one\ntwo\nthree\n' > a.txt; echo own > own.txt; echo '*.o' > .gitignore
  mkdir -p sub/dir; echo deep > sub/dir/deep.txt; printf '#!/bin/sh\n' > tool.sh; chmod +x tool.sh; ln -s a.txt link
  git add -A; git commit -qm first
}
mess() {
  echo mine >> own.txt; echo staged > staged.txt; git add staged.txt; echo untracked > 'my notes.txt'; echo ignored > build.o
}
"#;

/// What the task of a row does unless the row says otherwise.
const CHANGE: &str = "echo landed > landed.txt; echo four >> a.txt";

/// A kind of repository, made, and how a person uses it.
pub struct Row {
    pub world: World,
    /// Where treehand is started.
    pub start: PathBuf,
    /// Where git is asked what there is.
    pub repo: PathBuf,
    /// The branch that results land on.
    pub target: String,
    /// What the task does.
    pub change: String,
    /// Flags of `new`.
    pub new_flags: Vec<String>,
    /// Flags of `run`.
    pub run_flags: Vec<String>,
    /// Variables beside those of the world.
    pub env: Vec<(String, String)>,
    /// How deep git looks for what is wrong: `--strict` unless what the row is about is not strictly right.
    pub fsck: &'static [&'static str],
    /// How far its commands are confined: as far as can be, unless the row is about what lies outside.
    pub level: &'static str,
    /// Configuration that the row's own checks put beside the user's, so that they are not what the row is about.
    pub checks: Vec<&'static str>,
}

/// Says, past the capture of test output, that a row could not be made on this machine.
pub fn did_not_run(row: &str, why: &str) {
    let line = format!("\nDID NOT RUN: matrix row {row}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}

impl Row {
    /// Makes a repository by this script, which starts in an empty directory and makes `repo` in it.
    pub fn make(script: &str) -> Row {
        Row::made_in(World::bare_of_repositories(), script)
    }

    /// The same in a world that has something already.
    pub fn made_in(world: World, script: &str) -> Row {
        let repo = world.repo();
        let row = Row {
            world,
            start: repo.clone(),
            repo,
            target: "main".into(),
            change: CHANGE.into(),
            new_flags: Vec::new(),
            run_flags: Vec::new(),
            env: Vec::new(),
            fsck: &["--full", "--strict"],
            level: crate::support::level(),
            checks: vec!["-c", "core.hooksPath=/dev/null"],
        };
        row.sh(script);
        row
    }

    /// Starts treehand elsewhere: a path from the world's root.
    pub fn from(mut self, start: impl AsRef<Path>) -> Row {
        self.start = self.world.path().join(start);
        self
    }

    /// Asks git elsewhere: a path from the world's root.
    pub fn with_repo(mut self, repo: impl AsRef<Path>) -> Row {
        self.repo = self.world.path().join(repo);
        self
    }

    /// Another change of the task.
    pub fn changing(mut self, script: &str) -> Row {
        self.change = script.into();
        self
    }

    /// A row whose commands reach outside their worktree.
    pub fn unconfined(mut self) -> Row {
        self.level = "off";
        self.env.push(("TREEHAND_CONFINE__LEVEL".into(), "off".into()));
        self
    }

    /// Another target.
    pub fn onto(mut self, branch: &str) -> Row {
        self.target = branch.into();
        self
    }

    /// Runs a script in the world's root; it must succeed.
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).expect(0).stdout
    }

    /// Runs a script in the world's root.
    pub fn try_sh(&self, script: &str) -> Answer {
        let mut command = Command::new("sh");
        self.world.clean(&mut command);
        command.args(["-ec", &format!("{PRELUDE}{script}")]).current_dir(self.world.path()).stdin(Stdio::null());
        answer(command)
    }

    /// Runs git on the repository as the row's own checks do; it must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.repo, args)
    }

    /// Runs git somewhere as the row's own checks do; it must succeed.
    pub fn git_in(&self, directory: &Path, args: &[&str]) -> String {
        let all: Vec<&str> = self.checks.iter().copied().chain(args.iter().copied()).collect();
        self.world.git_in(directory, &all)
    }

    /// Runs the binary where the person stands.
    pub fn treehand(&self, args: &[&str]) -> Answer {
        let mut command = self.world.command(args);
        command.current_dir(&self.start).envs(self.env.iter().map(|(name, value)| (name, value)));
        answer(command)
    }

    /// Everything a person has here.
    pub fn look(&self) -> Sight {
        let listed = self.git(&["worktree", "list", "--porcelain", "-z"]);
        let records = listed.split("\0\0").map(|record| record.split('\0').collect::<Vec<_>>());
        let trees = records.filter(|record| !record.contains(&"bare")).filter_map(|record| {
            let tree = PathBuf::from(record.iter().find_map(|line| line.strip_prefix("worktree "))?);
            let ours = record.iter().any(|line| line.contains("treehand"));
            (!ours && tree.join(".git").exists() && !self.is_workspace(&tree)).then_some(tree)
        });
        // git lists the git dir itself, or what is around it, where the main worktree is elsewhere.
        let is_tree = |tree: &PathBuf| self.world.try_git_in(tree, &["rev-parse", "--show-toplevel"]).code == 0;
        let trees = trees.filter(is_tree);
        let mut trees: BTreeMap<_, _> = trees.map(|tree| (tree.clone(), self.look_at(&tree, &tree))).collect();
        let top = self.world.try_git_in(&self.repo, &["rev-parse", "--show-toplevel"]);
        if top.code == 0 {
            let tree = PathBuf::from(top.stdout.strip_suffix('\n').unwrap_or(&top.stdout));
            let seen = self.look_at(&self.repo, &tree);
            trees.insert(tree, seen);
        }
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let refs = refs
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| !name.starts_with("refs/treehand/"));
        let common = self.git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        Sight {
            trees,
            refs: refs.map(|(name, object)| (name.to_owned(), object.to_owned())).collect(),
            config: std::fs::read(Path::new(&common).join("config")).expect("a configuration"),
        }
    }

    /// The same without refs whose names start so.
    pub fn look_without(&self, refs: &str) -> Sight {
        let mut seen = self.look();
        seen.forget(refs);
        seen
    }

    fn is_workspace(&self, tree: &Path) -> bool {
        tree.parent().and_then(Path::parent).is_some_and(|dir| dir.to_string_lossy().ends_with(".trees"))
    }

    fn look_at(&self, from: &Path, tree: &Path) -> Tree {
        let status = self.git_in(from, &["status", "--porcelain=v2", "--branch", "--ignored"]);
        let moves = |line: &&str| !line.starts_with("# branch.oid") && !line.starts_with("# branch.ab");
        let status = status.lines().filter(moves).map(str::to_owned).collect();
        Tree { from: from.to_owned(), status, files: files(tree) }
    }

    /// `new`, `run`, `undo`, `rm`, `clean`, and what holds after each.
    pub fn drive(&self) {
        let before = self.look();
        let workspace = self.make_workspace(&before);
        self.land(&before);
        self.undo(&before);
        self.remove(&before, &workspace);
        self.seal_and_remove(&before);
        self.clean(&before);
    }

    /// Two tasks, one on top of both, and a gate, by a strategy that no row uses otherwise; then `undo` of all three.
    pub fn drive_graph(&self) {
        let tasks = r#"
            gates = ["test -e a.txt && git log -1 --format=%s && test -z \"$(git status --porcelain)\""]
            strategy = "rebase"
            [[task]]
            id = "a"
            command = ["sh", "-ec", "echo a > a.new; git add -A; git commit -qm own; echo a >> a.txt"]
            [[task]]
            id = "b"
            command = ["sh", "-ec", "echo b > b.new; sed -i '1i b' sub/dir/deep.txt"]
            [[task]]
            id = "c"
            needs = ["a", "b"]
            command = ["sh", "-ec", "cat a.new b.new > c.new; grep -q a a.txt; git log --format=%s > /dev/null"]
        "#;
        let before = self.look();
        let run = self.run_tasks(tasks).expect(0).json();
        assert_eq!((&run["state"], &run["strategy"]), (&"landed".into(), &"rebase".into()), "{run}");
        assert_eq!(self.git(&["show", &format!("{}:c.new", self.target)]), "a\nb");
        self.check_objects();
        for _ in 0..3 {
            self.treehand(&["undo"]).expect(0);
        }
        self.clean(&before);
    }

    /// A sealed workspace, work in it, and its removal, which brings the work onto its branch.
    fn seal_and_remove(&self, before: &Sight) {
        let mut args = vec!["new", "s", "--sealed", "--json"];
        args.extend(self.new_flags.iter().map(String::as_str));
        self.treehand(&args).expect(0);
        let work = "echo sealed > sealed.txt; git status";
        self.treehand(&["exec", "s", "--confine", self.level, "--", "sh", "-ec", work]).expect(0);
        let diff = self.treehand(&["diff", "s", "--json"]).expect(0).json();
        assert_eq!(diff["files"][0]["path"], "sealed.txt", "{diff}");
        assert_eq!(diff["files"].as_array().map(Vec::len), Some(1), "{diff}");
        let removed = self.treehand(&["rm", "s", "--force", "--json"]).expect(0).json();
        assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "{removed}");
        assert_eq!(self.git(&["show", "s:sealed.txt"]), "sealed", "{removed}");
        self.git(&["update-ref", "-d", "refs/heads/s"]);
        assert_same(&self.look(), before, "after a sealed workspace all is as before");
    }

    /// A landing and its `undo`.
    pub fn land_and_undo(&self) {
        let before = self.look();
        self.land(&before);
        self.undo(&before);
    }

    /// A landing, what has to hold of it, and its `undo`.
    pub fn land_and_look(&self, check: impl FnOnce()) {
        let before = self.look();
        self.land(&before);
        check();
        self.undo(&before);
    }

    /// `new`: a clean worktree on a branch of its own, with the files that git itself would have put there.
    pub fn make_workspace(&self, before: &Sight) -> PathBuf {
        let mut args = vec!["new", "w", "--json"];
        args.extend(self.new_flags.iter().map(String::as_str));
        let made = self.treehand(&args).expect(0).json();
        assert_eq!(made["schema"], "treehand/workspace/v1", "{made}");
        let path = PathBuf::from(made["path"].as_str().expect("a path"));
        assert_eq!(self.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/w");
        assert_eq!(self.git_in(&path, &["rev-parse", "HEAD"]), made["base"]["commit"], "{made}");
        assert_eq!(self.git_in(&path, &["status", "--porcelain"]), "", "a new workspace is clean");
        assert_eq!(files(&path), self.as_git_would(made["base"]["commit"].as_str().expect("a commit")));
        let mut expected = before.clone();
        expected.refs.insert("refs/heads/w".into(), made["base"]["commit"].as_str().expect("a commit").into());
        assert_same(&self.look(), &expected, "`new` changed something else");
        path
    }

    /// The files of a worktree that git makes itself.
    fn as_git_would(&self, commit: &str) -> Files {
        let oracle = self.world.path().join("oracle");
        let oracle_text = oracle.to_string_lossy().into_owned();
        let add = ["worktree", "add", "-q", "--detach", &oracle_text, commit];
        self.git(&add);
        if oracle.join(".gitmodules").exists() {
            let update =
                ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"];
            self.git_in(&oracle, &update);
        }
        let found = files(&oracle);
        self.git(&["worktree", "remove", "--force", &oracle_text]);
        found
    }

    /// A run whose result lands, and comes to the worktree that has the target.
    pub fn land(&self, before: &Sight) -> Value {
        let run = self.run().expect(0).json();
        assert_eq!(run["schema"], "treehand/run/v1", "{run}");
        assert_eq!((&run["state"], &task(&run, "t")["state"]), (&"landed".into(), &"landed".into()), "{run}");
        let tip = task(&run, "t")["landed"]["commit"].as_str().expect("a landed commit").to_owned();
        let target = format!("refs/heads/{}", self.target);
        assert_eq!(self.git(&["rev-parse", &target]), tip, "the target is at the landed commit");
        assert_eq!(self.git(&["rev-parse", &format!("{tip}^@")]), before.refs[&target], "it lands as one commit");
        let trailers = self.git(&["log", "-1", "--format=%(trailers:key=Treehand-Task,valueonly)", &tip]);
        assert_eq!(trailers.trim(), "t");
        let (mut expected, now) = (before.clone(), self.look());
        expected.refs.insert(target.clone(), tip.clone());
        let changed =
            self.git(&["diff", "--no-ext-diff", "--no-renames", "--name-only", "-z", &format!("{tip}^"), &tip]);
        let changed: Vec<&str> = changed.split_terminator('\0').collect();
        assert!(!changed.is_empty(), "the task changed something");
        let whole = self.as_git_would(&tip);
        for tree in expected.trees.values_mut() {
            if !tree.status.iter().any(|line| line == &format!("# branch.head {}", self.target)) {
                continue;
            }
            for path in changed.iter().map(Path::new).filter(|path| self.is_checked_out(&tree.from, path)) {
                match whole.get(path) {
                    Some(file) => tree.files.insert(path.to_owned(), file.clone()),
                    None => tree.files.remove(path),
                };
            }
        }
        expected
            .refs
            .extend(now.refs.iter().filter(|(name, _)| *name == "refs/heads/w").map(|(a, b)| (a.clone(), b.clone())));
        assert_same(&now, &expected, "the landing came to the target's worktree, and nothing else changed");
        self.check_objects();
        run
    }

    /// False for what a sparse checkout leaves out.
    fn is_checked_out(&self, from: &Path, path: &Path) -> bool {
        let path = format!(":(top,literal){}", path.display());
        let listed = self.git_in(from, &["ls-files", "-t", "--", &path]);
        !listed.starts_with('S')
    }

    /// A run of the row's task.
    pub fn run(&self) -> Answer {
        // Strings of JSON are strings of TOML.
        let command = serde_json::json!(["sh", "-ec", self.change]);
        self.run_tasks(&format!("[[task]]\nid = \"t\"\ncommand = {command}\n"))
    }

    /// A run of this tasks file.
    pub fn run_tasks(&self, tasks: &str) -> Answer {
        let file = self.world.path().join("tasks.toml");
        std::fs::write(&file, tasks).expect("a tasks file");
        let file = file.to_string_lossy().into_owned();
        let mut args = vec!["run", "--json", "--confine", self.level, "--tasks", &file];
        args.extend(self.run_flags.iter().map(String::as_str));
        self.treehand(&args)
    }

    /// `undo` of the landing: the target and its worktree are as before it.
    pub fn undo(&self, before: &Sight) {
        let undone = self.treehand(&["undo", "--json"]).expect(0).json();
        assert_eq!(undone["schema"], "treehand/undo/v1", "{undone}");
        let mut now = self.look();
        if !before.refs.contains_key("refs/heads/w") {
            now.refs.remove("refs/heads/w");
        }
        assert_same(&now, before, "after `undo` all is as before the landing");
    }

    /// `rm`: the workspace goes, and its branch, which has no work.
    pub fn remove(&self, before: &Sight, workspace: &Path) {
        let removed = self.treehand(&["rm", "w", "--json"]).expect(0).json();
        assert_eq!(removed["schema"], "treehand/removal/v1", "{removed}");
        assert_eq!(removed["removed"][0]["branch_outcome"], "deleted", "{removed}");
        assert!(!workspace.exists());
        assert_same(&self.look(), before, "`rm` takes the workspace and nothing else");
    }

    /// `clean`: nothing of treehand's is left, and nothing of the person's is gone.
    pub fn clean(&self, before: &Sight) {
        let report = self.treehand(&["clean", "--yes", "--min-age", "0s", "--json"]).expect(0).json();
        assert_eq!((&report["schema"], &report["applied"]), (&"treehand/clean/v1".into(), &true.into()), "{report}");
        let failed = report["actions"].as_array().expect("actions").iter().any(|action| action["outcome"] == "failed");
        assert!(!failed, "{report}");
        assert_same(&self.look(), before, "after `clean` all is as it was at first");
        self.assert_nothing_left();
        self.check_objects();
    }

    fn check_objects(&self) {
        let mut args = vec!["fsck", "--no-dangling"];
        args.extend(self.fsck);
        self.git(&args);
    }

    fn assert_nothing_left(&self) {
        let refs = self.git(&["for-each-ref", "--format=%(refname)", "refs/heads/treehand/", "refs/treehand/base"]);
        assert_eq!(refs, "", "refs are left");
        let common = PathBuf::from(self.git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]));
        // The trash keeps a removed workspace as it was until the retention ends.
        let walk =
            walkdir::WalkDir::new(&common).into_iter().filter_entry(|e| e.path() != common.join("treehand/trash"));
        for entry in walk.filter_map(Result::ok) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy());
            assert!(!name.ends_with(".keep") && !name.ends_with(".lock"), "{} is left", path.display());
            assert!(
                !path.starts_with(common.join("worktrees")) || !name.starts_with("treehand"),
                "{} is left",
                path.display()
            );
        }
        let quarantine = common.join("treehand/quarantine");
        assert_eq!(std::fs::read_dir(&quarantine).map(Iterator::count).unwrap_or(0), 0, "quarantines are left");
        for entry in walkdir::WalkDir::new(self.world.path().join("state")).into_iter().filter_map(Result::ok) {
            // No leftover is the store of a repository whose own place cannot hold it, that it is known, and reports.
            let path = entry.path().strip_prefix(self.world.path()).unwrap_or(entry.path());
            let stays =
                ["repos", "known", "reports"].iter().any(|place| path.starts_with(format!("state/treehand/{place}")));
            assert!(stays || entry.file_type().is_dir(), "{} is left", entry.path().display());
        }
        for entry in walkdir::WalkDir::new(self.world.path()).max_depth(3).into_iter().filter_map(Result::ok) {
            assert!(!entry.file_name().as_bytes().ends_with(b".trees"), "{} is left", entry.path().display());
        }
    }

    /// A refusal: exit code and kind, a message that says this, a remedy, and nothing touched.
    pub fn refused(&self, args: &[&str], code: i32, kind: &str, says: &str) {
        let before = self.look();
        let mut args = args.to_vec();
        args.insert(0, "--json");
        let error = self.treehand(&args).expect(code).json();
        assert_eq!((&error["schema"], &error["kind"]), (&"treehand/error/v1".into(), &kind.into()), "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(says)), "{error}");
        assert!(error["hint"].as_str().is_some_and(|text| !text.is_empty()), "no remedy: {error}");
        assert_same(&self.look(), &before, "a refusal touches nothing");
    }

    /// A run whose result does not land: exit code and kind, a message that says this, and nothing of the person's touched.
    pub fn does_not_land(&self, code: i32, kind: &str, says: &str) -> Value {
        let mut before = self.look();
        let run = self.run().expect(code).json();
        let reason = &task(&run, "t")["reason"];
        assert_eq!(reason["kind"], kind, "{run}");
        assert!(reason["message"].as_str().is_some_and(|text| text.contains(says)), "{run}");
        let mut now = self.look();
        now.forget("refs/heads/treehand/");
        before.forget("refs/heads/treehand/");
        assert_same(&now, &before, "what does not land touches nothing");
        run
    }
}
