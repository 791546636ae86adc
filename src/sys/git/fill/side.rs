//! Decision file: what of an index a move between two commits is about, before and after it, and the trees of just that. git takes them for
//! an index and two commits like any others.

use std::collections::{BTreeMap, BTreeSet};

use git2::{ObjectType, Oid};

use super::difference::Difference;
use super::files::raw;
use super::index::{Entry, Index};
use super::shift::parted;
use super::{GITLINK, id_of, tree};

/// Paths, and what they are: a mode and an object.
pub type Side = BTreeMap<Vec<u8>, Held>;

type Held = (u32, [u8; 20]);

/// What of an index it is about: what differs, the attributes around that, and all that is as new as the index itself (`written`, in seconds).
pub fn held(whole: &Index, difference: &Difference, written: i64) -> Vec<Entry> {
    let is_new = |entry: &Entry| i64::from(entry.stat.modified.0) >= written && entry.mode != GITLINK;
    let new = whole.entries.iter().filter(|entry| is_new(entry)).map(|entry| &entry.path);
    let gone = difference.gone.iter().map(|gone| &gone.path);
    let mut around: Vec<&[u8]> =
        difference.came.iter().map(|came| &came.path).chain(gone).chain(new).map(|path| parted(path).0).collect();
    around.sort_unstable();
    around.dedup();
    let above = |path| std::iter::successors(Some(path), |path: &&[u8]| (!path.is_empty()).then(|| parted(path).0));
    let attributes = around.into_iter().flat_map(above).map(|directory| tree::below(directory, b".gitattributes"));
    let gone = difference.gone.iter().map(|gone| gone.path.clone());
    let paths: BTreeSet<Vec<u8>> = attributes.chain(gone).collect();
    let mut paths = paths.into_iter().peekable();
    let is_held = |entry: &&Entry| {
        while paths.next_if(|path| *path < entry.path).is_some() {}
        is_new(entry) || paths.peek() == Some(&entry.path)
    };
    whole.entries.iter().filter(is_held).cloned().collect()
}

/// Entries as a side.
pub fn named(entries: &[Entry]) -> Side {
    entries.iter().map(|entry| (entry.path.clone(), (entry.mode, entry.id))).collect()
}

/// What they are to be.
pub fn after(before: &[Entry], difference: &Difference) -> Side {
    let mut after = named(before);
    after.retain(|path, _| !difference.is_gone(path));
    after.extend(difference.came.iter().map(|came| (came.path.clone(), (tree::number(&came.mode), raw(came.id)))));
    after
}

/// The tree of a side, and all of its directories; `None` where it has something that no tree has.
pub fn trees(side: &Side, made: &mut BTreeMap<Oid, Vec<u8>>) -> Option<Oid> {
    let leaves: Vec<(&[u8], Held)> = side.iter().map(|(path, held)| (path.as_slice(), *held)).collect();
    directory(&leaves, 0, made)
}

/// The tree of what is in one directory, whose path is so long.
fn directory(mut leaves: &[(&[u8], Held)], depth: usize, made: &mut BTreeMap<Oid, Vec<u8>>) -> Option<Oid> {
    let mut entries = Vec::new();
    while let Some((path, (mode, id))) = leaves.first() {
        let name = &path[depth..];
        let Some(end) = name.iter().position(|byte| *byte == b'/') else {
            entries.push((name, tree::mode(*mode)?, *id));
            leaves = &leaves[1..];
            continue;
        };
        let start = &path[..=depth + end];
        let count = leaves.partition_point(|(path, _)| path.starts_with(start));
        let (inside, others) = leaves.split_at(count);
        entries.push((&name[..end], tree::DIRECTORY, raw(directory(inside, start.len(), made)?)));
        leaves = others;
    }
    let data = tree::bytes(entries.iter().map(|(name, mode, id)| tree::Entry { name, mode, id }).collect());
    let id = id_of(ObjectType::Tree, &data)?;
    made.insert(id, data);
    Some(id)
}
