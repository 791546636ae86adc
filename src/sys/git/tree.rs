//! Decision file: how a directory lies in an object of git's: its entries one after the other, in git's order of names. What git
//! would not write today (other modes, one name twice) is not read, so that nothing is made of it.

/// An entry as it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub name: &'a [u8],
    /// Its mode, in octal digits.
    pub mode: &'a [u8],
    /// The id of what it is, in bytes.
    pub id: &'a [u8],
}

/// The modes that git writes.
pub(super) const DIRECTORY: &[u8] = b"40000";
pub(super) const FILE: &[u8] = b"100644";
pub(super) const EXECUTABLE: &[u8] = b"100755";
pub(super) const LINK: &[u8] = b"120000";
pub(super) const SUBMODULE: &[u8] = b"160000";
const MODES: [&[u8]; 5] = [DIRECTORY, FILE, EXECUTABLE, LINK, SUBMODULE];

/// How many bytes an id has.
const ID: usize = 20;

impl Entry<'_> {
    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.mode == DIRECTORY
    }

    /// True for a file, whether it can be started or not.
    pub fn is_file(&self) -> bool {
        self.mode == FILE || self.mode == EXECUTABLE
    }

    /// Its mode as a number.
    pub fn number(&self) -> u32 {
        number(self.mode)
    }

    /// git sorts a directory as if its name ended in a slash.
    fn place(&self) -> impl Iterator<Item = u8> {
        self.name.iter().copied().chain(self.is_directory().then_some(b'/'))
    }
}

/// A mode as a number.
pub(super) fn number(mode: &[u8]) -> u32 {
    mode.iter().fold(0, |number, digit| number * 8 + u32::from(digit & 7))
}

/// A number as a mode; `None` for what git does not write.
pub(super) fn mode(value: u32) -> Option<&'static [u8]> {
    MODES.into_iter().find(|mode| number(mode) == value)
}

/// The path of what is in a directory; nothing for the top.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// The entries, by name alone; `None` where something is not as git writes it today.
pub(super) fn entries(mut data: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ')?;
        let (mode, rest) = (&data[..space], &data[space + 1..]);
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = (&rest[..end], &rest[end + 1..]);
        let id = rest.get(..ID).filter(|_| MODES.contains(&mode) && !name.is_empty())?;
        entries.push(Entry { name, mode, id });
        data = &rest[ID..];
    }
    entries.sort_unstable_by_key(|entry| entry.name);
    let twice = entries.windows(2).any(|two| two[0].name == two[1].name);
    (!twice).then_some(entries)
}

/// The bytes of a directory that has these.
pub(super) fn bytes(mut entries: Vec<Entry<'_>>) -> Vec<u8> {
    entries.sort_unstable_by(|one, other| one.place().cmp(other.place()));
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| entry.mode.len() + entry.name.len() + ID + 2).sum());
    for Entry { name, mode, id } in entries {
        bytes.extend_from_slice(mode);
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Vec<u8> {
        let one = |(mode, name): &(&str, &str)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; ID]].concat();
        entries.iter().flat_map(one).collect()
    }

    #[test]
    fn what_is_read_is_written_in_the_order_of_git() {
        let data = tree(&[("100644", "a-b"), ("40000", "a"), ("100755", "a0"), ("120000", "b"), ("160000", "c")]);
        let read = entries(&data).expect("as git writes it");
        assert_eq!(read.iter().map(|entry| entry.name).collect::<Vec<_>>(), [&b"a"[..], b"a-b", b"a0", b"b", b"c"]);
        assert_eq!(bytes(read), data);
    }

    #[test]
    fn what_git_would_not_write_is_not_read() {
        assert_eq!(entries(&tree(&[("100664", "old")])), None);
        assert_eq!(entries(&tree(&[("040000", "zero")])), None);
        assert_eq!(entries(&tree(&[("100644", "")])), None);
        assert_eq!(entries(&tree(&[("100644", "twice"), ("40000", "twice")])), None);
        assert_eq!(entries(b"100644 short\0abc"), None);
        assert_eq!(entries(b"100644"), None);
        assert_eq!(entries(b""), Some(Vec::new()));
    }
}
