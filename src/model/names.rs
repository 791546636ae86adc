//! Names that people choose: workspaces and branches, and how a name becomes one part of a path.
//!
//! The path form can be read back: letters, digits, `.`, `_`, `-` and everything beyond ASCII stand for
//! themselves, `/` becomes `~` (which no branch name can contain), any other byte becomes `=` and two hex digits.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest name of a workspace, in the form it has in a path.
const NAME_MAX: usize = 200;

/// Why a text cannot be a branch or a workspace name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be a {what} name: {why}")]
pub struct NameError {
    /// The text, with control characters escaped.
    pub name: String,
    /// `branch` or `workspace`.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A branch name without `refs/heads/`, by the rules of `git check-ref-format --branch`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

impl BranchName {
    /// Parses a short branch name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match branch_fault(text) {
            None => Ok(BranchName(text.to_owned())),
            Some(why) => Err(NameError { name: text.escape_debug().to_string(), what: "branch", why }),
        }
    }

    /// The short name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full ref name, `refs/heads/…`.
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

fn branch_fault(text: &str) -> Option<&'static str> {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\\u{7f}".contains(c);
    if text.is_empty() {
        Some("it is empty")
    } else if text.starts_with('-') {
        Some("it starts with `-`")
    } else if text.chars().any(forbidden) {
        Some("git allows no control character, blank or any of ~ ^ : ? * [ \\ in it")
    } else if text.contains("..") || text.contains("@{") || text == "@" || text.ends_with('.') {
        Some("git allows no `..`, no `@{`, no `@` alone and no `.` at its end")
    } else if text.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        Some("each part between `/` must be non-empty, not start with `.` and not end with `.lock`")
    } else if text == "HEAD" || text.starts_with("refs/") {
        Some("git would take it for another ref")
    } else {
        None
    }
}

/// The name of a workspace: a valid branch name that is short enough to be one part of a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceName(String);

impl WorkspaceName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fault = branch_fault(text).or_else(|| (path_part(text).len() > NAME_MAX).then_some("it is too long"));
        match fault {
            None => Ok(WorkspaceName(text.to_owned())),
            Some(why) => Err(NameError { name: text.escape_debug().to_string(), what: "workspace", why }),
        }
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one part of a path; [`from_path_part`] reads it back.
    pub fn path_part(&self) -> String {
        path_part(&self.0)
    }
}

fn path_part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' => part.push('~'),
            c if c.is_ascii_alphanumeric() || "._-".contains(c) || !c.is_ascii() => part.push(c),
            c => part.push_str(&format!("={:02X}", u32::from(c))),
        }
    }
    part
}

/// Reads a workspace name back from its part of a path; `None` when no name has that form.
pub fn from_path_part(part: &str) -> Option<WorkspaceName> {
    let mut name = String::with_capacity(part.len());
    let mut rest = part.chars();
    while let Some(c) = rest.next() {
        match c {
            '~' => name.push('/'),
            '=' => {
                let hex: String = rest.by_ref().take(2).collect();
                name.push(char::from(u8::from_str_radix(&hex, 16).ok()?));
            }
            c => name.push(c),
        }
    }
    WorkspaceName::parse(&name).ok().filter(|name| name.path_part() == part)
}

macro_rules! text_name {
    ($kind:ident) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $kind {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$kind> for String {
            fn from(name: $kind) -> Self {
                name.0
            }
        }
    };
}
text_name!(BranchName);
text_name!(WorkspaceName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_git_refuses_are_refused() {
        for bad in [
            "",
            "-x",
            "a b",
            "a..b",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "x.lock",
            "a~1",
            "a@{1",
            "@",
            "a\n",
            "a\0b",
            "HEAD",
            "refs/heads/x",
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["main", "feature/x", "füñ", "a@b", "x-y_z.1", "100%"] {
            assert!(BranchName::parse(good).is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_reads_back_from_its_path_part(text in "[ -~éß/]{1,40}") {
            if let Ok(name) = WorkspaceName::parse(&text) {
                let part = name.path_part();
                prop_assert!(!part.contains('/') && part != "." && part != "..");
                prop_assert_eq!(from_path_part(&part), Some(name));
            }
        }
    }
}
