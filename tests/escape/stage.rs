//! What an attack is about: a world with secrets, listeners and a process, and a sealed workspace that it starts from.
//! Everything lives until the attack is over, and is compared with what it was.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::support::World;

/// What an attacker knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Victims {
    pub home: PathBuf,
    pub key: PathBuf,
    pub repo: PathBuf,
    pub tree: PathBuf,
    pub private: PathBuf,
    pub pack: PathBuf,
    pub tcp: u16,
    pub abstract_name: String,
    pub socket: PathBuf,
    pub process: i32,
    pub marker: PathBuf,
}

pub struct Stage {
    world: World,
    victims: Victims,
    process: Child,
    listeners: (TcpListener, UnixListener, UnixListener),
    before: Vec<(PathBuf, Option<Vec<u8>>, u32)>,
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
        );
        let process = Command::new("sleep").arg("1000").env("VICTIM_SECRET", "secret").stdin(Stdio::null()).spawn();
        let process = process.expect("a process");
        world.treehand(&["new", "s", "--sealed"]).expect(0);
        let tree = PathBuf::from(world.treehand(&["path", "s"]).expect(0).stdout.trim());
        let link = std::fs::read_to_string(tree.join(".git")).expect("a link");
        let admin = PathBuf::from(link.trim().strip_prefix("gitdir: ").expect("a link"));
        let private = admin.parent().and_then(|dir| dir.parent()).expect("a private dir").to_owned();
        let packs = std::fs::read_dir(world.repo().join(".git/objects/pack")).expect("packs");
        let pack = packs.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "pack"));
        let victims = Victims {
            marker: PathBuf::from(format!("/tmp/treehand-escape-{}", process.id())),
            process: i32::try_from(process.id()).expect("a pid"),
            tcp: listeners.0.local_addr().expect("an address").port(),
            repo: world.repo(),
            pack: pack.expect("a pack"),
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
        let args =
            ["exec", "s", "--set", &read, "--confine", level, "--", "sh", "-c", script, "sh", name, &victims, &own];
        self.world.treehand(&args).code
    }

    /// Runs a command in the workspace at a level; its exit code.
    pub fn run(&self, level: &str, command: &[&str]) -> i32 {
        self.world.treehand(&[&["exec", "s", "--confine", level, "--"], command].concat()).code
    }

    /// Nothing that an attack is after has changed, nobody came to the listeners, the process lives.
    pub fn assert_unharmed(&self) {
        assert_eq!(self.look(), self.before);
        let (tcp, hidden, socket) = &self.listeners;
        tcp.set_nonblocking(true).and_then(|()| hidden.set_nonblocking(true)).expect("set");
        socket.set_nonblocking(true).expect("set");
        assert!(tcp.accept().is_err() && hidden.accept().is_err() && socket.accept().is_err(), "somebody came");
        let pid = nix::unistd::Pid::from_raw(self.victims.process);
        assert!(nix::sys::signal::kill(pid, None).is_ok(), "the process is gone");
        assert!(!self.victims.marker.exists());
    }

    fn look(&self) -> Vec<(PathBuf, Option<Vec<u8>>, u32)> {
        let Victims { home, key, repo, private, pack, tree, .. } = &self.victims;
        let files = [
            home.join(".bashrc"),
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
        let _removed = std::fs::remove_file(&self.victims.marker);
    }
}
