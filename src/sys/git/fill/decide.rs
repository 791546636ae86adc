//! Decision file: what of a checkout takes more than writing bytes, so that it is git's: settings, names and attributes.
//!
//! Whatever is not known here to be harmless goes to git. That costs time and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tree::{Entry, LINK};

/// What git's configuration says of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Where those of the user for all repositories are, if not where git looks by itself.
    pub attributes: Option<PathBuf>,
}

/// Settings with which git does more, or writes another index, and the values with which it does not.
const SETTINGS: [(&str, &[&str]); 14] = [
    ("core.autocrlf", &["false"]),
    ("core.checkstat", &["default"]),
    ("core.eol", &["lf"]),
    ("core.ignorecase", &["false"]),
    ("core.precomposeunicode", &["false"]),
    ("core.sharedrepository", &["umask", "false"]),
    ("core.sparsecheckout", &["false"]),
    ("core.splitindex", &["false"]),
    ("core.symlinks", &["true"]),
    ("core.untrackedcache", &["keep"]),
    ("feature.manyfiles", &["false"]),
    ("index.skiphash", &["false"]),
    ("index.sparse", &["false"]),
    ("index.version", &["2"]),
];

/// What `git config -z --list` says, a key and its value in each record; why it is git that checks out, where it is.
pub fn terms<'a>(records: impl Iterator<Item = &'a [u8]>) -> Result<Terms, String> {
    let mut values = BTreeMap::new();
    for record in records {
        let text = String::from_utf8_lossy(record).into_owned();
        // A key alone is as good as true.
        let (key, value) = text.split_once('\n').unwrap_or((&text, "true"));
        values.insert(key.to_owned(), value.to_owned());
    }
    for (key, harmless) in SETTINGS {
        if let Some(value) = values.get(key).filter(|value| !harmless.contains(&value.as_str())) {
            return Err(format!("{key} is {value}"));
        }
    }
    let others = |key: &&String| {
        key.ends_with(".promisor") || key.starts_with("extensions.partialclone") || key.as_str() == "attr.tree"
    };
    if let Some(key) = values.keys().find(others) {
        return Err(format!("{key} is set"));
    }
    match values.get("core.attributesfile").map(PathBuf::from) {
        Some(path) if !path.is_absolute() => Err("core.attributesFile is a path that git completes".into()),
        attributes => Ok(Terms { attributes }),
    }
}

/// True for a name that git looks at twice before it writes it: what may lead into a git dir on one system or another.
pub fn is_suspicious(name: &[u8]) -> bool {
    // Characters that a file system may ignore are none of these.
    let plain: Vec<u8> = name.iter().filter(|byte| byte.is_ascii()).map(u8::to_ascii_lowercase).collect();
    let is_git = plain.strip_prefix(b".git").is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric));
    let is_relative = matches!(name, b"" | b"." | b"..");
    is_git || is_relative || plain.starts_with(b"git~") || plain.contains(&b'\\') || plain.contains(&b'/')
}

/// True for a link that git does not make: one that it would read itself.
pub fn is_suspicious_link(name: &[u8]) -> bool {
    let plain: Vec<u8> = name.iter().filter(|byte| byte.is_ascii()).map(u8::to_ascii_lowercase).collect();
    plain.starts_with(b".git") || plain.starts_with(b"gi") && plain.contains(&b'~')
}

/// Refuses a name that git would look at twice, with the reason.
pub fn refuse_suspicious(entry: &Entry<'_>, path: &[u8]) -> Result<(), String> {
    match is_suspicious(entry.name) || entry.mode == LINK && is_suspicious_link(entry.name) {
        true => Err(format!("{} is a name that git looks at", String::from_utf8_lossy(path))),
        false => Ok(()),
    }
}

/// Attributes with which bytes are not written as they are.
pub const CHANGING: [&str; 5] = ["filter", "ident", "working-tree-encoding", "eol", "crlf"];

/// True when a file of attributes may give one of those to a path.
pub fn may_change(attributes: &[u8]) -> bool {
    let words = attributes.split(|byte| byte.is_ascii_whitespace());
    let name = |word: &[u8]| {
        let word = word.strip_prefix(b"-").or(word.strip_prefix(b"!")).unwrap_or(word);
        word.split(|byte| *byte == b'=').next().unwrap_or_default().to_vec()
    };
    words.map(name).any(|word| CHANGING.iter().any(|one| one.as_bytes() == word) || word.starts_with(b"[attr]"))
}

/// The paths that git has to write, by what `git check-attr -z` says of them: path, attribute and value, one after the other.
pub fn changing<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let (mut found, mut fields) = (Vec::<Vec<u8>>::new(), fields);
    while let (Some(path), Some(name), Some(value)) = (fields.next(), fields.next(), fields.next()) {
        let harmless: &[&[u8]] = match name {
            b"eol" => &[b"unspecified", b"unset", b"lf"],
            _ => &[b"unspecified", b"unset"],
        };
        if !harmless.contains(&value) && found.last().map(Vec::as_slice) != Some(path) {
            found.push(path.to_vec());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(records: &[&str]) -> Result<Terms, String> {
        terms(records.iter().map(|record| record.as_bytes()))
    }

    #[test]
    fn what_is_not_known_to_be_harmless_is_gits() {
        assert_eq!(said(&["user.name\nx", "core.autocrlf\nfalse", "core.bare\nfalse"]), Ok(Terms::default()));
        let attributes = Some("/home/x/attributes".into());
        assert_eq!(said(&["core.attributesfile\n/home/x/attributes"]), Ok(Terms { attributes }));
        let gits = [
            "core.autocrlf\ntrue",
            "core.autocrlf\ninput",
            // Without a value it is true.
            "core.autocrlf",
            "core.sparsecheckout",
            "core.symlinks\nfalse",
            "core.checkstat\nminimal",
            "core.sharedrepository\ngroup",
            "core.attributesfile\n~/attributes",
            "attr.tree\nHEAD",
            "remote.origin.promisor\ntrue",
        ];
        for record in gits {
            assert!(said(&[record]).is_err(), "{record:?}");
        }
        // The last one counts, and no line of another value.
        assert!(said(&["core.autocrlf\ntrue", "core.autocrlf\nfalse"]).is_ok());
        assert!(said(&["core.autocrlf\ntrue", "alias.z\n!echo\ncore.autocrlf\nfalse"]).is_err());
    }

    #[test]
    fn names_that_may_lead_into_a_git_dir() {
        for name in [".git", ".GIT", ".git ", ".git.", ".git::$INDEX", ".g\u{200c}it", "git~1", "GIT~2", "..", "a\\b"] {
            assert!(is_suspicious(name.as_bytes()), "{name}");
        }
        for name in [".gitignore", ".gitattributes", ".github", "git", "a.git", ".g", "git~".trim_end_matches('~')] {
            assert!(!is_suspicious(name.as_bytes()), "{name}");
        }
        assert!(is_suspicious_link(b".gitmodules") && is_suspicious_link(b"GITMOD~1") && !is_suspicious_link(b"link"));
    }

    #[test]
    fn attributes_that_may_change_what_is_written() {
        for text in ["*.bin filter=lfs diff=lfs\n", "* ident", "*.txt eol=crlf", "a -crlf", "[attr]x eol=crlf"] {
            assert!(may_change(text.as_bytes()), "{text}");
        }
        for text in ["", "* text=auto\n*.png binary\n", "*.c diff=cpp export-ignore", "filters/* text"] {
            assert!(!may_change(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn paths_that_git_has_to_write() {
        let told = "a\0eol\0lf\0a\0filter\0unspecified\0b\0eol\0crlf\0b\0filter\0lfs\0c\0ident\0unset\0d\0ident\0set";
        let paths = changing(told.as_bytes().split(|byte| *byte == 0));
        assert_eq!(paths, [b"b".to_vec(), b"d".to_vec()]);
    }
}
