//! Mounts by descriptor: what is shown is opened once, before anything is mounted, and never looked up by name again.
//!
//! A detached copy of each source gets its attributes (read-only, no set-user-id programs, no devices) before it can be
//! seen anywhere. What lies under a child's hands is reached without following links.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::raw;
use crate::confine::policy::{Access, Mount};

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;

/// A mount that is ready to be put in place.
#[derive(Debug)]
pub struct Detached {
    /// The detached mount.
    pub tree: OwnedFd,
    /// Where it goes.
    pub target: PathBuf,
    /// It is a directory.
    pub directory: bool,
    /// It is closed once everything is in its place.
    pub close: bool,
}

/// Opens what a mount shows. `room` is the most bytes that a layer takes, which is in memory.
pub fn detach(mount: &Mount, room: u64) -> io::Result<Detached> {
    let target = mount.target.clone();
    if mount.access == Access::Layer
        && let Some(tree) = layer_over(&mount.source, room)?
    {
        return Ok(Detached { tree, target, directory: true, close: false });
    }
    if mount.access == Access::Hide {
        return Ok(Detached { tree: tmpfs("size=1m,mode=0755", 0)?, target, directory: true, close: true });
    }
    let tree =
        if mount.access == Access::Write { copy_of_directory(&mount.source)? } else { copy_of(CWD, &mount.source)? };
    let read_only = if mount.access == Access::Write { 0 } else { READ_ONLY };
    raw::mount_setattr(&tree, true, read_only | NO_SUID | NO_DEVICES)?;
    Ok(Detached { directory: is_directory(&tree)?, tree, target, close: false })
}

/// A detached copy of a file or of a directory with all that is mounted below it.
pub fn copy_of(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(at, path, flags)?)
}

/// The same for a directory that a child may have had in its hands: a link in its place is refused, not followed.
fn copy_of_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(directory, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?)
}

/// A detached copy of what is open, without anything below it.
pub fn copy_of_open(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, "", flags)?)
}

/// Makes a mount read-only for good, without those below it.
pub fn close(tree: impl AsFd) -> io::Result<()> {
    raw::mount_setattr(tree, false, READ_ONLY)
}

fn is_directory(tree: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(tree)?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// A directory with an empty layer over it that takes what is changed; `None` where this kernel has no such thing for us: then
/// it can only be read.
fn layer_over(directory: &Path, room: u64) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lower = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    let memory = tmpfs(&format!("size={room},mode=0700"), 0)?;
    let made = |name: &str| -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o700))?;
        Ok(rustix::fs::openat(&memory, name, flags, Mode::empty())?)
    };
    let (upper, work) = (made("upper")?, made("work")?);
    // The layer shows the mode of what is below it.
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&lower)?.st_mode & 0o7777);
    rustix::fs::chmodat(&memory, "upper", mode, AtFlags::empty())?;
    let mount = || -> io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, place) in [("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work)] {
            // By descriptor, so that no name of it has to be written in the file system's own way.
            fsconfig_set_string(context.as_fd(), key, format!("/proc/self/fd/{}", place.as_raw_fd()))?;
        }
        fsconfig_set_flag(context.as_fd(), "userxattr")?;
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    };
    Ok(mount().ok())
}

/// An empty file system in memory.
pub fn tmpfs(options: &str, attributes: u64) -> io::Result<OwnedFd> {
    filesystem("tmpfs", options, NO_SUID | NO_DEVICES | attributes)
}

/// A file system of the kernel's own, with `key=value` options separated by commas.
pub fn filesystem(kind: &str, options: &str, attributes: u64) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options.split(',').filter_map(|option| option.split_once('=')) {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).map_err(io::Error::other)?);
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Puts a detached mount over what is open.
pub fn attach_at(tree: impl AsFd, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", place, "", flags)?)
}

/// A root in which mounts are put in place, parents before what is in them. What leads to a mount is reached once for all that
/// lie beside each other.
pub struct Places<'a> {
    root: BorrowedFd<'a>,
    parent: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Places<'a> {
    /// Those below a root.
    pub fn below(root: &'a OwnedFd) -> Places<'a> {
        Places { root: root.as_fd(), parent: None }
    }

    /// Puts a detached mount in place, making the mount point (and what leads to it) where there is none.
    pub fn attach(&mut self, mount: &Detached) -> io::Result<()> {
        let (parent, name) = split(&mount.target)?;
        let opened = match self.parent.take() {
            Some((path, opened)) if path == parent => opened,
            _ => reach(self.root, parent)?,
        };
        put_into(&opened, name, mount.directory, &mount.tree)?;
        self.parent = Some((parent.to_owned(), opened));
        Ok(())
    }
}

/// The same for one tree and a place.
pub fn attach_tree(root: impl AsFd, target: &Path, directory: bool, tree: &OwnedFd) -> io::Result<()> {
    let (parent, name) = split(target)?;
    put_into(&reach(root, parent)?, name, directory, tree)
}

/// The path as seen from the root.
pub fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn split(target: &Path) -> io::Result<(&Path, &Path)> {
    let path = below(target);
    let name = path.file_name().map(Path::new).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")), name))
}

/// Opens the directory of a mount point without following any link, making it (and what leads to it) where it is missing.
fn reach(root: impl AsFd, parent: &Path) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    match open_beneath(root, parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_way(root, parent),
        opened => opened,
    }
}

/// Mounts over a name in a directory. One that was just made is taken by its name, and a link in its place is not followed by
/// that either; one that was there is opened first, and a link is refused.
fn put_into(parent: &OwnedFd, name: &Path, directory: bool, tree: &OwnedFd) -> io::Result<()> {
    let made = match directory {
        true => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        false => rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o600), 0),
    };
    match made {
        Ok(()) => Ok(move_mount(tree, "", parent, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?),
        Err(rustix::io::Errno::EXIST) => attach_at(tree, open_beneath(parent.as_fd(), name)?),
        Err(error) => Err(error.into()),
    }
}

/// Makes the directories of a path, one in the other.
fn make_way(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let mut at = open_beneath(root, Path::new("."))?;
    for part in path.components() {
        at = enter(&at, Path::new(part.as_os_str()))?;
    }
    Ok(at)
}

/// A directory in another, made where it is missing.
fn enter(at: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => open_beneath(at.as_fd(), name),
        Err(error) => Err(error.into()),
    }
}

fn open_beneath(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Makes a symbolic link below a root.
pub fn link(root: impl AsFd, path: &Path, says: &Path) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(says, root, below(path))?)
}

/// True when there is something at a path.
pub fn exists(at: impl AsFd, path: &Path) -> bool {
    rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
