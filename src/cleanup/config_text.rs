//! Decision file: the sections of a branch in the text of a configuration file, cut out and put in again.
//!
//! Reads lines as git does when it removes a section: from its header to the next one, comments included. Bytes are moved as
//! they are, so that what is cut and put in again into the same text gives the same text.

use crate::model::operation::ConfigSection;

/// The text without the sections of a branch, and those; `None` when it has none, or one that cannot be recorded as text.
pub fn cut(text: &[u8], branch: &str) -> Option<(Vec<u8>, Vec<ConfigSection>)> {
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    let starts = starts(text);
    let first = starts.first().copied().unwrap_or(text.len());
    rest.extend_from_slice(&text[..first]);
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(text.len());
        let section = &text[*start..end];
        if is_of(section, branch) {
            let text = std::str::from_utf8(section).ok()?.to_owned();
            found.push(ConfigSection { at: rest.len(), text });
        } else {
            rest.extend_from_slice(section);
        }
    }
    (!found.is_empty()).then_some((rest, found))
}

/// The text with these sections where they were; at its end, where another section no longer begins at that place.
pub fn put_in(text: &[u8], sections: &[ConfigSection]) -> Vec<u8> {
    let mut whole = text.to_vec();
    // From the last on, so that the places of those before stay what they are.
    for section in sections.iter().rev() {
        let at =
            if section.at == whole.len() || starts(&whole).contains(&section.at) { section.at } else { whole.len() };
        let mut bytes = section.text.clone().into_bytes();
        if at > 0 && whole[at - 1] != b'\n' {
            bytes.insert(0, b'\n');
        }
        if at < whole.len() && bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        whole.splice(at..at, bytes);
    }
    whole
}

/// Where the header of each section begins: at the beginning of a line that continues no other.
fn starts(text: &[u8]) -> Vec<usize> {
    let (mut found, mut at, mut continued) = (Vec::new(), 0, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let content = line.trim_ascii();
        if !continued && content.first() == Some(&b'[') {
            found.push(at);
        }
        let comment = !continued && matches!(content.first(), Some(b'#' | b';'));
        let ended = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or(line);
        let slashes = ended.iter().rev().take_while(|byte| **byte == b'\\').count();
        continued = !comment && slashes % 2 == 1;
        at += line.len();
    }
    found
}

/// True for a section whose header is `[branch "NAME"]`, or `[branch.NAME]` as it once was written.
fn is_of(section: &[u8], branch: &str) -> bool {
    let text = section.trim_ascii_start();
    let Some(rest) = text.strip_prefix(b"[") else { return false };
    let Some((word, rest)) = rest.split_at_checked("branch".len()) else { return false };
    if !word.eq_ignore_ascii_case(b"branch") {
        return false;
    }
    if let Some(rest) = rest.strip_prefix(b".") {
        let end = rest.iter().position(|byte| *byte == b']');
        return end.is_some_and(|end| rest[..end].eq_ignore_ascii_case(branch.as_bytes()) && is_lower(branch));
    }
    let Some(quoted) = rest.trim_ascii_start().strip_prefix(b"\"") else { return false };
    let (mut name, mut bytes) = (Vec::new(), quoted.iter());
    loop {
        match bytes.next() {
            Some(b'\\') => name.extend(bytes.next()),
            Some(b'"') => break,
            Some(b'\n') | None => return false,
            Some(byte) => name.push(*byte),
        }
    }
    name == branch.as_bytes() && rest.trim_ascii_start().len() < rest.len()
}

/// git folds the old form, so that it can only mean a name without capitals.
fn is_lower(branch: &str) -> bool {
    !branch.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# mine\n[core]\n\tbare = false\n[branch \"w\"]\n\tremote = origin ; here\n# about w\n\n\
        [branch \"ww\"]\n\tmerge = x \\\n[branch \"w\"]\n[Branch \"w\"] rebase = true\n[branch.w]\n\tdescription = \"[a]\"";

    #[test]
    fn what_is_cut_is_put_in_again_byte_for_byte() {
        let (rest, sections) = cut(TEXT.as_bytes(), "w").expect("it is there");
        let expected = "# mine\n[core]\n\tbare = false\n[branch \"ww\"]\n\tmerge = x \\\n[branch \"w\"]\n";
        assert_eq!(String::from_utf8_lossy(&rest), expected, "a line that is continued is no header");
        assert_eq!(sections.len(), 3);
        assert_eq!(String::from_utf8_lossy(&put_in(&rest, &sections)), TEXT);
        assert_eq!(cut(&rest, "w"), None);
    }

    #[test]
    fn a_name_is_compared_whole_and_as_it_is_written() {
        let check = |header: &str, branch: &str, meant: bool| {
            assert_eq!(cut(header.as_bytes(), branch).is_some(), meant, "{header} {branch}");
        };
        check("[branch \"a/b\"]", "a/b", true);
        check("  [branch   \"a\"]\n", "a", true);
        check("[branch \"a\\\"b\"]\n", "a\"b", true);
        check("[branch \"A\"]\n", "a", false);
        check("[branch.a]\n", "a", true);
        check("[branch.A]\n", "A", false);
        check("[branch\"a\"]\n", "a", false);
        check("[branches \"a\"]\n", "a", false);
        check("[branch]\n", "a", false);
        check("[remote \"a\"]\n", "a", false);
        check("[branch \"a\n", "a", false);
    }

    #[test]
    fn where_the_text_has_changed_it_goes_between_other_sections() {
        let (rest, sections) = cut(b"[a]\n\tx = 1\n[branch \"w\"]\n\tremote = .\n[b]\n\ty = 2\n", "w").expect("there");
        assert_eq!(rest, b"[a]\n\tx = 1\n[b]\n\ty = 2\n");
        let check = |now: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&put_in(now.as_bytes(), &sections)), expected);
        };
        check("[a]\n\tx = 1\n[c]\n", "[a]\n\tx = 1\n[branch \"w\"]\n\tremote = .\n[c]\n");
        check("[a]\n\tx = 11\n[b]", "[a]\n\tx = 11\n[b]\n[branch \"w\"]\n\tremote = .\n");
        check("", "[branch \"w\"]\n\tremote = .\n");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(parts in proptest::collection::vec(0..9usize, 0..12)) {
            let lines = ["[branch \"w\"]", "[branch \"x\"]", "[core]", "\tk = v", "# c", "", "\tk = v\\", " [branch \"w\"] k", "\r"];
            for ending in ["\n", ""] {
                let text = parts.iter().map(|part| lines[*part]).collect::<Vec<_>>().join("\n") + ending;
                if let Some((rest, sections)) = cut(text.as_bytes(), "w") {
                    let back = put_in(&rest, &sections);
                    prop_assert_eq!(String::from_utf8_lossy(&back).into_owned(), text);
                }
            }
        }
    }
}
