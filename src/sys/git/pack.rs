//! Decision file: how objects lie in a pack and where its index says that they are (`gitformat-pack`, version 2 of both).
//!
//! Each object is whole: no differences are looked for, and it is deflated fast. git's own maintenance does better when it puts packs
//! together. Packs here are small: one that would not fit into four gigabytes is refused.

use std::io::{self, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use git2::{ObjectType, Oid};
use sha1::{Digest, Sha1};

use super::index::hex;

/// An object, whole.
pub(super) struct Whole<'a> {
    pub id: Oid,
    pub kind: ObjectType,
    pub data: &'a [u8],
}

/// A pack and its index.
pub(super) struct Pack {
    /// What tells it from others.
    pub name: String,
    /// The file that ends in `.pack`.
    pub pack: Vec<u8>,
    /// The file that ends in `.idx`.
    pub index: Vec<u8>,
}

/// Where an object is, and the sum of its bytes there.
struct Place {
    id: Oid,
    offset: u32,
    sum: u32,
}

/// The id of an object.
pub(super) fn id_of(kind: ObjectType, data: &[u8]) -> Option<Oid> {
    let name = kind.str();
    let sum = Sha1::new().chain_update(format!("{name} {}\0", data.len())).chain_update(data).finalize();
    Oid::from_bytes(&sum).ok()
}

/// The pack that holds these.
pub(super) fn pack(objects: &[Whole<'_>]) -> io::Result<Pack> {
    let too_many = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let count = u32::try_from(objects.len()).map_err(too_many)?;
    let mut pack = [b"PACK".as_slice(), &2_u32.to_be_bytes(), &count.to_be_bytes()].concat();
    let mut places = Vec::with_capacity(objects.len());
    for Whole { id, kind, data } in objects {
        let began = pack.len();
        head(&mut pack, number(*kind)?, data.len());
        let mut deflated = ZlibEncoder::new(&mut pack, Compression::fast());
        deflated.write_all(data)?;
        deflated.finish()?;
        let mut sum = Crc::new();
        sum.update(&pack[began..]);
        // The highest bit says that the offset is elsewhere.
        let offset = i32::try_from(began).map_err(too_many)?.unsigned_abs();
        places.push(Place { id: *id, offset, sum: sum.sum() });
    }
    let sum = Sha1::digest(&pack);
    pack.extend_from_slice(&sum);
    Ok(Pack { name: hex(&sum), pack, index: index(places, &sum) })
}

fn index(mut places: Vec<Place>, pack_sum: &[u8]) -> Vec<u8> {
    places.sort_unstable_by_key(|place| place.id);
    let mut index = [&[0xff, b't', b'O', b'c'], 2_u32.to_be_bytes().as_slice()].concat();
    let mut counts = [0_u32; 256];
    for place in &places {
        counts[usize::from(place.id.as_bytes()[0])] += 1;
    }
    let mut up_to = 0;
    for count in counts {
        up_to += count;
        index.extend_from_slice(&up_to.to_be_bytes());
    }
    places.iter().for_each(|place| index.extend_from_slice(place.id.as_bytes()));
    places.iter().for_each(|place| index.extend_from_slice(&place.sum.to_be_bytes()));
    places.iter().for_each(|place| index.extend_from_slice(&place.offset.to_be_bytes()));
    index.extend_from_slice(pack_sum);
    let sum = Sha1::digest(&index);
    index.extend_from_slice(&sum);
    index
}

fn number(kind: ObjectType) -> io::Result<u8> {
    match kind {
        ObjectType::Commit => Ok(1),
        ObjectType::Tree => Ok(2),
        ObjectType::Blob => Ok(3),
        ObjectType::Tag => Ok(4),
        // Nothing in a repository is of another kind.
        ObjectType::Any => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Kind and size: four bits of the size in the first byte, seven in each that follows, the lowest first.
fn head(pack: &mut Vec<u8>, kind: u8, size: usize) {
    let mut byte = (kind << 4) | low(size, 0x0f);
    let mut left = size >> 4;
    while left > 0 {
        pack.push(byte | 0x80);
        byte = low(left, 0x7f);
        left >>= 7;
    }
    pack.push(byte);
}

fn low(size: usize, mask: usize) -> u8 {
    u8::try_from(size & mask).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::git::Git;

    #[test]
    fn sizes_are_told_in_as_many_bytes_as_they_need() {
        let told = |size| {
            let mut bytes = Vec::new();
            head(&mut bytes, 3, size);
            bytes
        };
        assert_eq!(told(0), [0x30]);
        assert_eq!(told(15), [0x3f]);
        assert_eq!(told(16), [0xb0, 0x01]);
        assert_eq!(told(2047), [0xbf, 0x7f]);
        assert_eq!(told(2048), [0xb0, 0x80, 0x01]);
    }

    /// The index that git makes of the pack is this one, byte for byte.
    #[test]
    fn git_indexes_the_pack_in_the_same_way() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        run(&["init", "-q", "--bare", "."]);
        let texts: Vec<Vec<u8>> = (0..400_u32).map(|n| format!("{n} ").repeat(n as usize).into_bytes()).collect();
        let whole = |data: &'_ Vec<u8>| id_of(ObjectType::Blob, data).expect("an id");
        let objects: Vec<Whole<'_>> =
            texts.iter().map(|data| Whole { id: whole(data), kind: ObjectType::Blob, data }).collect();
        let Pack { name, pack, index } = pack(&objects).expect("packed");
        let path = dir.path().join(format!("pack-{name}.pack"));
        std::fs::write(&path, pack).expect("written");
        run(&["index-pack", "-o", "theirs.idx", &path.to_string_lossy()]);
        assert_eq!(std::fs::read(dir.path().join("theirs.idx")).expect("read"), index);
    }
}
