//! Stories of what works inside: git as everywhere, builds, test suites, servers and terminals, confined.

#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

use crate::support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use support::{Answer, World, level};

/// A sealed workspace of a repository with a little history.
fn world() -> World {
    let world = World::new();
    world.commit("second", &[("b.txt", "b\n")]);
    world.commit("third", &[("c.txt", "c\n")]);
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    world
}

fn inside(world: &World, level: &str, script: &str) -> Answer {
    world.treehand(&["exec", "s", "--confine", level, "--", "sh", "-ec", script])
}

/// The levels that this machine has, of those that keep a command from git's own files.
fn levels() -> Vec<&'static str> {
    let world = world();
    let mut levels = vec!["off"];
    levels.extend((level() == "strict").then_some("strict"));
    levels.extend((inside(&world, "landlock", "true").code == 0).then_some("landlock"));
    levels
}

/// Everyday git, each line in the workspace that the last one left.
const WORKS: &[&str] = &[
    "git status; git diff; git log --oneline; git blame a.txt; git fsck; git show; git grep one; git shortlog -s HEAD",
    "echo x > x; git add x; git commit -qm x; git commit -q --amend -m 'x again'",
    "echo y >> x; git stash -q; git stash pop -q; git stash -q; git stash list; git stash drop -q",
    "git switch -qc feature; echo f > f; git add f; git commit -qm f; git switch -q -; git switch -q feature",
    "git switch -qc other HEAD~2; echo o > o; git add o; git commit -qm o; git rebase -q feature",
    "GIT_SEQUENCE_EDITOR=true git rebase -qi HEAD~2",
    "echo z > z; git add z; git commit -qm z; git rebase -q --onto HEAD~1 HEAD~1",
    "echo more >> f; git commit -qam 'fixup! f'; echo loose >> o; GIT_SEQUENCE_EDITOR=true git rebase -qi --autosquash --autostash HEAD~3; git checkout -q o",
    "git switch -qc left; echo left > side; git add side; git commit -qm left; git switch -qc right HEAD~1; echo right > side; \
     git add side; git commit -qm right; if git rebase -q left 2>/dev/null; then exit 1; fi; echo both > side; git add side; \
     GIT_EDITOR=true git rebase --continue",
    "git switch -qc picked left~1; git cherry-pick left; git switch -qc mine left~1; echo mine > side; git add side; \
     git commit -qm mine; if git cherry-pick left 2>/dev/null; then exit 1; fi; git cherry-pick --abort; test ! -e .git/CHERRY_PICK_HEAD; \
     git switch -q right",
    "git switch -qc joined right~1; echo j > j; git add j; git commit -qm j; git merge -q --no-ff -m joined right; git switch -q joined",
    "git revert --no-edit HEAD~1 || git revert --abort; git reset -q --hard",
    "git tag t1; git tag -am t2 t2; git notes add -m note; git branch -D picked; git pack-refs --all; git repack -adq; git prune",
    "git bisect start; git bisect bad HEAD; git bisect good HEAD~2; git bisect reset",
    "git mv b.txt d.txt; git rm -q c.txt; git clean -fdq; git archive HEAD > /dev/null; git reset -q --hard; git worktree list",
    "git config --global x.y z; test \"$(git config --global x.y)\" = z",
    "d=$(mktemp -d); git init -q $d/one; cd $d/one; echo x > x; git add x; git commit -qm x; git clone -q . ../two; git gc -q; \
     git worktree add -q ../three; cd ../two; git pull -q; git push -q origin HEAD:refs/heads/pushed",
];

/// What a workspace keeps closed, with what git says of it.
const CLOSED: &[&str] = &[
    "git config x.y z",
    "git remote add evil /tmp/evil",
    "git worktree add ../another",
    "git gc -q",
    "git fetch \"$TREEHAND_MAIN\"",
    "git push \"$TREEHAND_MAIN\" HEAD",
];

#[test]
fn everyday_git_works_and_what_is_the_repositorys_is_closed() {
    for level in levels() {
        let world = world();
        for script in WORKS {
            let answer = inside(&world, level, script);
            assert_eq!(answer.code, 0, "{level}: {script}\n{}{}", answer.stdout, answer.stderr);
        }
        for script in CLOSED.iter().filter(|_| level != "off") {
            assert_ne!(inside(&world, level, script).code, 0, "{level}: {script}");
        }
        // What was committed comes out as it is.
        let diff = world.treehand(&["diff", "s", "--json"]).expect(0).json();
        assert!(diff["files"].as_array().is_some_and(|files| files.iter().any(|file| file["path"] == "x")), "{diff}");
        world.git(&["fsck", "--full", "--strict"]);
    }
}

/// The user's own toolchains, which a story's cleared environment does not name.
fn toolchains(world: &mut World) {
    for name in ["CARGO_HOME", "RUSTUP_HOME", "PYENV_ROOT"] {
        if let Ok(value) = std::env::var(name) {
            world.set(name, value.leak());
        } else if let (Some(home), "CARGO_HOME" | "RUSTUP_HOME") = (std::env::home_dir(), name) {
            let usual = home.join(if name == "CARGO_HOME" { ".cargo" } else { ".rustup" });
            world.set(name, usual.to_string_lossy().into_owned().leak());
        }
    }
}

#[test]
fn cargo_builds_and_tests_a_crate_with_vendored_dependencies() {
    let mut world = world();
    toolchains(&mut world);
    if !world.has("cargo") {
        return;
    }
    let script = r#"
        mkdir -p .cargo src vendor/dep/src
        printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "vendor"\n' > .cargo/config.toml
        printf '[package]\nname = "dep"\nversion = "1.0.0"\nedition = "2021"\n' > vendor/dep/Cargo.toml
        echo 'pub fn one() -> u8 { 1 }' > vendor/dep/src/lib.rs
        printf '{"files":{},"package":"%064d"}' 0 > vendor/dep/.cargo-checksum.json
        printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ndep = "1"\n' > Cargo.toml
        printf '#[test]\nfn one() { assert_eq!(dep::one(), 1) }\n' > src/lib.rs
        cargo test -q --offline
    "#;
    let answer = inside(&world, level(), script).expect(0);
    assert!(answer.stdout.contains("1 passed"), "{}{}", answer.stdout, answer.stderr);
}

/// A registry with one package, which answers until it is asked for `/bye`.
fn registry() -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let serving = std::thread::spawn(move || {
        let pack = std::process::Command::new("sh")
            .args(["-c", "d=$(mktemp -d); mkdir $d/package; cd $d; echo '{\"name\":\"dep\",\"version\":\"1.0.0\"}' > package/package.json; \
                   tar czf - package; cd /; rm -r $d"])
            .output();
        let pack = pack.expect("a package").stdout;
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
            let mut first = String::new();
            reader.read_line(&mut first).expect("a request");
            if first.contains("/bye") {
                return;
            }
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let (kind, body) = if first.contains(".tgz") {
                ("application/octet-stream", pack.clone())
            } else {
                let place = format!("http://127.0.0.1:{port}/dep/-/dep-1.0.0.tgz");
                let version = serde_json::json!({"name": "dep", "version": "1.0.0", "dist": {"tarball": place}});
                let all = serde_json::json!({"name": "dep", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}});
                ("application/json", all.to_string().into_bytes())
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).expect("answered");
        }
    });
    (port, serving)
}

#[test]
fn npm_installs_from_the_users_warm_cache() {
    let world = world();
    if !world.has("npm") || level() != "strict" {
        return;
    }
    let (port, serving) = registry();
    let warm = format!(
        "mkdir warm; cd warm; echo '{{\"name\":\"n\",\"version\":\"1.0.0\",\"dependencies\":{{\"dep\":\"1\"}}}}' > package.json; \
         npm install --no-audit --no-fund --registry http://127.0.0.1:{port}/"
    );
    world.shell(&warm).expect(0);
    let bye =
        std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| stream.write_all(b"GET /bye\r\n"));
    bye.expect("said");
    serving.join().expect("served");
    let files = ["package.json", "package-lock.json"]
        .map(|name| std::fs::read_to_string(world.repo().join("warm").join(name)).expect("there"));
    let tree = world.trees().join("s/repo");
    for (name, text) in ["package.json", "package-lock.json"].iter().zip(files) {
        std::fs::write(tree.join(name), text).expect("written");
    }
    let answer = inside(&world, "strict", "npm ci --offline --no-audit --no-fund; cat node_modules/dep/package.json");
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("\"dep\""), "{}", answer.stdout);
    // What a command does to the cache is its own.
    let cache = "cd \"$npm_config_cache/_cacache\" && rm -rf content-v2 && echo evil > index-v5/evil && ls";
    inside(&world, "strict", cache).expect(0);
    let cached = world.path().join("home/.npm/_cacache");
    assert!(cached.join("content-v2").is_dir() && !cached.join("index-v5/evil").exists());
}

#[test]
fn python_makes_environments_and_runs_tests() {
    let mut world = world();
    toolchains(&mut world);
    if !world.has("python3") {
        return;
    }
    let script = r#"
        python3 -m venv --without-pip env
        env/bin/python -c 'import sys; assert sys.prefix != sys.base_prefix'
        printf 'import unittest\nclass T(unittest.TestCase):\n    def test_it(self): self.assertEqual(1, 1)\n' > test_it.py
        if python3 -c 'import pytest' 2>/dev/null; then python3 -m pytest -q; else python3 -m unittest -q; fi
        python3 - <<'END'
import multiprocessing, os, pty, socket, tempfile, threading, http.server, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert urllib.request.urlopen("http://127.0.0.1:%d/" % server.server_port).status == 200
pty.openpty(); assert pty.spawn(["true"]) == 0
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
with tempfile.TemporaryDirectory() as place:
    listener = socket.socket(socket.AF_UNIX); listener.bind(place + "/socket"); listener.listen()
    socket.socket(socket.AF_UNIX).connect(place + "/socket")
    os.mkfifo(place + "/pipe"); os.link(place + "/pipe", place + "/other")
socket.socket(socket.AF_INET6).bind(("::1", 0))
END
    "#;
    let answer = inside(&world, level(), script);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
}

#[test]
fn go_runs_tests() {
    let world = world();
    if !world.has("go") {
        return;
    }
    let script = r#"
        printf 'module small\ngo 1.18\n' > go.mod
        printf 'package small\nimport "testing"\nfunc TestIt(t *testing.T) {}\n' > it_test.go
        go test ./...
    "#;
    let answer = inside(&world, level(), script);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
}

#[test]
fn the_terminal_has_a_name_inside_and_is_given_back() {
    let world = world();
    if !world.has("script") || !world.has("bash") {
        return;
    }
    let treehand = env!("CARGO_BIN_EXE_treehand");
    // Typing into it stays refused, by this name as well.
    let inner = "set -m; tty; echo by its name > $(tty); sleep 0.1 & fg; \
                 perl -e 'open(my $f, \"+<\", \"/dev/console\") or exit; my $x = \"q\"; print \"typed\" if ioctl($f, 0x5412, $x)'";
    std::fs::write(world.path().join("home/inner"), inner).expect("written");
    let run = format!("{treehand} exec s --confine {} -- bash --norc -ic \"$(cat ~/inner)\"", level());
    let mut command = std::process::Command::new("script");
    world.clean(&mut command);
    command.env("SHELL", "/bin/sh").args(["-qec", &format!("{run}; read x; echo \"got <$x>\""), "/dev/null"]);
    command.current_dir(world.repo()).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"line\n").expect("written");
    let mut said = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut said).expect("read");
    assert!(child.wait().expect("ended").success(), "{said}");
    let name = if level() == "strict" { "/dev/console" } else { "/dev/" };
    for wanted in [name, "by its name", "sleep 0.1", "got <line>"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(!said.contains("typed"), "{said}");
}

#[test]
fn a_person_has_the_terminal() {
    let world = world();
    if !world.has("script") {
        return;
    }
    let treehand = env!("CARGO_BIN_EXE_treehand");
    let inner = "test -t 0 && test -t 1 && stty size && echo on a terminal";
    let mut command = std::process::Command::new("script");
    world.clean(&mut command);
    let line = format!("{treehand} exec s --confine {} -- sh -c '{inner}'", level());
    command.args(["-qec", &line, "/dev/null"]).current_dir(world.repo()).stdin(std::process::Stdio::null());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let mut said = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut said).expect("read");
    assert!(child.wait().expect("ended").success(), "{said}");
    assert!(said.contains("on a terminal"), "{said}");
}
