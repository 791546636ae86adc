//! Removing a directory with all that is in it, beneath an open directory: no link is followed and no mount is crossed.
//!
//! What is mounted somewhere below stays, with everything around it: it is looked for before anything is removed, and the kernel
//! refuses to go in where that look missed it. Several threads do it, each in a directory of its own. Directories that their owner made unwritable (as some build tools and Go's
//! module cache do) are made writable on the way.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::crew;
use super::fs::{FsError, at};

/// Removes a directory and all in it. Absent is fine.
pub fn remove_tree(path: &Path) -> Result<(), FsError> {
    removed(path, &Job { freed: None, lifted: AtomicUsize::new(0) })
}

/// The same, and how many bytes of the disk that gave back: what has a name elsewhere, too, gives nothing back.
pub fn remove_counting(path: &Path) -> Result<u64, FsError> {
    let job = Job { freed: Some(AtomicU64::new(0)), lifted: AtomicUsize::new(0) };
    removed(path, &job)?;
    Ok(job.freed.map_or(0, AtomicU64::into_inner))
}

fn removed(path: &Path, job: &Job) -> Result<(), FsError> {
    if let Some(mounted) = mounts_below(path)?.into_iter().next() {
        let why = io::Error::new(io::ErrorKind::CrossesDevices, format!("{} is mounted in it", mounted.display()));
        return Err(at("remove", path)(why));
    }
    match job.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("remove", path)),
    }
}

/// So many directories within each other are open at most by one thread: what is deeper is lifted up first.
const DEEPEST: usize = 48;

/// A directory that is being emptied. It goes when nobody is at work in it any more.
struct Emptied {
    directory: OwnedFd,
    /// Where it is, and its name there; none for the one that all is about.
    place: Option<(Arc<Emptied>, CString)>,
    /// How many are around it.
    depth: usize,
    /// Itself, as long as it is read, and the directories in it that are there still.
    left: AtomicUsize,
}

/// What waits to be emptied: a name in a directory. Nothing is open for it, however many there are.
struct Waiting(Arc<Emptied>, CString);

struct Job {
    /// Bytes of what is gone, where they are counted.
    freed: Option<AtomicU64>,
    /// How many directories were lifted up.
    lifted: AtomicUsize,
}

impl Job {
    fn remove(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => directory,
            // Not to be read yet; what is no directory, a link to one included, is removed itself.
            Err(Errno::ACCESS) => {
                make_writable(rustix::fs::CWD, path.as_os_str().as_bytes())?;
                rustix::fs::open(path, flags, Mode::empty())?
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.count(|| rustix::fs::lstat(path))?;
                return std::fs::remove_file(path);
            }
            Err(error) => return Err(error.into()),
        };
        self.count(|| rustix::fs::fstat(&directory))?;
        let root = Arc::new(Emptied { directory, place: None, depth: 0, left: AtomicUsize::new(1) });
        // A disk takes the changes of several directories at once.
        crew::through(None, |waiting: Option<Waiting>, more| match waiting {
            None => self.empty(&root, more),
            Some(Waiting(parent, name)) => self.enter(parent, name, more),
        })?;
        std::fs::remove_dir(path)
    }

    /// Adds what something takes.
    fn count(&self, look: impl FnOnce() -> rustix::io::Result<Stat>) -> rustix::io::Result<()> {
        let Some(freed) = &self.freed else { return Ok(()) };
        match look() {
            Ok(stat) => {
                let goes = FileType::from_raw_mode(stat.st_mode) == FileType::Directory || stat.st_nlink == 1;
                let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
                freed.fetch_add(if goes { bytes } else { 0 }, Ordering::Relaxed);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins with a directory in a directory.
    fn enter(&self, parent: Arc<Emptied>, name: CString, more: &mut Vec<Option<Waiting>>) -> rustix::io::Result<()> {
        if parent.depth >= DEEPEST {
            return self.lift(&parent, &name, more);
        }
        let open = || open_within(parent.directory.as_fd(), name.to_bytes());
        let child = match open() {
            Err(Errno::ACCESS) => {
                make_writable(parent.directory.as_fd(), name.to_bytes())?;
                open()
            }
            other => other,
        };
        match child {
            Ok(directory) => {
                self.count(|| rustix::fs::fstat(&directory))?;
                let (depth, place) = (parent.depth + 1, Some((parent, name)));
                self.empty(&Arc::new(Emptied { directory, place, depth, left: AtomicUsize::new(1) }), more)
            }
            Err(Errno::NOENT) => leave(&parent),
            Err(error) => Err(error),
        }
    }

    /// Moves a directory that is too deep right below the one that all is about, so that what is around it need not stay open.
    fn lift(&self, parent: &Arc<Emptied>, name: &CStr, more: &mut Vec<Option<Waiting>>) -> rustix::io::Result<()> {
        let mut top = parent;
        while let Some((around, _)) = &top.place {
            top = around;
        }
        loop {
            let free =
                CString::new(format!("{}.deep", self.lifted.fetch_add(1, Ordering::Relaxed))).unwrap_or_default();
            let (from, to) = (&parent.directory, &top.directory);
            let lifted = || rustix::fs::renameat(from, name, to, free.as_c_str());
            match while_unwritable(from, || while_unwritable(to, lifted)) {
                Ok(()) => {
                    top.left.fetch_add(1, Ordering::AcqRel);
                    more.push(Some(Waiting(Arc::clone(top), free)));
                    return leave(parent);
                }
                Err(Errno::NOENT) => return leave(parent),
                // Something in there is called so.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what is in a directory, but for the directories in it: those wait.
    fn empty(&self, emptied: &Arc<Emptied>, more: &mut Vec<Option<Waiting>>) -> rustix::io::Result<()> {
        let directory = &emptied.directory;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                self.count(|| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW))?;
                match while_unwritable(directory, || rustix::fs::unlinkat(directory, name, AtFlags::empty())) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // The file system did not say what it is.
                    Err(Errno::ISDIR | Errno::PERM) if entry.file_type() == FileType::Unknown => {}
                    Err(error) => return Err(error),
                }
            }
            emptied.left.fetch_add(1, Ordering::AcqRel);
            more.push(Some(Waiting(Arc::clone(emptied), name.to_owned())));
        }
        leave(emptied)
    }
}

/// Whoever is done in a directory as the last one removes it, and is done in the one around it, too.
fn leave(emptied: &Arc<Emptied>) -> rustix::io::Result<()> {
    let mut done = emptied;
    while done.left.fetch_sub(1, Ordering::AcqRel) == 1
        && let Some((parent, name)) = &done.place
    {
        let around = &parent.directory;
        match while_unwritable(around, || rustix::fs::unlinkat(around, name.as_c_str(), AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT) => done = parent,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does it again where the directory was not to be written.
fn while_unwritable(directory: &OwnedFd, act: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    match act() {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            act()
        }
        other => other,
    }
}

fn make_writable(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())
}

/// Opens a directory in a directory, unless something is mounted there or it is a link.
#[cfg(target_os = "linux")]
fn open_within(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(directory, name, flags, Mode::empty(), stay) {
        // A kernel, or a sandbox, that does not have the call.
        Err(Errno::NOSYS | Errno::PERM) => open_on_the_same_device(directory, name),
        other => other,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_within(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    open_on_the_same_device(directory, name)
}

fn open_on_the_same_device(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let child = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let same = rustix::fs::fstat(&child)?.st_dev == rustix::fs::fstat(directory)?.st_dev;
    if same { Ok(child) } else { Err(Errno::XDEV) }
}

/// Every place at or below this one on which something is mounted, as far as this process sees.
pub fn mounts_below(path: &Path) -> Result<Vec<PathBuf>, FsError> {
    Ok(Mounts::scan()?.below(path))
}

/// Every place on which something is mounted.
#[derive(Debug, Default)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Looks once; none where the system has no list of them.
    pub fn scan() -> Result<Mounts, FsError> {
        let list = Path::new("/proc/self/mountinfo");
        match std::fs::read(list) {
            Ok(text) => Ok(Mounts(text.split(|byte| *byte == b'\n').filter_map(place).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mounts::default()),
            Err(error) => Err(at("read", list)(error)),
        }
    }

    /// Those at or below a place.
    pub fn below(&self, path: &Path) -> Vec<PathBuf> {
        let path = super::fs::without_links(path);
        self.0.iter().filter(|place| place.starts_with(&path)).cloned().collect()
    }
}

/// The fifth field of a line of mountinfo, in which blanks and the like are written as three octal digits.
fn place(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes, rest) = ([bytes, vec![byte]].concat(), &after[3..]),
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn everything_goes_but_what_a_link_leads_to() {
        let place = tempfile::tempdir().expect("a directory");
        let (tree, other) = (place.path().join("tree"), place.path().join("other"));
        std::fs::create_dir_all(tree.join("a/b/c")).expect("made");
        std::fs::create_dir(&other).expect("made");
        std::fs::write(other.join("precious"), "p").expect("written");
        std::fs::write(tree.join("a/b/file"), "f").expect("written");
        symlink(&other, tree.join("a/link")).expect("linked");
        symlink("loop", tree.join("loop")).expect("linked");
        for (directory, mode) in [("a/b/c", 0o000), ("a/b", 0o500), ("a", 0o555)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(tree.join(directory), mode).expect("set");
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && other.join("precious").exists());
        symlink(&other, &tree).expect("linked");
        remove_tree(&tree).expect("removed");
        assert!(std::fs::symlink_metadata(&tree).is_err() && other.join("precious").exists());
        remove_tree(&tree).expect("absent is fine");
    }

    #[test]
    fn what_is_counted_is_what_the_disk_gets_back() {
        let place = tempfile::tempdir().expect("a directory");
        let (tree, outside) = (place.path().join("tree"), place.path().join("outside"));
        for number in 0..60 {
            let directory = tree.join(format!("{number}/a/b"));
            std::fs::create_dir_all(&directory).expect("made");
            std::fs::write(directory.join("file"), vec![b'x'; 9_000]).expect("written");
            std::fs::hard_link(directory.join("file"), directory.join("again")).expect("linked");
        }
        let bytes = crate::sys::fs::disk_usage(&tree);
        let twice: u64 = 60 * {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(tree.join("0/a/b/file")).expect("there").blocks() * 512
        };
        std::fs::write(&outside, vec![b'x'; 100_000]).expect("written");
        std::fs::hard_link(&outside, tree.join("0/outside")).expect("linked");
        assert_eq!(remove_counting(&tree).expect("removed"), bytes - twice);
        assert!(!tree.exists() && outside.exists());
        assert_eq!(remove_counting(&tree).expect("absent is fine"), 0);
    }

    #[test]
    fn a_deep_tree_goes_with_few_directories_open_at_once() {
        let place = tempfile::tempdir().expect("a directory");
        let tree = place.path().join("tree");
        let steps = |count: usize| "a/".repeat(count);
        // Deeper than a path may be long, as whoever walks down by one step after the other can make it.
        std::fs::create_dir(&tree).expect("made");
        let mut within = rustix::fs::open(&tree, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("open");
        for depth in 0..6000 {
            rustix::fs::mkdirat(&within, "a", Mode::RWXU).expect("made");
            if depth % 40 == 0 {
                rustix::fs::mkdirat(&within, "beside", Mode::RWXU).expect("made");
            }
            within = rustix::fs::openat(&within, "a", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("open");
        }
        std::fs::write(tree.join(steps(100)).join("file"), "x").expect("written");
        // What is lifted up finds its names taken.
        std::fs::write(tree.join("0.deep"), "x").expect("written");
        std::fs::create_dir_all(tree.join("1.deep/full")).expect("made");
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }

    #[test]
    fn places_of_mounts_are_read_as_the_kernel_writes_them() {
        let line = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(place(line), Some(PathBuf::from("/mnt/a b\\c")));
        assert_eq!(place(b""), None);
        let mounts = Mounts(["/x", "/x/y", "/x/y-z"].map(PathBuf::from).into());
        assert_eq!(mounts.below(Path::new("/x/y")), [PathBuf::from("/x/y")]);
        assert!(Mounts::scan().expect("readable").below(Path::new("/")).contains(&PathBuf::from("/")));
    }
}
