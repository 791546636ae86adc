//! Decision file: from what the result of a setup step follows, so that the same need not be done again, and how paths in it move along.
//!
//! Promises: two steps have the same key only where they are the same command after the same ones, with the same variables and outputs, at the same level, on
//! the same system, with inputs of the same names, modes and content. A step that names no inputs or outputs, or whose inputs match no
//! file, has none: nobody would ever notice that it is out of date.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha1::{Digest, Sha1};

use crate::model::SetupStep;
use crate::model::record::ConfineLevel;

/// What is kept by an older treehand is no longer found when this changes.
const VERSION: &str = "1";

/// All that a result follows from.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The step.
    pub step: &'a SetupStep,
    /// The steps before it, whose work it may build on.
    pub before: &'a [SetupStep],
    /// How far it is confined.
    pub level: ConfineLevel,
    /// The files of the commit that it names as its inputs, as git lists them: mode, kind and id, a tab, the path.
    pub inputs: &'a [Vec<u8>],
    /// The variables that it gets, with their values.
    pub variables: &'a [(String, String)],
    /// The patterns of a sparse checkout, where it is one.
    pub sparse: Option<&'a [u8]>,
    /// What tells this system from another.
    pub system: &'a [u8],
}

/// The name of the result, the same for the same result.
pub fn key(asked: &Asked<'_>) -> Option<String> {
    let Asked { step, before, level, inputs, variables, sparse, system } = *asked;
    if inputs.is_empty() || step.outputs.is_empty() {
        return None;
    }
    let mut hasher = Sha1::new();
    let mut list = |parts: &[&[u8]]| {
        // With its length before each, no part can be taken for two.
        hasher.update(parts.len().to_le_bytes());
        for part in parts {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    };
    let level = level.to_string();
    list(&[VERSION.as_bytes(), step.run.as_bytes(), level.as_bytes(), system]);
    list(&before.iter().map(|step| step.run.as_bytes()).collect::<Vec<_>>());
    list(&step.outputs.iter().map(|output| output.as_str().as_bytes()).collect::<Vec<_>>());
    list(&variables.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect::<Vec<_>>());
    list(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    list(&sparse.into_iter().collect::<Vec<_>>());
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The patterns of a step's inputs; `None` where one is no pattern.
pub fn matcher(patterns: &[String]) -> Option<GlobSet> {
    let mut all = GlobSetBuilder::new();
    for pattern in patterns {
        all.add(GlobBuilder::new(pattern).literal_separator(true).build().ok()?);
    }
    all.build().ok()
}

/// Below which paths all files are that the patterns match; none for everywhere.
pub fn places(patterns: &[String]) -> Vec<&str> {
    let literal = |pattern: &'_ str| {
        let wild = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
        if wild == pattern.len() { wild } else { pattern[..wild].rfind('/').map_or(0, |slash| slash + 1) }
    };
    let places: Vec<&str> = patterns.iter().map(|pattern| &pattern[..literal(pattern)]).collect();
    if places.contains(&"") { Vec::new() } else { places }
}

/// A text in which one path stands in the place of another, wherever that is a whole path or the beginning of one; `None` where it is
/// not, or where it is no text.
pub fn moved(content: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    if from.is_empty() || content.contains(&0) {
        return None;
    }
    let (mut result, mut rest, mut found) = (Vec::new(), content, false);
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let ends = after.first().is_none_or(|byte| !(byte.is_ascii_alphanumeric() || b"._-~=+".contains(byte)));
        found |= ends;
        result.extend_from_slice(before);
        result.extend_from_slice(if ends { to } else { from });
        rest = after;
    }
    result.extend_from_slice(rest);
    found.then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Directory;

    fn step(run: &str, outputs: &[&str]) -> SetupStep {
        let outputs = outputs.iter().map(|output| Directory::parse(output).expect("a path")).collect();
        SetupStep { inputs: vec!["lock".into()], outputs, ..SetupStep::plain(run) }
    }

    #[test]
    fn everything_that_a_result_follows_from_is_in_its_key() {
        let (one, lock) = (step("npm ci", &["node_modules"]), vec![b"100644 blob 1\tlock".to_vec()]);
        let asked = Asked {
            step: &one,
            before: &[],
            level: ConfineLevel::Strict,
            inputs: &lock,
            variables: &[],
            sparse: None,
            system: b"x86",
        };
        let known = key(&asked).expect("a key");
        assert_eq!(key(&asked), Some(known.clone()));
        let (other, more) = (step("npm i", &["node_modules"]), step("npm ci", &["node_modules", "dist"]));
        let (changed, renamed) = (vec![b"100644 blob 2\tlock".to_vec()], vec![b"100644 blob 1\tlocked".to_vec()]);
        let variables = [("CI".to_owned(), "true".to_owned())];
        let others = [
            Asked { step: &other, ..asked },
            Asked { step: &more, ..asked },
            Asked { before: std::slice::from_ref(&other), ..asked },
            Asked { level: ConfineLevel::Off, ..asked },
            Asked { inputs: &changed, ..asked },
            Asked { inputs: &renamed, ..asked },
            Asked { variables: &variables, ..asked },
            Asked { sparse: Some(b""), ..asked },
            Asked { system: b"arm", ..asked },
        ];
        let keys: std::collections::BTreeSet<String> = others.iter().filter_map(key).chain([known]).collect();
        assert_eq!(keys.len(), others.len() + 1);
        assert_eq!(key(&Asked { inputs: &[], ..asked }), None);
        assert_eq!(key(&Asked { step: &step("npm ci", &[]), ..asked }), None);
    }

    #[test]
    fn inputs_are_looked_for_where_they_can_be() {
        let check = |patterns: &[&str], expected: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            assert_eq!(places(&patterns), expected, "{patterns:?}");
        };
        check(&["package-lock.json", "packages/*/package.json"], &["package-lock.json", "packages/"]);
        check(&["a/b*/c", "d/e"], &["a/", "d/e"]);
        check(&["*.lock", "a/b"], &[]);
        let all = matcher(&["Cargo.lock".into(), "crates/*/Cargo.toml".into()]).expect("patterns");
        assert!(all.is_match("crates/a/Cargo.toml") && all.is_match("Cargo.lock"));
        assert!(!all.is_match("crates/a/b/Cargo.toml") && !all.is_match("x/Cargo.lock"));
        assert!(matcher(&["a[".into()]).is_none());
    }

    #[test]
    fn a_path_moves_where_it_is_a_whole_one() {
        let check = |text: &str, expected: Option<&str>| {
            let found = moved(text.as_bytes(), b"/ws/a/repo", b"/ws/b/repo");
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text}");
        };
        check("#!/ws/a/repo/.venv/bin/python\n", Some("#!/ws/b/repo/.venv/bin/python\n"));
        check("x=/ws/a/repo", Some("x=/ws/b/repo"));
        check("/ws/a/repo:/ws/a/repo-2:'/ws/a/repo'", Some("/ws/b/repo:/ws/a/repo-2:'/ws/b/repo'"));
        check("/ws/a/repository", None);
        check("nothing", None);
        check("/ws/a/repo/\0", None);
        check("", None);
    }
}
