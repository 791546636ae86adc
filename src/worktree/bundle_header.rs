//! Decision file: what the head of a git bundle says: which commits it holds under which names, what it builds on, and where
//! its pack begins.
//!
//! Knows versions 2 and 3 (`gitformat-bundle(5)`). Anything else is no bundle: nothing is guessed.

use crate::model::CommitId;

/// Where the names in a bundle are.
pub const HEADS: &str = "refs/heads/";

/// The head of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Names below [`HEADS`] and their commits, in order of the names.
    pub heads: Vec<(String, CommitId)>,
    /// Commits that whoever reads it must have.
    pub prerequisites: Vec<CommitId>,
    /// Where the pack begins.
    pub pack_at: u64,
}

/// Reads the beginning of a bundle, which has to reach as far as its pack; `None` for what is none.
pub fn parse(bytes: &[u8]) -> Option<Header> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    // The subject of a prerequisite is in whatever encoding.
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.split('\n');
    let version = lines.next()?;
    if !matches!(version, "# v2 git bundle" | "# v3 git bundle") {
        return None;
    }
    let (mut heads, mut prerequisites) = (Vec::new(), Vec::new());
    for line in lines {
        match (line.strip_prefix('-'), line.strip_prefix('@')) {
            // The subject of the commit may follow.
            (Some(rest), _) => prerequisites.push(CommitId::parse(rest.split(' ').next()?).ok()?),
            (None, Some(capability)) if version.contains("v3") && capability.starts_with("object-format=") => {}
            (None, Some(_)) => return None,
            (None, None) => {
                let (id, name) = line.split_once(' ')?;
                heads.push((name.strip_prefix(HEADS)?.to_owned(), CommitId::parse(id).ok()?));
            }
        }
    }
    heads.sort();
    Some(Header { heads, prerequisites, pack_at: end as u64 + 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char, length: usize) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(length)).expect("an id")
    }

    #[test]
    fn heads_prerequisites_and_the_pack_are_found() {
        let (a, b, c) = (commit('a', 40), commit('b', 40), commit('c', 40));
        let text =
            format!("# v2 git bundle\n-{c} what it was\n{b} refs/heads/worktree\n{a} refs/heads/index\n\nPACK\n\n");
        let heads = vec![("index".to_owned(), a), ("worktree".to_owned(), b)];
        let pack_at = text.find("PACK").expect("there") as u64;
        assert_eq!(parse(text.as_bytes()), Some(Header { heads, prerequisites: vec![c], pack_at }));
        let long = commit('d', 64);
        let text = format!("# v3 git bundle\n@object-format=sha256\n{long} refs/heads/w\n\nPACK");
        let header = parse(text.as_bytes()).expect("a bundle");
        assert_eq!((header.heads, header.prerequisites), (vec![("w".to_owned(), long)], vec![]));
    }

    #[test]
    fn what_is_no_bundle_of_ours_is_none() {
        let a = commit('a', 40);
        for text in [
            String::new(),
            "\n\n".to_owned(),
            format!("# v9 git bundle\n{a} refs/heads/x\n\nPACK"),
            format!("# v2 git bundle\n{a} refs/heads/x\n"),
            format!("# v2 git bundle\n{a} refs/tags/x\n\nPACK"),
            format!("# v2 git bundle\n@filter=blob:none\n{a} refs/heads/x\n\nPACK"),
            format!("# v3 git bundle\n@filter=blob:none\n{a} refs/heads/x\n\nPACK"),
            "# v2 git bundle\nno-id refs/heads/x\n\nPACK".to_owned(),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
