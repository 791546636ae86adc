//! Files: atomic replacement, removal beneath a directory, renames that fall back to a copy, private directories.
//!
//! Promises: a file is replaced or left as it was, never truncated; nothing follows a symbolic link out of the tree
//! it was told to work on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::model::Timestamp;

/// An error of the file system, with the path it is about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", .path.display())]
pub struct FsError {
    /// What was tried: `read`, `write`, …
    pub action: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Adds action and path to an error.
pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FsError + 'a {
    move |source| FsError { action, path: path.to_owned(), source }
}

/// Writes a file so that readers see the old or the new content, and that survives a power failure.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), FsError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(parent).map_err(at("write", path))?;
    temp.write_all(content).map_err(at("write", path))?;
    temp.as_file().sync_all().map_err(at("write", path))?;
    temp.persist(path).map_err(|error| at("write", path)(error.error))?;
    sync(parent)
}

/// Writes a file so that readers see the old or the new content; a power failure may leave it empty (no fsync): for what can be
/// found again.
pub fn write_replaceable(path: &Path, content: &[u8]) -> Result<(), FsError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(parent).map_err(at("write", path))?;
    temp.write_all(content).map_err(at("write", path))?;
    temp.persist(path).map(drop).map_err(|error| at("write", path)(error.error))
}

/// Creates a file that nobody has a use for until it is whole (no fsync, no replacement): admin files of a new directory.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), FsError> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(path).map_err(at("create", path))?;
    file.write_all(content).map_err(at("write", path))
}

/// Creates a file that must not exist yet, whole from its first moment, where the file system can do that: it is written in
/// `scratch`, on the same one.
pub fn write_new_whole(path: &Path, content: &[u8], scratch: &Path) -> Result<(), FsError> {
    let mut temp = tempfile::NamedTempFile::new_in(scratch).map_err(at("write", path))?;
    temp.write_all(content).map_err(at("write", path))?;
    let Err(error) = temp.persist_noclobber(path) else { return Ok(()) };
    match error.error.kind() {
        // EPERM too: a file system with neither links nor a rename that replaces nothing (exFAT by FUSE, network shares).
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => write_new(path, content),
        _ => Err(at("create", path)(error.error)),
    }
}

/// Creates a directory and its parents, also where others remove each of these as soon as it is empty.
pub fn create_dir_all(path: &Path) -> Result<(), FsError> {
    while_emptied(|| match fs::create_dir_all(path) {
        // It was there, and was not when that was looked at; by now others may have made it again.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_no_directory(path) => {
            Err(at("create", path)(io::ErrorKind::NotFound.into()))
        }
        made => made.map_err(at("create", path)),
    })
}

/// True for what is there and is no directory, a link that leads nowhere included.
fn is_no_directory(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => !meta.is_dir(),
        Err(_) => fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir()),
    }
}

/// Makes something in a directory that others remove as soon as it is empty: `make` makes both, and when the directory went
/// between the two, once more. An error when it goes a hundred times, or something else that is needed is not there.
pub fn while_emptied<T>(make: impl Fn() -> Result<T, FsError>) -> Result<T, FsError> {
    for _ in 0..100 {
        match make() {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            made => return made,
        }
    }
    make()
}

/// Creates a directory and its parents, readable by the owner alone.
pub fn create_private_dir_all(path: &Path) -> Result<(), FsError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create", path))
}

/// Creates one directory that must not exist yet, readable by the owner alone, in one that is made where it is missing.
pub fn create_private_dir_within(path: &Path) -> Result<(), FsError> {
    while_emptied(|| {
        path.parent().map_or(Ok(()), create_dir_all)?;
        create_private_dir(path)
    })
}

/// Creates one directory that must not exist yet, readable by the owner alone.
pub fn create_private_dir(path: &Path) -> Result<(), FsError> {
    fs::DirBuilder::new().mode(0o700).create(path).map_err(at("create", path))
}

/// True when something (also a dangling link) is at this path; an unreadable parent is an error, not absence.
pub fn exists(path: &Path) -> Result<bool, FsError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// A path without symbolic links in what is there of it; the rest, which is not there yet, stays as it is. A link to what
/// can be made, in a directory that is there, leads there.
pub fn without_links(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    let Some((there, real)) = there else { return path.to_owned() };
    let mut rest = path.strip_prefix(there).unwrap_or(Path::new("")).components();
    let Some(next) = rest.next() else { return real };
    let linked = || {
        let target = real.join(fs::read_link(real.join(next)).ok()?);
        Some(target.parent()?.canonicalize().ok()?.join(target.file_name()?))
    };
    // Joining nothing would put a slash at the end.
    linked().unwrap_or_else(|| real.join(next)).join(rest.as_path()).components().collect()
}

/// True when two paths lead to the same thing; one that leads nowhere is the same as nothing.
pub fn is_same(one: &Path, other: &Path) -> Result<bool, FsError> {
    let (one, other) = (identity(one)?, identity(other)?);
    Ok(one.is_some() && one == other)
}

/// What a path leads to: its device and inode; `None` for one that leads nowhere.
pub fn identity(path: &Path) -> Result<Option<(u64, u64)>, FsError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at("look at", path)(error)),
    }
}

pub use super::removal::{remove_counting, remove_tree};
pub use super::walk::disk_usage;

/// Removes a file; absent is fine.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("remove", path)),
    }
}

/// Moves a file or directory; across file systems it is copied whole first, and the original removed only then.
pub fn move_path(from: &Path, to: &Path) -> Result<(), FsError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_then_remove(from, to),
        other => other.map_err(at("move", from)),
    }
}

/// The same, to a directory that is made where it is missing.
pub fn move_path_within(from: &Path, to: &Path) -> Result<(), FsError> {
    while_emptied(|| {
        to.parent().map_or(Ok(()), create_dir_all)?;
        move_path(from, to)
    })
}

/// Renames a file or directory onto nothing, within one file system: what is there already is never replaced.
pub fn rename_onto_nothing(from: &Path, to: &Path) -> Result<(), FsError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot look and rename in one (network shares, FUSE).
        Err(Errno::INVAL | Errno::NOSYS) if !exists(to)? => fs::rename(from, to).map_err(at("move", from)),
        Err(Errno::INVAL | Errno::NOSYS) => Err(at("move", from)(Errno::EXIST.into())),
        renamed => renamed.map_err(|errno| at("move", from)(errno.into())),
    }
}

/// Has two files or directories of one file system change places, at once. False where it cannot do that.
pub fn exchange(one: &Path, other: &Path) -> Result<bool, FsError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::XDEV | Errno::OPNOTSUPP) => Ok(false),
        changed => changed.map(|()| true).map_err(|errno| at("move", one)(errno.into())),
    }
}

fn copy_then_remove(from: &Path, to: &Path) -> Result<(), FsError> {
    let other = |error: fs_extra::error::Error| at("copy", from)(io::Error::other(error.to_string()));
    if from.is_dir() {
        let options = fs_extra::dir::CopyOptions::new().copy_inside(true);
        let copied = fs_extra::dir::copy(from, to, &options).map_err(other);
        if let Err(error) = copied {
            remove_tree(to)?;
            return Err(error);
        }
        remove_tree(from)
    } else {
        fs_extra::file::copy(from, to, &fs_extra::file::CopyOptions::new()).map_err(other)?;
        remove_file(from)
    }
}

/// Copies a file with its modification time. git tells by an index's own time which of its entries it cannot trust
/// ("racily clean": written in the same second); a copy with a newer time would hide changes of the same size.
pub fn copy_keeping_time(from: &Path, to: &Path) -> Result<(), FsError> {
    let (copy, meta) = copy_content(from, to)?;
    let modified = meta.modified().map_err(at("look at", from))?;
    copy.set_modified(modified).map_err(at("set the time of", to))?;
    // Last, for the copy of a file that nobody may write is one, too.
    copy.set_permissions(meta.permissions()).map_err(at("write", to))
}

/// Waits until what is in a file, or which names are in a directory, is on the disk.
pub fn sync(path: &Path) -> Result<(), FsError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at("write", path))
}

/// Makes a file or directory as new as if it had just been changed.
pub fn touch(path: &Path) -> Result<(), FsError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| at("set the time of", path)(error.into()))
}

/// Copies what is in a file into a new one of one's own, which can be written whatever the original's mode is.
pub fn copy_private(from: &Path, to: &Path) -> Result<(), FsError> {
    copy_content(from, to).map(drop)
}

fn copy_content(from: &Path, to: &Path) -> Result<(File, fs::Metadata), FsError> {
    let mut original = File::open(from).map_err(at("read", from))?;
    let meta = original.metadata().map_err(at("look at", from))?;
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create(true).truncate(true).mode(0o600).open(to).map_err(at("create", to))?;
    io::copy(&mut original, &mut copy).map_err(at("copy", from))?;
    Ok((copy, meta))
}

/// Opens a file that another party may have made: a regular file beneath `root`, reached without following any link, at
/// most `limit` bytes. `None` when there is no such file.
pub fn open_beneath(root: &Path, relative: &Path, limit: u64) -> Result<Option<(File, fs::Metadata)>, FsError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let full = root.join(relative);
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(at("read", &full)(io::Error::other("the path leaves its directory")));
    }
    let dir = File::open(root).map_err(at("read", root))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&dir, relative, flags, Mode::empty(), beneath) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(at("read", &full)(errno.into())),
    };
    let meta = file.metadata().map_err(at("read", &full))?;
    if !meta.is_file() || meta.len() > limit {
        return Err(at("read", &full)(io::Error::other("not a regular file of the expected size")));
    }
    Ok(Some((file, meta)))
}

/// True when there is a directory at this path beneath `root`, reached without following any link.
pub fn is_directory_beneath(root: &Path, relative: &Path) -> Result<bool, FsError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let dir = File::open(root).map_err(at("read", root))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    use rustix::io::Errno;
    match openat2(&dir, relative, flags, Mode::empty(), beneath) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        Err(errno) => Err(at("look at", &root.join(relative))(errno.into())),
    }
}

/// When what is at this path beneath `root` was changed last, by the clock that nobody who writes it sets; `None` where nothing
/// is, or only behind a link.
pub fn changed_beneath(root: &Path, relative: &Path) -> Result<Option<Timestamp>, FsError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    let full = root.join(relative);
    let dir = File::open(root).map_err(at("look at", root))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&dir, relative, flags, Mode::empty(), beneath) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
        Err(errno) => return Err(at("look at", &full)(errno.into())),
    };
    let meta = file.metadata().map_err(at("look at", &full))?;
    Ok(Some(Timestamp(meta.ctime().saturating_mul(1000).saturating_add(meta.ctime_nsec() / 1_000_000))))
}

/// Reads a small file that another party may have made, beneath `root` and without following links.
pub fn read_beneath(root: &Path, relative: &Path, limit: u64) -> Result<Option<Vec<u8>>, FsError> {
    Ok(read_beneath_with_time(root, relative, limit)?.map(|(content, _)| content))
}

/// The same, with the time at which it was written last, as the file says.
pub fn read_beneath_with_time(
    root: &Path,
    relative: &Path,
    limit: u64,
) -> Result<Option<(Vec<u8>, SystemTime)>, FsError> {
    let Some((file, meta)) = open_beneath(root, relative, limit)? else { return Ok(None) };
    let (full, mut content) = (root.join(relative), Vec::new());
    let modified = meta.modified().map_err(at("look at", &full))?;
    file.take(limit).read_to_end(&mut content).map_err(at("read", &full))?;
    Ok(Some((content, modified)))
}

/// Copies a file that another party may have made, beneath `root` and without following links, with its time; see
/// [`copy_keeping_time`].
pub fn copy_beneath(root: &Path, relative: &Path, to: &Path, limit: u64) -> Result<bool, FsError> {
    let Some((file, meta)) = open_beneath(root, relative, limit)? else { return Ok(false) };
    let mut copy = OpenOptions::new().write(true).create_new(true).open(to).map_err(at("create", to))?;
    io::copy(&mut file.take(limit), &mut copy).map_err(at("write", to))?;
    let modified = meta.modified().map_err(at("look at", &root.join(relative)))?;
    copy.set_modified(modified).map_err(at("set the time of", to))?;
    Ok(true)
}

/// Removes a file that another party may have made, beneath `root` and without following links; one that is gone is no error.
pub fn remove_beneath(root: &Path, relative: &Path) -> Result<(), FsError> {
    use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, unlinkat};
    let full = root.join(relative);
    let dir = File::open(root).map_err(at("remove", root))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let parent = relative.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let name = relative.file_name().unwrap_or_default();
    let removed = openat2(&dir, parent, flags, Mode::empty(), beneath)
        .and_then(|parent| unlinkat(&parent, name, AtFlags::empty()));
    match removed {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(at("remove", &full)(errno.into())),
    }
}

/// Replaces a file where another party may have planted links: beneath `root`, reached without following any, with its
/// directories made where they lack. It keeps the permissions of the one before, and gets this time where one is given;
/// see [`copy_keeping_time`].
pub fn write_beneath(
    root: &Path,
    relative: &Path,
    content: &[u8],
    modified: Option<std::time::SystemTime>,
) -> Result<(), FsError> {
    use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, renameat, statat};
    use rustix::io::Errno;
    use std::os::unix::fs::PermissionsExt;
    let full = root.join(relative);
    let failed = |errno: Errno| at("write", &full)(errno.into());
    let (Some(name), parent) = (relative.file_name(), relative.parent().unwrap_or(Path::new(""))) else {
        return Err(failed(Errno::INVAL));
    };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut dir = openat(rustix::fs::CWD, root, flags, Mode::empty()).map_err(failed)?;
    for part in parent.components() {
        let open = |dir: &std::os::fd::OwnedFd| openat2(dir, part.as_os_str(), flags, Mode::empty(), beneath);
        dir = match open(&dir) {
            Err(Errno::NOENT) => {
                mkdirat(&dir, part.as_os_str(), Mode::RWXU).map_err(failed)?;
                open(&dir).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
    }
    let temp = format!(".treehand-{}", std::process::id());
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let before = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let before = before.filter(|before| FileType::from_raw_mode(before.st_mode) == FileType::RegularFile);
    let mut file = File::from(openat(&dir, temp.as_str(), create, Mode::RUSR | Mode::WUSR).map_err(failed)?);
    if let Some(before) = before {
        let mode = fs::Permissions::from_mode(before.st_mode & 0o777);
        file.set_permissions(mode).map_err(at("write", &full))?;
    }
    file.write_all(content).map_err(at("write", &full))?;
    if let Some(modified) = modified {
        file.set_modified(modified).map_err(at("set the time of", &full))?;
    }
    file.sync_all().map_err(at("write", &full))?;
    renameat(&dir, temp.as_str(), &dir, name).map_err(failed)
}

/// File systems that several machines may use at once, or that a program answers for (`statfs(2)`, `linux/magic.h`).
const SHARED: [i64; 14] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB 2
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x7375_7245, // Coda
    0x564c,      // NCP
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x7461_636f, // OCFS2
    0x0116_1970, // GFS2
    0x6573_5546, // FUSE
];

/// True for a directory of this user's; a link to one is none.
pub fn is_own_directory(path: &Path) -> Result<bool, FsError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// The number of the user that something belongs to.
pub fn owner(path: &Path) -> Result<u32, FsError> {
    Ok(fs::metadata(path).map_err(at("look at", path))?.uid())
}

/// False for what may not be written: no right to, or a read-only disk.
pub fn is_writable(path: &Path) -> Result<bool, FsError> {
    match writable(path, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => Ok(false),
        Err(errno) => Err(at("look at", path)(errno.into())),
    }
}

/// True when files can be made in a directory, and taken out of it.
pub fn can_change(directory: &Path) -> Result<bool, FsError> {
    use rustix::fs::Access;
    match writable(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => Ok(false),
        Err(errno) => Err(at("look at", directory)(errno.into())),
    }
}

/// The system's own word for why a file that is there cannot be written, or nothing be made in a directory.
pub fn require_writable(path: &Path) -> Result<(), FsError> {
    writable(path, rustix::fs::Access::WRITE_OK).map_err(|errno| at("write", path)(errno.into()))
}

/// Asks with the rights that opening it would have.
fn writable(path: &Path, access: rustix::fs::Access) -> rustix::io::Result<()> {
    rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS)
}

/// A new directory among the system's temporary ones, gone with the answer.
pub fn temporary_dir() -> Result<tempfile::TempDir, FsError> {
    tempfile::tempdir().map_err(at("create a directory in", &tempfile::env::temp_dir()))
}

/// True when a path is on a network or shared file system.
pub fn is_shared(path: &Path) -> Result<bool, FsError> {
    let found = rustix::fs::statfs(path).map_err(|errno| at("look at", path)(errno.into()))?;
    Ok(SHARED.contains(&found.f_type))
}

/// Opens a log file for appending, made 0600 when it is new.
pub fn open_log(path: &Path) -> Result<File, FsError> {
    if let Some(parent) = path.parent() {
        create_private_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(at("open", path))
}

#[cfg(test)]
#[path = "fs_tests.rs"]
mod tests;
