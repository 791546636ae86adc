//! Decision file: what of a checkout takes more than writing bytes, so that it is git's: settings, names and attributes.
//!
//! Whatever is not known here to be harmless goes to git. That costs time and nothing else.

use std::collections::HashMap;
use std::path::PathBuf;

/// What git's configuration and surroundings say of checkouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Where attributes are besides those in the tree.
    pub attributes: Vec<PathBuf>,
}

/// Settings with which git does more, or writes another index, and the one value with which it does not.
const SETTINGS: [(&str, &str); 12] = [
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.symlinks", "true"),
    ("core.ignorecase", "false"),
    ("core.precomposeunicode", "false"),
    ("core.sparsecheckout", "false"),
    ("core.splitindex", "false"),
    ("core.untrackedcache", "keep"),
    ("index.version", "2"),
    ("index.sparse", "false"),
    ("index.skiphash", "false"),
    ("feature.manyfiles", "false"),
];

/// What `git var -l` says; why it is git that checks out, where it is.
pub fn terms(listed: &str) -> Result<Terms, String> {
    let lines = listed.lines().filter_map(|line| line.split_once('='));
    let values: HashMap<&str, &str> = lines.collect();
    for (key, harmless) in SETTINGS {
        if let Some(value) = values.get(key).filter(|value| **value != harmless) {
            return Err(format!("{key} is {value}"));
        }
    }
    if let Some(key) =
        values.keys().find(|key| key.ends_with(".promisor") || key.starts_with("extensions.partialclone"))
    {
        return Err(format!("{key} is set"));
    }
    if let Some(value) = values.get("attr.tree") {
        return Err(format!("attributes are those of {value}"));
    }
    let attributes = ["GIT_ATTR_SYSTEM", "GIT_ATTR_GLOBAL"].iter().filter_map(|key| values.get(key));
    Ok(Terms { attributes: attributes.map(PathBuf::from).collect() })
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

    #[test]
    fn what_is_not_known_to_be_harmless_is_gits() {
        assert_eq!(terms("user.name=x\ncore.autocrlf=false\ncore.bare=false\n"), Ok(Terms::default()));
        let attributes = vec!["/etc/gitattributes".into(), "/home/x/attributes".into()];
        assert_eq!(
            terms("GIT_ATTR_SYSTEM=/etc/gitattributes\nGIT_ATTR_GLOBAL=/home/x/attributes\n"),
            Ok(Terms { attributes })
        );
        for line in ["core.autocrlf=true", "core.autocrlf=input", "core.symlinks=false", "core.sparsecheckout=true"] {
            assert!(terms(line).is_err(), "{line}");
        }
        assert!(terms("remote.origin.promisor=true").is_err());
        // The last one counts.
        assert!(terms("core.autocrlf=true\ncore.autocrlf=false\n").is_ok());
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
