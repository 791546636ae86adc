//! Decision file: whether what a result changes may come in.
//! Works on what git printed about a quarantined commit; looks at no file.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::record::ChangeCount;

/// One changed path of a result, from `git diff-tree --raw -z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawChange {
    /// Mode before, in octal; `000000` when it is new.
    pub old_mode: String,
    /// Mode after; `000000` when it is gone.
    pub new_mode: String,
    /// The object after; zeros when it is gone.
    pub id: String,
    /// The path, as bytes.
    pub path: Vec<u8>,
}

/// The mode of what is not there.
const ABSENT: &str = "000000";

impl RawChange {
    /// It was not there before.
    pub fn is_new(&self) -> bool {
        self.old_mode == ABSENT && self.new_mode != ABSENT
    }

    /// It is gone.
    pub fn is_removal(&self) -> bool {
        self.new_mode == ABSENT
    }
}

/// What a result changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultChanges {
    /// Each path.
    pub raw: Vec<RawChange>,
    /// Totals.
    pub count: ChangeCount,
}

/// Why a result may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One sentence.
    pub message: String,
    /// The files it is about.
    pub paths: Vec<String>,
}

/// The mode of a gitlink: a commit of another repository.
pub const GITLINK: &str = "160000";

/// Names that no pattern means but one that means every name, some directories deep.
const ANYTHING: &[u8] = b"/\x01/\x02/\x03/\x04/\x05";

/// Compiles the patterns of what a task may change; the message of the first bad one otherwise.
pub fn compile(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(|error| error.to_string())?);
    }
    set.build().map_err(|error| error.to_string())
}

/// Decides on a result: nothing outside `allowed` (empty means everything), no nested repository that came new.
pub fn judge(changes: &ResultChanges, patterns: &[String], allowed: &GlobSet) -> Option<Refusal> {
    use std::os::unix::ffi::OsStrExt;
    let show = |change: &RawChange| String::from_utf8_lossy(&change.path).into_owned();
    let nested: Vec<String> =
        changes.raw.iter().filter(|c| c.new_mode == GITLINK && c.old_mode != GITLINK).map(show).collect();
    if !nested.is_empty() {
        let message = "the result holds a repository inside the repository, whose files git would not take".into();
        return Some(Refusal { message, paths: nested });
    }
    if patterns.is_empty() {
        return None;
    }
    let matches = |path: &[u8]| allowed.is_match(std::ffi::OsStr::from_bytes(path));
    // Of a submodule that was moved the files are not known here: what allows everything in it allows it.
    let anything = |change: &RawChange| change.new_mode == GITLINK && matches(&[&change.path, ANYTHING].concat());
    let outside = |change: &&RawChange| !matches(&change.path) && !anything(change);
    let outside: Vec<String> = changes.raw.iter().filter(outside).map(show).collect();
    if outside.is_empty() {
        return None;
    }
    Some(Refusal { message: "the result changes files outside its `paths`".into(), paths: outside })
}

/// Reads the output of `git diff-tree -r -z --raw --numstat --no-renames`.
pub fn parse_diff(output: &[u8]) -> ResultChanges {
    let mut changes = ResultChanges::default();
    let mut fields = output.split(|b| *b == 0);
    while let Some(field) = fields.next() {
        let text = String::from_utf8_lossy(field);
        if let Some(raw) = text.strip_prefix(':') {
            let mut words = raw.split(' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (old_mode, new_mode, _, id) = (word(), word(), word(), word());
            changes.raw.push(RawChange { old_mode, new_mode, id, path: fields.next().unwrap_or_default().to_vec() });
        } else if let Some((insertions, rest)) = text.split_once('\t') {
            // Binary files count as changed without lines: git prints `-`.
            let deletions = rest.split('\t').next().unwrap_or("");
            changes.count.insertions += insertions.parse().unwrap_or(0);
            changes.count.deletions += deletions.parse().unwrap_or(0);
        }
    }
    changes.count.files_changed = changes.raw.len();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, old_mode: &str, new_mode: &str) -> RawChange {
        RawChange { old_mode: old_mode.into(), new_mode: new_mode.into(), id: String::new(), path: path.into() }
    }

    fn check(patterns: &[&str], paths: &[&str], outside: &[&str]) {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let allowed = compile(&patterns).expect("valid patterns");
        let raw = paths.iter().map(|path| changed(path, "100644", "100644")).collect();
        let verdict = judge(&ResultChanges { raw, count: ChangeCount::default() }, &patterns, &allowed);
        assert_eq!(verdict.map(|refusal| refusal.paths).unwrap_or_default(), outside, "{patterns:?} on {paths:?}");
    }

    #[test]
    fn paths_table() {
        check(&[], &["anything", "a/b"], &[]);
        check(&["src/**"], &["src/a.rs", "src/b/c.rs"], &[]);
        check(&["src/**"], &["srcx/a.rs", "README"], &["srcx/a.rs", "README"]);
        check(&["src/*.rs"], &["src/a.rs", "src/b/c.rs"], &["src/b/c.rs"]);
        check(&["docs/**", "*.md"], &["docs/x", "a.md", "b/a.md"], &["b/a.md"]);
    }

    #[test]
    fn what_allows_everything_in_a_submodule_allows_its_move() {
        let check = |pattern: &str, allows: bool| {
            let patterns = [pattern.to_owned()];
            let allowed = compile(&patterns).expect("valid");
            let raw = vec![changed("lib", GITLINK, GITLINK)];
            let verdict = judge(&ResultChanges { raw, count: ChangeCount::default() }, &patterns, &allowed);
            assert_eq!(verdict.is_none(), allows, "{pattern}");
        };
        check("lib", true);
        check("lib/**", true);
        check("**", true);
        check("lib/*", false);
        check("lib/src/**", false);
    }

    #[test]
    fn a_new_nested_repository_is_refused_and_a_moved_submodule_is_not() {
        let allowed = compile(&[]).expect("valid");
        let judge_one =
            |change| judge(&ResultChanges { raw: vec![change], count: ChangeCount::default() }, &[], &allowed);
        assert!(judge_one(changed("sub", "000000", GITLINK)).is_some());
        assert!(judge_one(changed("sub", "100644", GITLINK)).is_some());
        assert!(judge_one(changed("sub", GITLINK, GITLINK)).is_none());
    }

    proptest::proptest! {
        /// Whatever git, or somebody in its place, prints: it is read without a panic, and every path in it is judged.
        #[test]
        fn any_output_is_read(output in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let changes = parse_diff(&output);
            let patterns = ["src/**".to_owned()];
            let allowed = compile(&patterns).expect("valid");
            let outside = judge(&changes, &patterns, &allowed).map_or(0, |refusal| refusal.paths.len());
            proptest::prop_assert!(outside <= changes.raw.len());
            proptest::prop_assert_eq!(changes.count.files_changed, changes.raw.len());
        }
    }

    #[test]
    fn raw_and_numstat_are_read_together() {
        let output = b":100644 100644 aaa bbb M\0a\nb\0:000000 100644 000 ccc A\0bin\x00\x33\t1\ta\nb\0-\t-\tbin\0";
        let changes = parse_diff(output);
        assert_eq!(changes.count, ChangeCount { files_changed: 2, insertions: 3, deletions: 1 });
        assert_eq!(changes.raw[0].path, b"a\nb");
    }
}
