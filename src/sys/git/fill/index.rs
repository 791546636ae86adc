//! Decision file: the bytes of an index (`gitformat-index`, version 2) for files that were just written, with the trees that they are
//! (`TREE`), so that git neither reads content nor builds trees when it looks at them first; and what such an index says.

use sha1::{Digest, Sha1};

use super::Bytes;
use super::tree;

/// A file in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the top.
    pub path: Vec<u8>,
    /// Its mode, as git knows it.
    pub mode: u32,
    /// Its object.
    pub id: [u8; 20],
    /// What the file system says of it.
    pub stat: Stat,
}

/// What the file system says of a file, as much of it as an index has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Seconds and nanoseconds of the last change of anything.
    pub changed: (u32, u32),
    /// Those of the last change of its content.
    pub modified: (u32, u32),
    /// Its device and inode.
    pub place: (u32, u32),
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Its size.
    pub size: u32,
}

impl Stat {
    /// True for the same as git compares it: a device may have another number after each boot.
    pub fn is_same(&self, other: &Stat) -> bool {
        let all = |stat: &Stat| (stat.changed, stat.modified, stat.place.1, stat.owner, stat.size);
        all(self) == all(other)
    }
}

/// A directory that a commit has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path from the top; nothing for the top.
    pub path: Vec<u8>,
    /// Its object.
    pub id: [u8; 20],
}

/// What an index says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its files, by path.
    pub entries: Vec<Entry>,
    /// The directories that they are.
    pub directories: Vec<Directory>,
    /// It has more in it that git can do without, and that is not written here.
    pub more: bool,
}

impl Index {
    /// The tree that all of it is.
    pub fn tree(&self) -> Option<[u8; 20]> {
        self.directories.first().filter(|top| top.path.is_empty()).map(|top| top.id)
    }
}

/// An entry whose path is longer says so with this.
const LONG: u16 = 0x0fff;

/// Reads an index of version 2 in which each file is there once, without a flag, and all directories are known. Anything else in it is
/// `None`, but what git can do without.
pub fn read(bytes: &[u8]) -> Option<Index> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(20)?)?;
    // Each of the two takes as long as the other.
    let (is_whole, files) = std::thread::scope(|scope| {
        let is_whole = scope.spawn(|| Sha1::digest(body).as_slice() == sum);
        let files = files(body);
        (is_whole.join().unwrap_or(false), files)
    });
    let (entries, mut rest) = files.filter(|_| is_whole)?;
    let (mut directories, mut more) = (None, false);
    while !rest.0.is_empty() {
        let name = rest.take(4)?;
        let length = usize::try_from(rest.number()?).ok()?;
        let content = rest.take(length)?;
        match name {
            b"TREE" => directories = Some(directories_of(content)?),
            // One that begins with a small letter changes what the entries mean.
            [first, ..] if first.is_ascii_uppercase() => more = true,
            _ => return None,
        }
    }
    Some(Index { entries, directories: directories?, more })
}

/// The files of an index that git has just written, whatever else it says.
pub fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    files(bytes).map(|(entries, _)| entries)
}

fn files(bytes: &[u8]) -> Option<(Vec<Entry>, Bytes<'_>)> {
    let mut rest = Bytes(bytes.strip_prefix(b"DIRC")?);
    if rest.number()? != 2 {
        return None;
    }
    let count = rest.number()?;
    let mut entries = Vec::with_capacity(usize::try_from(count).ok()?.min(bytes.len() / 64));
    for _ in 0..count {
        let next = entry(&mut rest)?;
        if entries.last().is_some_and(|last: &Entry| last.path >= next.path) {
            return None;
        }
        entries.push(next);
    }
    Some((entries, rest))
}

fn entry(rest: &mut Bytes<'_>) -> Option<Entry> {
    let before = rest.0.len();
    let mut two = || Some((rest.number()?, rest.number()?));
    let (changed, modified, place) = (two()?, two()?, two()?);
    let mode = rest.number()?;
    let owner = (rest.number()?, rest.number()?);
    let size = rest.number()?;
    let id = rest.take(20)?.try_into().ok()?;
    // What is more than a length is a flag, or a side of a conflict.
    let length = Some(rest.short()?).filter(|length| *length <= LONG)?;
    let path = rest.until_zero()?.to_vec();
    rest.take((8 - (before - rest.0.len()) % 8) % 8)?;
    let is_whole = length == LONG || usize::from(length) == path.len();
    is_whole.then_some(Entry { path, mode, id, stat: Stat { changed, modified, place, owner, size } })
}

/// The directories of a `TREE`; `None` where it does not know one of them.
fn directories_of(content: &[u8]) -> Option<Vec<Directory>> {
    let (mut rest, mut found) = (Bytes(content), Vec::<Directory>::new());
    // How many directories are still to come in each that is open, and its path.
    let mut open: Vec<(usize, Vec<u8>)> = Vec::new();
    while !rest.0.is_empty() {
        let name = rest.until_zero()?;
        let numbers = std::str::from_utf8(rest.until(b'\n')?).ok()?;
        let (files, inside) = numbers.split_once(' ')?;
        files.parse::<u32>().ok()?;
        let id = rest.take(20)?.try_into().ok()?;
        let path = match open.last() {
            None => name.to_vec(),
            Some((_, around)) => tree::below(around, name),
        };
        found.push(Directory { path: path.clone(), id });
        open.push((inside.parse().ok()?, path));
        while open.last().is_some_and(|(left, _)| *left == 0) {
            open.pop();
            if let Some((left, _)) = open.last_mut() {
                *left = left.checked_sub(1)?;
            }
        }
    }
    (open.is_empty() && !found.is_empty()).then_some(found)
}

/// The bytes of the index that has these, in whatever order they are; without directories they are not known. `None` where there are more
/// than it can have.
pub fn bytes(Index { mut entries, mut directories, .. }: Index) -> Option<Vec<u8>> {
    // Nearly always a few come after many that are in order.
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    directories.sort_by(|one, other| parts(&one.path).cmp(parts(&other.path)));
    let mut bytes = [b"DIRC".as_slice(), &2_u32.to_be_bytes()].concat();
    bytes.reserve(entries.iter().map(|entry| entry.path.len() + 72).sum::<usize>() + directories.len() * 48);
    bytes.extend_from_slice(&u32::try_from(entries.len()).ok()?.to_be_bytes());
    for entry in &entries {
        put(&mut bytes, entry);
    }
    if !directories.is_empty() {
        let trees = trees(&entries, &directories);
        bytes.extend_from_slice(b"TREE");
        bytes.extend_from_slice(&u32::try_from(trees.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&trees);
    }
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    Some(bytes)
}

fn put(bytes: &mut Vec<u8>, entry: &Entry) {
    let Stat { changed, modified, place, owner, size } = entry.stat;
    let began = bytes.len();
    let numbers = [changed.0, changed.1, modified.0, modified.1, place.0, place.1, entry.mode, owner.0, owner.1, size];
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes.extend_from_slice(&entry.id);
    // A longer path is as long as it is up to its end.
    let length = u16::try_from(entry.path.len()).unwrap_or(LONG).min(LONG);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&entry.path);
    let taken = bytes.len() - began;
    bytes.resize(began + (taken / 8 + 1) * 8, 0);
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Each directory with how many files and directories are in it, right before those that are in it.
fn trees(entries: &[Entry], directories: &[Directory]) -> Vec<u8> {
    // The directories around the one at hand, with the files in them: those of one are among those of the one around it.
    let mut open: Vec<(usize, &[Entry])> = Vec::new();
    let mut found = Vec::with_capacity(directories.len());
    let mut direct = vec![0_usize; directories.len()];
    for (at, Directory { path, .. }) in directories.iter().enumerate() {
        while open.last().is_some_and(|(around, _)| !is_in(&directories[*around].path, path)) {
            open.pop();
        }
        let (around, files) = open.last().map_or((None, entries), |(around, files)| (Some(*around), *files));
        let files = if path.is_empty() { files } else { below(files, &[path, b"/".as_slice()].concat()) };
        if let Some(around) = around.filter(|around| tree::below(&directories[*around].path, name(path)) == *path) {
            direct[around] += 1;
        }
        open.push((at, files));
        found.push(files.len());
    }
    let mut bytes = Vec::with_capacity(directories.len() * 40);
    for ((Directory { path, id }, files), direct) in directories.iter().zip(found).zip(direct) {
        bytes.extend_from_slice(name(path));
        bytes.extend_from_slice(format!("\0{files} {direct}\n").as_bytes());
        bytes.extend_from_slice(id);
    }
    bytes
}

/// The last part of a path.
fn name(path: &[u8]) -> &[u8] {
    parts(path).next_back().unwrap_or_default()
}

/// True for what is somewhere in a directory.
fn is_in(directory: &[u8], path: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

/// Those of a sorted list whose paths start like that.
fn below<'a>(entries: &'a [Entry], start: &[u8]) -> &'a [Entry] {
    let from = entries.partition_point(|entry| entry.path.as_slice() < start);
    let count = entries[from..].partition_point(|entry| entry.path.starts_with(start));
    &entries[from..from + count]
}
