//! What an attack is about: a world with secrets, listeners and a process, and a sealed workspace that it starts from.
//! Everything lives until the attack is over, and is compared with what it was.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::support::{self, World};

/// What an attacker knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Victims {
    pub home: PathBuf,
    pub key: PathBuf,
    pub repo: PathBuf,
    pub tree: PathBuf,
    pub private: PathBuf,
    pub pack: PathBuf,
    pub sibling: PathBuf,
    pub tcp: u16,
    pub udp: u16,
    pub abstract_name: String,
    pub socket: PathBuf,
    pub process: i32,
    pub marker: PathBuf,
    pub shared_marker: PathBuf,
}

pub struct Stage {
    world: World,
    victims: Victims,
    process: Child,
    listeners: (TcpListener, UnixListener, UnixListener, UdpSocket),
    before: Vec<(PathBuf, Option<Vec<u8>>, u32)>,
}

/// True where the level `landlock` can be had; says so where it cannot.
pub fn has_fence() -> bool {
    use std::io::Write;
    static FENCE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FENCE.get_or_init(|| {
        let world = World::new();
        world.treehand(&["new", "probe", "--sealed"]).expect(0);
        let probed = world.treehand(&["exec", "probe", "--confine", "landlock", "--", "true"]);
        let required = std::env::var("TREEHAND_REQUIRE").unwrap_or_default();
        let promised = required.split(',').any(|name| name == "landlock");
        assert!(probed.code == 0 || !promised, "landlock is required: {}", probed.stderr);
        if probed.code != 0 {
            writeln!(std::io::stderr(), "NOT RUN: behind landlock alone: {}", probed.stderr).expect("stderr is open");
        }
        probed.code == 0
    })
}

/// True where Landlock looks at socket files.
pub fn knows_socket_files() -> bool {
    treehand::confine::sandbox::landlock_abi().is_ok_and(|abi| abi >= landlock::ABI::V9)
}

impl Stage {
    pub fn new() -> Stage {
        let world = World::new();
        world.git(&["gc", "-q"]);
        let home = world.path().join("home");
        let key = home.join(".ssh/id");
        std::fs::create_dir(home.join(".ssh")).expect("made");
        std::fs::write(&key, "secret").expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
        let socket = home.join("socket");
        let abstract_name = format!("treehand-escape-{}-{}", std::process::id(), world.path().display());
        let name = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
        let listeners = (
            TcpListener::bind("127.0.0.1:0").expect("bound"),
            UnixListener::bind_addr(&name).expect("bound"),
            UnixListener::bind(&socket).expect("bound"),
            UdpSocket::bind("127.0.0.1:0").expect("bound"),
        );
        let process = Command::new("sleep").arg("1000").env("VICTIM_SECRET", "secret").stdin(Stdio::null()).spawn();
        let process = process.expect("a process");
        world.treehand(&["new", "s", "--sealed"]).expect(0);
        let tree = PathBuf::from(world.treehand(&["path", "s"]).expect(0).stdout.trim());
        let sibling = world.trees().join("other/repo/secret.txt");
        std::fs::create_dir_all(sibling.parent().expect("a parent")).expect("made");
        std::fs::write(&sibling, "secret").expect("written");
        let link = std::fs::read_to_string(tree.join(".git")).expect("a link");
        let admin = PathBuf::from(link.trim().strip_prefix("gitdir: ").expect("a link"));
        let private = admin.parent().and_then(|dir| dir.parent()).expect("a private dir").to_owned();
        let packs = std::fs::read_dir(world.repo().join(".git/objects/pack")).expect("packs");
        let pack = packs.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "pack"));
        let pack = pack.expect("a pack");
        std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o644)).expect("set");
        let victims = Victims {
            marker: PathBuf::from(format!("/tmp/treehand-escape-{}", process.id())),
            shared_marker: PathBuf::from(format!("/dev/shm/treehand-escape-{}", process.id())),
            sibling,
            udp: listeners.3.local_addr().expect("an address").port(),
            process: i32::try_from(process.id()).expect("a pid"),
            tcp: listeners.0.local_addr().expect("an address").port(),
            repo: world.repo(),
            pack,
            home,
            key,
            tree,
            private,
            abstract_name,
            socket,
        };
        let mut stage = Stage { world, victims, process, listeners, before: Vec::new() };
        stage.before = stage.look();
        stage
    }

    /// Runs an attack at a level; its exit code.
    pub fn attack(&self, name: &str, level: &str) -> i32 {
        let own = std::env::current_exe().expect("this program");
        let read = format!("confine.read={}", own.display());
        let victims = serde_json::to_string(&self.victims).expect("JSON");
        let script = "ATTACK=$1 VICTIMS=$2 exec \"$3\" attacker_inside --exact --nocapture";
        let own = own.to_string_lossy().into_owned();
        let (name, net) = match name.strip_suffix("_with_the_network") {
            Some(name) => (name, "full"),
            None => (name, "none"),
        };
        let command = ["--", "sh", "-c", script, "sh", name, &victims, &own];
        let args = [&["exec", "s", "--set", &read, "--confine", level, "--net", net][..], &command].concat();
        // Whoever started treehand left something open.
        let mut outer = self.world.command(&args);
        let key = rustix::fs::open(&self.victims.key, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        let key = key.expect("opened");
        outer.stdin(Stdio::null());
        let answer = support::answer(outer);
        drop(key);
        answer.code
    }

    pub fn path(&self) -> &Path {
        self.world.path()
    }

    /// Runs a confined command with this as its standard input; its exit code.
    pub fn with_input(&self, input: std::os::fd::OwnedFd, net: &str, command: &[&str]) -> i32 {
        let mut treehand = self.world.command(&[&["exec", "s", "--net", net, "--"], command].concat());
        treehand.stdin(input);
        support::answer(treehand).code
    }

    /// Runs a command at a level with these as its standard input and output; what it said on standard error.
    pub fn with_files(&self, level: &str, input: &Path, output: &Path, command: &[&str]) -> String {
        let mut treehand = self.world.command(&[&["exec", "s", "--confine", level, "--"], command].concat());
        treehand.stdin(std::fs::File::open(input).expect("opened"));
        treehand.stdout(std::fs::OpenOptions::new().append(true).open(output).expect("opened"));
        support::answer(treehand).stderr
    }

    /// Runs a command in the workspace at a level; its exit code.
    pub fn run(&self, level: &str, command: &[&str]) -> i32 {
        self.world.treehand(&[&["exec", "s", "--confine", level, "--"], command].concat()).code
    }

    /// Nothing that an attack is after has changed, nobody came to the listeners, the process lives.
    pub fn assert_unharmed(&self) {
        for (now, before) in self.look().iter().zip(&self.before) {
            assert!(now == before, "{} was changed", before.0.display());
        }
        let (tcp, hidden, socket, udp) = &self.listeners;
        tcp.set_nonblocking(true).and_then(|()| hidden.set_nonblocking(true)).expect("set");
        socket.set_nonblocking(true).and_then(|()| udp.set_nonblocking(true)).expect("set");
        assert!(tcp.accept().is_err() && hidden.accept().is_err() && socket.accept().is_err(), "somebody came");
        assert!(udp.recv(&mut [0; 8]).is_err(), "something was sent");
        let pid = nix::unistd::Pid::from_raw(self.victims.process);
        assert!(nix::sys::signal::kill(pid, None).is_ok(), "the process is gone");
        assert!(!self.victims.marker.exists() && !self.victims.shared_marker.exists());
    }

    fn look(&self) -> Vec<(PathBuf, Option<Vec<u8>>, u32)> {
        let Victims { home, key, repo, private, pack, tree, sibling, .. } = &self.victims;
        let files = [
            home.join(".bashrc"),
            home.join(".ssh/authorized_keys"),
            sibling.clone(),
            sibling.with_file_name("planted"),
            repo.join(".git/HEAD"),
            repo.join(".git/packed-refs"),
            repo.join(".git/info/attributes"),
            repo.join(".git/objects/pack/planted.pack"),
            private.join("packed-refs"),
            private.join("worktrees/wt/config.worktree"),
            key.clone(),
            repo.join(".git/config"),
            repo.join(".git/hooks/post-checkout"),
            repo.join(".git/refs/heads/planted"),
            repo.join("a.txt"),
            repo.join("planted"),
            pack.clone(),
            private.join("config"),
            private.join("hooks/post-commit"),
            private.join("worktrees/wt/commondir"),
            tree.join(".git"),
        ];
        let look = |path: PathBuf| {
            let mode = std::fs::symlink_metadata(&path).map_or(0, |meta| meta.permissions().mode());
            (path.clone(), std::fs::read(path).ok(), mode)
        };
        files.into_iter().map(look).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
        for marker in [&self.victims.marker, &self.victims.shared_marker] {
            let _removed = std::fs::remove_file(marker);
        }
    }
}
