//! A world of its own for each story: home, state, repositories, and the real binary with a cleared environment.
#![expect(clippy::disallowed_methods, reason = "stories start the binary and git as a user does")]
#![allow(dead_code, reason = "each story file uses its own part of the world")]

pub mod chance;
pub mod followed;
pub mod mcp;
pub mod stub;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A temporary directory with a home, a state directory and a repository `repo` on branch `main`.
pub struct World {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

/// What a command answered.
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|error| panic!("no JSON document ({error}): {}\n{}", self.stdout, self.stderr))
    }

    /// Fails the story unless the command answered with this code.
    pub fn expect(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// The shim of the attempt with this mark.
pub fn shim(token: &str) -> String {
    let mark = format!("TREEHAND_ATTEMPT={token}");
    let has = |pid: &str, file: &str, text: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|part| part == text.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.find(|pid| has(pid, "cmdline", "__shim") && has(pid, "environ", &mark)).expect("a shim")
}

/// How far stories are confined that do not say: `strict` where this machine has a sandbox, else `off`, loudly.
pub fn level() -> &'static str {
    static LEVEL: std::sync::OnceLock<&str> = std::sync::OnceLock::new();
    LEVEL.get_or_init(|| {
        let world = World::new();
        world.treehand(&["new", "probe", "--sealed"]).expect(0);
        let probed = world.treehand(&["exec", "probe", "--confine", "strict", "--", "true"]);
        if probed.code == 0 {
            return "strict";
        }
        let required = std::env::var("TREEHAND_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name == "userns"), "a sandbox is required: {}", probed.stderr);
        writeln!(std::io::stderr(), "NOT RUN: confined, this machine has no sandbox: {}", probed.stderr)
            .expect("stderr is open");
        "off"
    })
}

/// Makes a file that was last written so long ago, with what is in it already.
pub fn aged(path: &Path, age: std::time::Duration) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("made");
    let now = std::time::SystemTime::now();
    file.set_modified(now.checked_sub(age).expect("a time")).expect("set");
}

impl World {
    /// A repository with one commit and no remote.
    pub fn new() -> World {
        let world = World::bare_of_repositories();
        std::fs::create_dir(world.repo()).expect("a directory");
        world.git(&["init", "-q", "-b", "main"]);
        world.commit("first", &[("a.txt", "one\ntwo\nthree\n"), ("src/lib.txt", "lib\n")]);
        world
    }

    /// A repository that was cloned from `up.git`, where `main` has one commit.
    pub fn with_remote() -> World {
        let world = World::new();
        let up = world.up();
        world.git(&["clone", "-q", "--bare", ".", &up.to_string_lossy()]);
        world.git(&["remote", "add", "origin", &up.to_string_lossy()]);
        world.git(&["fetch", "-q", "origin"]);
        world.git(&["branch", "-q", "--set-upstream-to=origin/main", "main"]);
        world
    }

    /// Home and state, no repository.
    pub fn bare_of_repositories() -> World {
        let dir = tempfile::Builder::new().prefix("treehand-story-").tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("home")).expect("a home");
        let config = "[user]\n\tname = Tester\n\temail = tester@example.com\n[init]\n\tdefaultBranch = main\n";
        std::fs::write(dir.path().join("home/.gitconfig"), config).expect("a configuration");
        World { dir, variables: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    pub fn up(&self) -> PathBuf {
        self.path().join("up.git")
    }

    pub fn trees(&self) -> PathBuf {
        self.path().join("repo.trees")
    }

    /// Sets a variable for every command, as in a person's shell.
    pub fn set(&mut self, name: &'static str, value: &'static str) {
        self.variables.push((name, value));
    }

    /// Writes the user's configuration.
    pub fn configure(&self, toml: &str) {
        let place = self.path().join("home/.config/treehand");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.toml"), toml).expect("written");
    }

    /// Gives a command the environment of this world and nothing else.
    pub fn clean(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", self.path().join("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("XDG_STATE_HOME", self.path().join("state")).env("GIT_CONFIG_NOSYSTEM", "1").env("TZ", "UTC");
        command.envs(self.variables.iter().copied());
    }

    /// The binary, ready to be started in the repository.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treehand"));
        self.clean(&mut command);
        command.args(args).current_dir(self.repo()).stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn treehand(&self, args: &[&str]) -> Answer {
        answer(self.command(args))
    }

    /// Runs the binary somewhere, to its end.
    pub fn treehand_at(&self, directory: &Path, args: &[&str]) -> Answer {
        let mut command = self.command(args);
        command.current_dir(directory);
        answer(command)
    }

    /// The binary as an ordinary user, whose the world is from then on; `None` where nobody can become one.
    pub fn as_ordinary_user(&self) -> Option<impl Fn(&[&str]) -> Answer> {
        let world = self;
        let ids = ["--reuid=12345", "--regid=12345", "--clear-groups"];
        let is_root = world.shell("test $(id -u) = 0").code == 0;
        let place = world.path().to_string_lossy().into_owned();
        let binary = world.path().join("treehand");
        world.copy_program(&binary);
        let give = format!("setpriv {} true && chown -R 12345:12345 '{place}'", ids.join(" "));
        if is_root && world.shell(&give).code != 0 {
            writeln!(std::io::stderr(), "NOT RUN: root may do everything, and there is no setpriv to be somebody else")
                .expect("stderr is open");
            return None;
        }
        Some(move |args: &[&str]| {
            let mut command = Command::new(if is_root { "setpriv".as_ref() } else { binary.as_os_str() });
            world.clean(&mut command);
            if is_root {
                command.args(ids).arg(&binary);
            }
            command.args(args).current_dir(world.repo()).stdin(Stdio::null());
            answer(command)
        })
    }

    /// Runs a script with `sh` in the repository.
    pub fn shell(&self, script: &str) -> Answer {
        let mut command = Command::new("sh");
        self.clean(&mut command);
        command.args(["-c", script]).current_dir(self.repo()).stdin(Stdio::null());
        answer(command)
    }

    /// Copies the program under test, by another process: what this one writes may be held open for a moment by a child that another
    /// test is just starting, and is busy for who would start it then.
    pub fn copy_program(&self, to: &Path) {
        let mut command = Command::new("cp");
        self.clean(&mut command);
        command.arg(env!("CARGO_BIN_EXE_treehand")).arg(to);
        answer(command).expect(0);
    }

    /// True when a program is installed. Says so when it is not, and fails where `TREEHAND_REQUIRE` names it.
    pub fn has(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
        if !found {
            let required = std::env::var("TREEHAND_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == program), "{program} is required and not installed");
            // Not with `eprintln!`, which the harness keeps to itself where a test passes.
            writeln!(std::io::stderr(), "NOT RUN: {program} is not installed").expect("stderr is open");
        }
        found
    }

    /// Runs a script with a shell in the repository, with the binary on PATH; `None` where the shell is not installed.
    pub fn in_shell(&self, shell: &[&str], script: &str) -> Option<Answer> {
        let binary = Path::new(env!("CARGO_BIN_EXE_treehand")).parent().expect("a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let with_binary = std::env::join_paths(std::iter::once(binary).chain(std::env::split_paths(&path)));
        if !self.has(shell[0]) {
            return None;
        }
        let mut command = Command::new(shell[0]);
        self.clean(&mut command);
        command.env("PATH", with_binary.expect("a PATH")).args(&shell[1..]).args(["-c", script]);
        command.current_dir(self.repo()).stdin(Stdio::null());
        Some(answer(command))
    }

    /// Runs a tasks file without confinement, with `--json` and these flags.
    pub fn run_tasks(&self, tasks: &str, flags: &[&str]) -> Answer {
        let file = self.path().join("tasks.toml");
        std::fs::write(&file, tasks).expect("a tasks file");
        let file = file.to_string_lossy().into_owned();
        let mut args = vec!["run", "--json", "--tasks", &file];
        args.extend(flags);
        if !flags.contains(&"--confine") {
            args.extend(["--confine", "off"]);
        }
        self.treehand(&args)
    }

    /// The only run that there is.
    pub fn only_run(&self) -> String {
        let runs = self.treehand(&["ps", "--json"]).expect(0).json();
        assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
        runs["runs"][0]["run"].as_str().expect("a run").to_owned()
    }

    pub fn lock_of(&self, run: &str) -> PathBuf {
        self.repo().join(format!(".git/treehand/locks/run-{run}"))
    }

    /// The pid of the supervisor of a run.
    pub fn supervisor(&self, run: &str) -> String {
        let holder = std::fs::read_to_string(self.lock_of(run)).expect("a lock file");
        holder.rsplit(' ').next().expect("a pid").trim().to_owned()
    }

    /// Waits until nobody supervises a run.
    pub fn wait_unsupervised(&self, run: &str) {
        let lock = std::fs::File::open(self.lock_of(run)).expect("a lock file");
        lock.lock_shared().expect("its supervisor is gone");
    }

    /// Runs git in the repository; it must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.repo(), args)
    }

    /// Runs git somewhere; it must succeed.
    pub fn git_in(&self, directory: &Path, args: &[&str]) -> String {
        let output = self.try_git_in(directory, args);
        assert_eq!(output.code, 0, "git {args:?}: {}", output.stderr);
        output.stdout.trim_end().to_owned()
    }

    /// Runs git somewhere.
    pub fn try_git_in(&self, directory: &Path, args: &[&str]) -> Answer {
        let mut command = Command::new("git");
        self.clean(&mut command);
        command.args(args).current_dir(directory).stdin(Stdio::null());
        answer(command)
    }

    /// Writes files and commits them on the branch that is checked out.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            self.write(name, text);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes a file of the main worktree.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.repo().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, text).expect("a file");
    }

    /// Adds a commit to `main` of the remote, as a colleague would.
    pub fn commit_upstream(&self, message: &str, name: &str, text: &str) -> String {
        let other = self.path().join(format!("colleague-{}", message.replace(' ', "-")));
        self.git_in(self.path(), &["clone", "-q", &self.up().to_string_lossy(), &other.to_string_lossy()]);
        std::fs::write(other.join(name), text).expect("a file");
        self.git_in(&other, &["add", "--all"]);
        self.git_in(&other, &["commit", "-q", "-m", message]);
        self.git_in(&other, &["push", "-q", "origin", "HEAD:main"]);
        self.git_in(&other, &["rev-parse", "HEAD"])
    }

    /// The tree of a workspace.
    pub fn tree(&self, name: &str) -> PathBuf {
        self.trees().join(name).join("repo")
    }

    /// Commits a file in a workspace, as `NAME changes FILE`.
    pub fn commit_in(&self, name: &str, file: &str, text: &str) {
        let tree = self.tree(name);
        std::fs::write(tree.join(file), text).expect("written");
        self.git_in(&tree, &["add", "--all"]);
        self.git_in(&tree, &["commit", "-q", "-m", &format!("{name} changes {file}")]);
    }

    /// Lets whoever checks out a file of this worktree die there and then, with the treehand that started it: once.
    pub fn die_at_the_first_file(&self, tree: &Path) {
        let script = self.path().join("smudge");
        let text = format!(
            "#!/bin/sh\ncat\n[ \"$PWD\" = '{tree}' ] && [ ! -e '{mark}' ] || exit 0\n: > '{mark}'\np=$PPID\n\
             while [ \"$p\" -gt 1 ]; do\n  next=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$p/stat)\n  name=$(cat /proc/$p/comm)\n\
             \x20 case $name in git|treehand) kill -9 $p;; esac\n  [ \"$name\" = treehand ] && exit 0\n  p=$next\ndone\n",
            tree = tree.display(),
            mark = self.path().join("died").display()
        );
        std::fs::write(&script, text).expect("written");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        self.commit("attributes", &[(".gitattributes", "a.txt filter=trap\n")]);
        self.git(&["config", "filter.trap.smudge", &script.to_string_lossy()]);
    }

    /// What `fresh` says of a workspace.
    pub fn fresh(&self, name: &str) -> Value {
        let document = self.treehand(&["--json", "fresh", name]).expect(0).json();
        document["workspaces"][0].clone()
    }

    /// Adds a commit to `main` of the remote in place of what it has beyond a commit, as a colleague would by force.
    pub fn force_upstream(&self, from: &str, message: &str, files: &[(&str, &str)]) -> String {
        let other = self.path().join(format!("forces-{}", message.replace(' ', "-")));
        self.git_in(self.path(), &["clone", "-q", &self.up().to_string_lossy(), &other.to_string_lossy()]);
        self.git_in(&other, &["reset", "-q", "--hard", from]);
        for (name, text) in files {
            std::fs::write(other.join(name), text).expect("a file");
            self.git_in(&other, &["add", "--all"]);
            self.git_in(&other, &["commit", "-q", "-m", message]);
        }
        self.git_in(&other, &["push", "-q", "--force", "origin", "HEAD:main"]);
        self.git_in(&other, &["rev-parse", "HEAD"])
    }

    /// The content of a file at a revision.
    pub fn show(&self, revision: &str, name: &str) -> String {
        self.try_git_in(&self.repo(), &["show", &format!("{revision}:{name}")]).expect(0).stdout
    }

    /// Everything of treehand's is gone but what `ls` names: no branch, ref, entry, workspace, quarantine or lock of git's.
    pub fn assert_nothing_left(&self) {
        let refs = self.git(&["for-each-ref", "--format=%(refname)", "refs/heads/treehand", "refs/treehand/base"]);
        assert_eq!(refs, "", "refs are left");
        assert_eq!(self.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1, "entries are left");
        assert!(!self.trees().exists(), "workspaces are left in {}", self.trees().display());
        let quarantine = self.repo().join(".git/treehand/quarantine");
        let left = std::fs::read_dir(&quarantine).map(Iterator::count).unwrap_or(0);
        assert_eq!(left, 0, "quarantines are left");
        let packs = std::fs::read_dir(self.repo().join(".git/objects/pack")).expect("packs");
        let kept =
            packs.filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".keep")));
        assert_eq!(kept.count(), 0, "keep files are left");
        let sealed = walkdir::WalkDir::new(self.path().join("state/treehand")).into_iter();
        // That the repository is known stays, and what is told of cleanups.
        let sealed = sealed
            .filter_entry(|entry| !["known", "reports"].iter().any(|name| entry.file_name() == *name))
            .filter_map(Result::ok);
        let files: Vec<_> = sealed.filter(|entry| !entry.file_type().is_dir()).map(|e| e.path().to_owned()).collect();
        assert!(files.is_empty(), "private files are left: {files:?}");
        self.git(&["fsck", "--full", "--strict"]);
    }
}

/// Runs a command to its end.
pub fn answer(mut command: Command) -> Answer {
    let output = loop {
        match command.output() {
            // A program that this test has just written is open for writing in what another test is forking at this moment.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.expect("the command starts"),
        }
    };
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal to a process.
pub fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").args([format!("-{name}").as_str(), pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// A process that is not a child of ours.
pub struct Handle(std::os::fd::OwnedFd);

/// The handle of a living process.
pub fn handle(pid: &str) -> Handle {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
    Handle(pidfd_open(pid, PidfdFlags::empty()).expect("it lives"))
}

impl Handle {
    /// Waits for its end.
    pub fn wait(&self) {
        self.poll(None);
    }

    /// True when it has ended.
    pub fn is_over(&self) -> bool {
        self.poll(Some(&rustix::event::Timespec::default()))
    }

    fn poll(&self, limit: Option<&rustix::event::Timespec>) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit).expect("it can be waited for") > 0
    }
}

/// The lines that only one of two texts has.
pub fn difference(expected: &str, found: &str) -> String {
    let only = |of: &str, other: &str, sign: char| -> String {
        let other: Vec<&str> = other.lines().collect();
        of.lines().filter(|line| !other.contains(line)).map(|line| format!("\n{sign} {line}")).collect()
    };
    only(expected, found, '-') + &only(found, expected, '+')
}

/// The task with this id in a run document.
pub fn task<'a>(run: &'a Value, id: &str) -> &'a Value {
    let tasks = run["tasks"].as_array().expect("tasks");
    tasks.iter().find(|task| task["id"] == id).unwrap_or_else(|| panic!("no task {id} in {run}"))
}

/// The state of a task in a run document.
pub fn state<'a>(run: &'a Value, id: &str) -> &'a str {
    task(run, id)["state"].as_str().expect("a state")
}
