//! How much of the repository a workspace has: all of it, or some directories as in git's cone mode.
//!
//! Decides what a name of a directory may be, what the file says that git reads the directories from, and which directories follow from
//! the patterns of what a task may change. Whether there is such a directory is a fact of a commit, and not known here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A directory of the repository, as its path from the top: `services/api`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Directory(String);

/// Why a text is no directory of a repository.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` cannot be a directory of the repository: {why}")]
pub struct DirectoryError {
    /// The text, with control characters escaped.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Directory {
    /// Parses a path; what a shell completes (`./`, a `/` at the end) is as good as without.
    pub fn parse(text: &str) -> Result<Directory, DirectoryError> {
        let wrong = |why| DirectoryError { text: text.escape_debug().to_string(), why };
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if text.starts_with('/') {
            return Err(wrong("it is absolute, and paths are taken from the top of the repository"));
        } else if parts.contains(&"..") {
            return Err(wrong("it has `..` in it"));
        } else if parts.is_empty() {
            return Err(wrong("that is all of it, which one gets without"));
        } else if text.contains(['\n', '\0']) {
            return Err(wrong("it has a line feed or a NUL in it, and the file that git reads has a line for each"));
        } else if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err(wrong("git has no such directory in a commit"));
        }
        Ok(Directory(parts.join("/")))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories around it, from the top, without itself.
    fn around(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl TryFrom<String> for Directory {
    type Error = DirectoryError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Directory::parse(&text)
    }
}

impl From<Directory> for String {
    fn from(directory: Directory) -> String {
        directory.0
    }
}

impl std::fmt::Display for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much of the repository a task asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sparse {
    /// All of it.
    #[default]
    Whole,
    /// What the tasks that it is made of may change.
    Auto,
    /// These directories, and the files around them.
    Directories(Vec<Directory>),
}

/// What is in a sparse checkout, as git reads it from `info/sparse-checkout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    /// They are directories, so that git need not try each with every path.
    pub cone: bool,
    /// The lines of the file.
    pub lines: Vec<u8>,
}

impl Patterns {
    /// All that is in these directories, and the files beside each directory on the way to them, as `git sparse-checkout set --cone`
    /// writes it.
    pub fn of(directories: &[Directory]) -> Patterns {
        let is_named = |path: &str| directories.iter().any(|other| other.as_str() == path);
        let whole: BTreeSet<&Directory> =
            directories.iter().filter(|directory| !directory.around().any(is_named)).collect();
        let around: BTreeSet<&str> = whole.iter().flat_map(|directory| directory.around()).collect();
        let mut lines = b"/*\n!/*/\n".to_vec();
        for outer in around {
            lines.extend(everything(outer.as_bytes()));
            lines.extend(no_directory(outer.as_bytes()));
        }
        lines.extend(whole.iter().flat_map(|directory| everything(directory.as_str().as_bytes())));
        Patterns { cone: true, lines }
    }

    /// The same, and these paths.
    pub fn with<'a>(&self, paths: impl IntoIterator<Item = &'a [u8]>) -> Patterns {
        let known: BTreeSet<&[u8]> = self.lines.split(|byte| *byte == b'\n').collect();
        let mut more = paths.into_iter().filter(|path| !self.cone || !is_in_cone(&known, path)).peekable();
        if more.peek().is_none() {
            return self.clone();
        }
        let lines = more.flat_map(|path| [b"/", literal(path).as_slice(), b"\n"].concat());
        // The lines of a cone mean the same to a git that takes them for patterns.
        Patterns { cone: false, lines: [self.lines.clone(), b"\n".to_vec(), lines.collect()].concat() }
    }
}

/// True for a path that the lines of a cone take in: beside a directory on the way, or below one that is there as a whole.
fn is_in_cone(lines: &BTreeSet<&[u8]>, path: &[u8]) -> bool {
    let has = |line: &[u8]| lines.contains(line.trim_ascii_end());
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
    let outer: Vec<&[u8]> = slashes.collect();
    let below = outer.iter().any(|directory| has(&everything(directory)) && !has(&no_directory(directory)));
    below || outer.last().is_none_or(|directory| has(&everything(directory)))
}

/// The line for all that is in a directory.
fn everything(directory: &[u8]) -> Vec<u8> {
    [b"/", escaped(directory).as_slice(), b"/\n"].concat()
}

/// The line that takes the directories in it out again.
fn no_directory(directory: &[u8]) -> Vec<u8> {
    [b"!/", escaped(directory).as_slice(), b"/*/\n"].concat()
}

/// A name as git itself writes it, so that it means nothing but itself.
fn escaped(name: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| b"*?[\\".contains(byte).then_some(b'\\');
    name.iter().flat_map(|byte| escape(byte).into_iter().chain([*byte])).collect()
}

/// The same for any name: what no line can hold is any one character.
fn literal(name: &[u8]) -> Vec<u8> {
    let line = escaped(name);
    line.into_iter().map(|byte| if matches!(byte, b'\n' | b'\r' | b' ') { b'?' } else { byte }).collect()
}

/// The directories in which all files are that these patterns of paths match; `None` when that may be anywhere.
pub fn directories_of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Option<Vec<Directory>> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        let parts: Vec<&str> = pattern.split('/').collect();
        let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).count();
        // The files at the top are there in any case.
        if parts.len() == 1 && !pattern.contains("**") {
            continue;
        }
        // What a plain pattern names is a file, and those beside a directory come along with it.
        let literal = &parts[..plain];
        found.insert(Directory::parse(&literal.join("/")).ok()?);
    }
    Some(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(names: &[&str]) -> Vec<Directory> {
        names.iter().map(|name| Directory::parse(name).expect("a directory")).collect()
    }

    #[test]
    fn what_a_directory_may_be_called() {
        for (text, path) in [("a", "a"), ("./a/b/", "a/b"), ("a//b", "a/b"), ("a b/ü", "a b/ü"), ("-x", "-x")] {
            assert_eq!(Directory::parse(text).map(|directory| directory.to_string()), Ok(path.to_owned()));
        }
        for text in ["", ".", "./", "/a", "a/../b", "..", "a\nb", "a\0", ".git", "a/.GIT/b"] {
            assert!(Directory::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cone_has_its_directories_and_the_files_on_the_way() {
        let check = |names: &[&str], expected: &str| {
            assert_eq!(String::from_utf8_lossy(&Patterns::of(&directories(names)).lines), expected, "{names:?}");
        };
        check(&["a"], "/*\n!/*/\n/a/\n");
        check(&["a/b", "x"], "/*\n!/*/\n/a/\n!/a/*/\n/a/b/\n/x/\n");
        // One in another is there with that.
        check(&["a/b/c", "a", "a"], "/*\n!/*/\n/a/\n");
        check(&["a-b/c", "a"], "/*\n!/*/\n/a-b/\n!/a-b/*/\n/a/\n/a-b/c/\n");
        check(&["x[1]/y*"], "/*\n!/*/\n/x\\[1]/\n!/x\\[1]/*/\n/x\\[1]/y\\*/\n");
    }

    #[test]
    fn a_path_beside_a_cone_is_added_to_it() {
        let cone = Patterns::of(&directories(&["a/b", "x*"]));
        let inside: [&[u8]; 6] = [b"top", b"a/file", b"a/b/c", b"a/b/c/d/e", b"x*/y", b"x*/y/z"];
        assert_eq!(cone.with(inside), cone);
        for (path, line) in [("a/c/d", "/a/c/d"), ("b/a", "/b/a"), ("xy/z", "/xy/z"), ("q/[1] \n", "/q/\\[1]??")] {
            let more = cone.with([b"a/b/c".as_slice(), path.as_bytes()]);
            let expected = [cone.lines.as_slice(), b"\n", line.as_bytes(), b"\n"].concat();
            assert_eq!(more, Patterns { cone: false, lines: expected });
        }
    }

    #[test]
    fn directories_that_patterns_stay_in() {
        let check = |patterns: &[&str], expected: Option<&[&str]>| {
            let found = directories_of(patterns.iter().copied());
            assert_eq!(found, expected.map(directories), "{patterns:?}");
        };
        check(&["services/api/**", "docs/*.md"], Some(&["docs", "services/api"]));
        check(&["a/b*/c"], Some(&["a"]));
        check(&["README.md"], Some(&[]));
        check(&["src/main.rs"], Some(&["src/main.rs"]));
        check(&["a/**", "**/*.md"], None);
        check(&["*", "{a,b}.md"], Some(&[]));
        check(&["**"], None);
        check(&["{a,b}/**"], None);
        check(&[], Some(&[]));
    }
}
