//! Decision file: the bytes of an index (`gitformat-index`, version 2) for files that were just written, with the trees that they are
//! (`TREE`), so that git neither reads content nor builds trees when it looks at them first.

use sha1::{Digest, Sha1};

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

/// A directory that a commit has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path from the top; nothing for the top.
    pub path: Vec<u8>,
    /// Its object.
    pub id: [u8; 20],
}

/// The bytes of the index that has these, in whatever order they are. `None` where there are more than it can have.
pub fn bytes(mut entries: Vec<Entry>, mut directories: Vec<Directory>) -> Option<Vec<u8>> {
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    directories.sort_unstable_by(|one, other| parts(&one.path).cmp(parts(&other.path)));
    let mut bytes = [b"DIRC".as_slice(), &2_u32.to_be_bytes()].concat();
    bytes.reserve(entries.iter().map(|entry| entry.path.len() + 72).sum::<usize>() + directories.len() * 48);
    bytes.extend_from_slice(&u32::try_from(entries.len()).ok()?.to_be_bytes());
    for entry in &entries {
        put(&mut bytes, entry);
    }
    let trees = trees(&entries, &directories);
    bytes.extend_from_slice(b"TREE");
    bytes.extend_from_slice(&u32::try_from(trees.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&trees);
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
    let length = u16::try_from(entry.path.len()).unwrap_or(u16::MAX).min(0x0fff);
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
    let mut bytes = Vec::new();
    for (at, Directory { path, id }) in directories.iter().enumerate() {
        let start = if path.is_empty() { Vec::new() } else { [path, b"/".as_slice()].concat() };
        let rest = directories[at + 1..].iter().map_while(|inside| inside.path.strip_prefix(start.as_slice()));
        let direct = rest.filter(|rest| !rest.contains(&b'/')).count();
        bytes.extend_from_slice(parts(path).next_back().unwrap_or_default());
        bytes.extend_from_slice(format!("\0{} {direct}\n", below(entries, &start).len()).as_bytes());
        bytes.extend_from_slice(id);
    }
    bytes
}

/// Those of a sorted list whose paths start like that.
fn below<'a>(entries: &'a [Entry], start: &[u8]) -> &'a [Entry] {
    let from = entries.partition_point(|entry| entry.path.as_slice() < start);
    let count = entries[from..].partition_point(|entry| entry.path.starts_with(start));
    &entries[from..from + count]
}
