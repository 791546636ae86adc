//! Which files exist for a child: the system's programs, the toolchains that were found, what its workspace says.
//!
//! Decision file: from facts about the machine and what a workspace reaches to the view of a policy. What is not named does
//! not exist inside; so there is no list of secrets that could be incomplete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::policy::{Access, Mount, View, is_plain};

/// Directories of the system that programs and libraries are in.
pub const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"];

/// What of `/etc` programs need and anybody may read. Everything else there may hold a secret.
pub const SETTINGS: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "inputrc",
    "java",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "maven",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "python3",
    "resolv.conf",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// What the machine has, as a scan found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Directories of the system and files of `/etc` that exist.
    pub directories: Vec<PathBuf>,
    /// Those that are symbolic links, and what they say.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Toolchains that were found, and what the user named.
    pub toolchains: Vec<PathBuf>,
    /// Caches of packages that were found: programs use them only where they can write to them, too.
    pub caches: Vec<PathBuf>,
}

/// What a workspace reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Read and changed.
    pub write: Vec<PathBuf>,
    /// Read.
    pub read: Vec<PathBuf>,
    /// Files of ours (first) that are laid over files of the workspace (second).
    pub pins: Vec<(PathBuf, PathBuf)>,
    /// Directories of the user that must not be seen although they lie in something that is shown.
    pub hide: Vec<PathBuf>,
    /// The directory that is shown as `/tmp`.
    pub tmp: Option<PathBuf>,
    /// The child's home.
    pub home: Option<PathBuf>,
    /// Nobody else on the machine can go where it writes.
    pub private: bool,
}

/// The view of a child. What cannot be shown (a relative path, the root itself) is left out: it is not there.
pub fn compose(system: &System, reach: &Reach) -> View {
    let mut shown: BTreeMap<PathBuf, Mount> = BTreeMap::new();
    let mut show = |source: &Path, target: &Path, access: Access| {
        if is_plain(target) {
            let mount = Mount { source: source.to_owned(), target: target.to_owned(), access };
            shown.insert(target.to_owned(), mount);
        }
    };
    for path in system.directories.iter().chain(&system.toolchains) {
        show(path, path, Access::Read);
    }
    for path in &system.caches {
        show(path, path, Access::Layer);
    }
    for path in &reach.hide {
        show(Path::new(""), path, Access::Hide);
    }
    for path in &reach.read {
        show(path, path, Access::Read);
    }
    for path in &reach.write {
        show(path, path, Access::Write);
    }
    if let Some(tmp) = &reach.tmp {
        show(tmp, Path::new("/tmp"), Access::Write);
    }
    for (source, target) in &reach.pins {
        show(source, target, Access::Pin);
    }
    let private = [Path::new("/tmp"), Path::new("/run"), Path::new("/dev/shm")];
    for target in shown.keys().cloned().collect::<Vec<_>>() {
        // What leads to a mount in a directory that the child may write must not be renamed by it.
        if let Some(first) = private.iter().find_map(|root| first_below(root, &target)) {
            let hide = Mount { source: PathBuf::new(), target: first.clone(), access: Access::Hide };
            if first != target {
                shown.entry(first).or_insert(hide);
            }
        }
    }
    let mounts = shown.values().filter(|mount| !is_covered(mount, &shown)).cloned().collect();
    View { mounts, links: system.links.clone() }
}

/// The first directory on the way from `root` down to `path`.
fn first_below(root: &Path, path: &Path) -> Option<PathBuf> {
    let below = path.strip_prefix(root).ok()?;
    below.components().next().map(|first| root.join(first))
}

/// True when what a mount shows can be seen in just that way already, through the nearest one above it.
fn is_covered(mount: &Mount, shown: &BTreeMap<PathBuf, Mount>) -> bool {
    let above = mount.target.ancestors().skip(1).find_map(|path| shown.get(path));
    above.is_some_and(|above| {
        let same = above.source == above.target && mount.source == mount.target;
        match (above.access, mount.access) {
            (Access::Read | Access::Write, Access::Read | Access::Write) => same && above.access == mount.access,
            // What is not there needs no hiding.
            (Access::Hide, Access::Hide) => true,
            _ => false,
        }
    })
}

/// Hiding is only for what would be seen: a directory below something shown.
pub fn needs_hiding(path: &Path, system: &System) -> bool {
    let roots = system.directories.iter().chain(&system.toolchains).chain(&system.caches);
    let mut roots = roots.filter(|root| path != root.as_path());
    roots.any(|root| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    fn targets(view: &View) -> Vec<(String, Access)> {
        view.mounts.iter().map(|mount| (mount.target.display().to_string(), mount.access)).collect()
    }

    #[test]
    fn what_is_seen_already_is_not_shown_again_and_what_is_tighter_lies_above() {
        let system = System {
            directories: paths(&["/usr"]),
            toolchains: paths(&["/usr/local", "/home/u/.rustup"]),
            ..System::default()
        };
        let reach = Reach {
            write: paths(&["/w/box", "/w/box/deeper", "/state/git/objects"]),
            read: paths(&["/state/git", "/w/box/read-only"]),
            pins: vec![("/state/pins/dotgit".into(), "/w/box/repo/.git".into())],
            ..Reach::default()
        };
        let expected = [
            ("/home/u/.rustup", Access::Read),
            ("/state/git", Access::Read),
            ("/state/git/objects", Access::Write),
            ("/usr", Access::Read),
            ("/w/box", Access::Write),
            ("/w/box/read-only", Access::Read),
            ("/w/box/repo/.git", Access::Pin),
        ];
        let expected: Vec<_> = expected.iter().map(|(path, access)| ((*path).to_owned(), *access)).collect();
        assert_eq!(targets(&compose(&system, &reach)), expected);
    }

    #[test]
    fn the_way_to_a_mount_in_a_writable_directory_is_closed() {
        let reach = Reach {
            write: paths(&["/tmp/x/y/box", "/run/z"]),
            tmp: Some("/tmp/x/y/box/tmp".into()),
            ..Reach::default()
        };
        let view = compose(&System::default(), &reach);
        let expected = [
            ("/run/z", Access::Write),
            ("/tmp", Access::Write),
            ("/tmp/x", Access::Hide),
            ("/tmp/x/y/box", Access::Write),
        ];
        let expected: Vec<_> = expected.iter().map(|(path, access)| ((*path).to_owned(), *access)).collect();
        assert_eq!(targets(&view), expected);
    }

    #[test]
    fn a_repository_among_the_system_s_programs_is_hidden_but_for_what_is_lent() {
        let system = System { directories: paths(&["/opt"]), ..System::default() };
        assert!(needs_hiding(Path::new("/opt/work/repo"), &system));
        assert!(!needs_hiding(Path::new("/srv/repo"), &system));
        let reach = Reach {
            hide: paths(&["/opt/work/repo"]),
            read: paths(&["/opt/work/repo/.git/objects"]),
            ..Reach::default()
        };
        let expected =
            [("/opt", Access::Read), ("/opt/work/repo", Access::Hide), ("/opt/work/repo/.git/objects", Access::Read)];
        let expected: Vec<_> = expected.iter().map(|(path, access)| ((*path).to_owned(), *access)).collect();
        assert_eq!(targets(&compose(&system, &reach)), expected);
    }
}
