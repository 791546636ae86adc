//! The root that a child sees: an empty file system in memory with what the policy names, and nothing of the host's.
//!
//! Every source is opened first; then parents are put in place before what lies in them. At the end the old root is
//! let go, and all that only holds other mounts is closed for writing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::{mounts, terminal};
use crate::confine::policy::{Access, Policy};

/// Devices that every program may expect.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Symbolic links in `/dev`.
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Parts of `/proc` that the host's root may write although it has no capability here.
const KERNEL_SETTINGS: &[&str] =
    &["proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus", "proc/fs", "proc/acpi", "proc/scsi", "proc/driver"];

/// Files of `/proc` that only the host's root may read, which it may although it has no capability here.
const KERNEL_SECRETS: &[&str] = &[
    "proc/kallsyms",
    "proc/kcore",
    "proc/key-users",
    "proc/keys",
    "proc/kmsg",
    "proc/kpagecgroup",
    "proc/kpagecount",
    "proc/kpageflags",
    "proc/iomem",
    "proc/ioports",
    "proc/sched_debug",
    "proc/slabinfo",
    "proc/timer_list",
    "proc/vmallocinfo",
];

/// Where the new root stands until it is the root.
const STAGE: &[&str] = &["/tmp", "/usr", "/proc"];

/// A step that failed, with its name.
pub type Step<T> = Result<T, (String, io::Error)>;

fn step<T>(name: impl std::fmt::Display, result: io::Result<T>) -> Step<T> {
    result.map_err(|error| (name.to_string(), error))
}

/// Makes the root and goes there. `shm` is the most bytes of shared memory.
pub fn make(policy: &Policy, shm: u64) -> Step<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("make the mounts private", mount_change("/", private).map_err(Into::into))?;
    let mut sources = Vec::with_capacity(policy.view.mounts.len());
    for mount in &policy.view.mounts {
        sources.push(step(format_args!("show {}", mount.source.display()), mounts::detach(mount, shm))?);
    }
    let mut devices = open_devices()?;
    let console = step("look for the terminal", terminal::of_streams(policy.streams))?;
    devices.extend(console.map(|tree| (terminal::PLACE.to_owned(), tree)));
    sources.sort_by_cached_key(|source| source.target.components().count());
    let root = step("make a root", mounts::tmpfs("size=16m,mode=0755", 0))?;
    let stage = STAGE.iter().map(Path::new).find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    step("make a root", put_on(&root, CWD, stage))?;
    let device_directory = system(policy, &root, shm)?;
    put_devices(&root, devices)?;
    let mut places = mounts::Places::below(&root);
    for source in &sources {
        step(format_args!("show {}", source.target.display()), places.attach(source))?;
    }
    for (path, says) in &policy.view.links {
        step(format_args!("link {}", path.display()), mounts::link(&root, path, says))?;
    }
    pivot(&root)?;
    if rustix::process::geteuid().is_root() {
        shut_kernel_settings(&root)?;
    }
    for holder in sources.iter().filter(|source| source.close) {
        step(format_args!("close {}", holder.target.display()), mounts::close(&holder.tree))?;
    }
    step("close /dev", mounts::close(&device_directory))?;
    step("close the root", mounts::close(&root))
}

fn put_on(tree: &OwnedFd, at: impl AsFd, place: &Path) -> io::Result<()> {
    let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", at, place, flags)?)
}

/// The file systems of the kernel and the private ones in memory; the answer is that of `/dev`.
fn system(policy: &Policy, root: &OwnedFd, shm: u64) -> Step<OwnedFd> {
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let terminals = "ptmxmode=0666,mode=0620";
    let shared = format!("size={shm},mode=1777");
    let devices = step("mount /dev", mounts::tmpfs("size=1m,mode=0755", 0))?;
    let shown = |path: &str| policy.view.mounts.iter().any(|mount| mount.target == Path::new(path));
    let private_tmp = if shown("/tmp") { None } else { Some(step("mount /tmp", mounts::tmpfs(&shared, 0))?) };
    let kernel = step("mount /proc", mounts::filesystem("proc", "", attributes))?;
    put(root, "/proc", &kernel)?;
    put(root, "/dev", &devices)?;
    let made = [
        ("/dev/pts", step("mount /dev/pts", mounts::filesystem("devpts", terminals, libc::MOUNT_ATTR_NOSUID))?),
        ("/dev/shm", step("mount /dev/shm", mounts::tmpfs(&shared, 0))?),
        ("/run", step("mount /run", mounts::tmpfs("size=64m,mode=0755", 0))?),
    ];
    for (place, tree) in
        made.iter().map(|(place, tree)| (*place, tree)).chain(private_tmp.iter().map(|tree| ("/tmp", tree)))
    {
        put(root, place, tree)?;
    }
    Ok(devices)
}

fn put(root: &OwnedFd, place: &str, tree: &OwnedFd) -> Step<()> {
    step(format_args!("mount {place}"), mounts::attach_tree(root, Path::new(place), true, tree))
}

fn open_devices() -> Step<Vec<(String, OwnedFd)>> {
    let mut opened = Vec::new();
    for name in DEVICES {
        let path = format!("/dev/{name}");
        let tree = step(format_args!("show {path}"), mounts::copy_of(CWD, Path::new(&path)))?;
        opened.push((path, tree));
    }
    Ok(opened)
}

fn put_devices(root: &OwnedFd, devices: Vec<(String, OwnedFd)>) -> Step<()> {
    for (path, tree) in devices {
        step(format_args!("show {path}"), mounts::attach_tree(root, Path::new(&path), false, &tree))?;
    }
    for (path, says) in DEVICE_LINKS {
        step(format_args!("link {path}"), mounts::link(root, Path::new(path), Path::new(says)))?;
    }
    Ok(())
}

fn pivot(root: &OwnedFd) -> Step<()> {
    step("enter the root", rustix::process::fchdir(root).map_err(Into::into))?;
    step("change the root", rustix::process::pivot_root(".", ".").map_err(Into::into))?;
    step("let go of the old root", unmount(".", UnmountFlags::DETACH).map_err(Into::into))?;
    step("enter the root", rustix::process::chdir("/").map_err(Into::into))
}

/// A user id of 0 is the host's root to the kernel's settings, whatever capabilities it lacks.
fn shut_kernel_settings(root: &OwnedFd) -> Step<()> {
    for path in KERNEL_SETTINGS.iter().map(Path::new).filter(|path| mounts::exists(root, path)) {
        let shut = || {
            let tree = mounts::copy_of(root, path)?;
            mounts::close(&tree)?;
            put_on(&tree, root, path)
        };
        step(format_args!("close /{}", path.display()), shut())?;
    }
    for path in KERNEL_SECRETS.iter().map(Path::new).filter(|path| mounts::exists(root, path)) {
        let hidden = mounts::copy_of(root, Path::new("dev/null")).and_then(|nothing| put_on(&nothing, root, path));
        step(format_args!("hide /{}", path.display()), hidden)?;
    }
    Ok(())
}

/// Where a child may write, and what it may only read, as the fence wants it.
pub fn writable(policy: &Policy) -> Vec<std::path::PathBuf> {
    let own = ["/tmp", "/dev/shm", "/run"].map(Into::into);
    let shown = policy.view.mounts.iter().filter(|mount| matches!(mount.access, Access::Write | Access::Layer));
    own.into_iter().chain(shown.map(|mount| mount.target.clone())).collect()
}
