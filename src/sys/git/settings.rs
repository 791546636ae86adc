//! What git's configuration says, listed once, for who would ask for one value after the other.
//!
//! Answers are those of `git config --get` and `git remote` at the moment of the listing; whoever keeps one decides how long that is
//! good enough. Changes nothing, and is kept nowhere beyond the command that made it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{GitCommand, GitError};

/// A listing of the configuration.
#[derive(Debug)]
pub struct Settings {
    listed: Vec<u8>,
    /// The last value of each key, as the listing spells it; `None` where a key stands there alone.
    values: HashMap<String, Option<String>>,
}

/// The key that says where hooks are.
const HOOKS_PATH: &str = "core.hookspath";

impl Settings {
    /// Lists what this command is told, as the user has it: without what treehand says of hooks.
    pub fn list(command: GitCommand) -> Result<Settings, GitError> {
        let listed = command.args(["config", "--list", "-z"]).with_hooks().run()?.stdout;
        Ok(Settings { values: records(&listed).map(entry).collect(), listed })
    }

    /// All of it, a key and its value in each record.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        records(&self.listed)
    }

    /// One value, as git resolves it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(&listed_key(key)).map(|value| value.as_deref().unwrap_or_default())
    }

    /// The names of the remotes, in order.
    pub fn remotes(&self) -> Vec<String> {
        let name = |key: &String| Some(key.strip_prefix("remote.")?.rsplit_once('.')?.0.to_owned());
        // git passes over what looks like a path.
        let names: BTreeSet<String> =
            self.values.keys().filter_map(name).filter(|name| !name.starts_with('/')).collect();
        names.into_iter().collect()
    }

    /// True when every worktree of the repository is told the same, those that are yet to be made included: nothing depends on where
    /// one stands or what is checked out there, and none has settings of its own.
    pub fn hold_everywhere(&self) -> bool {
        let own = self.values.get("extensions.worktreeconfig");
        let has_own = own.is_some_and(|value| value.as_deref() != Some("false"));
        !has_own && !self.values.keys().any(|key| key.starts_with("includeif."))
    }

    /// True when the user has put the hooks somewhere else than in the repository.
    pub fn move_hooks(&self) -> bool {
        self.values.contains_key(HOOKS_PATH)
    }

    /// A print of it, the same as long as no value in effect changed.
    pub fn print(&self) -> u64 {
        let mut entries: Vec<_> = self.values.iter().collect();
        entries.sort_unstable();
        let mut hasher = DefaultHasher::new();
        entries.hash(&mut hasher);
        hasher.finish()
    }
}

fn records(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

fn entry(record: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(record).into_owned();
    match text.split_once('\n') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }
}

/// A key as `config --list` prints it: section and variable in lower case, what is between as it is.
fn listed_key(key: &str) -> String {
    match (key.split_once('.'), key.rsplit_once('.')) {
        (Some((section, _)), Some((_, variable))) if section.len() + variable.len() + 1 < key.len() => {
            let between = &key[section.len()..key.len() - variable.len()];
            format!("{}{between}{}", section.to_lowercase(), variable.to_lowercase())
        }
        _ => key.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::git::Git;

    #[test]
    fn keys_are_looked_up_as_git_lists_them() {
        let check = |key, expected: &str| assert_eq!(listed_key(key), expected);
        check("core.sshCommand", "core.sshcommand");
        check("branch.Feature/X.merge", "branch.Feature/X.merge");
        check("remote.Up.Stream.pushURL", "remote.Up.Stream.pushurl");
    }

    #[test]
    fn what_is_listed_is_what_git_says_of_each() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        run(&["init", "-q"]);
        let config = dir.path().join(".git/config");
        let before = std::fs::read_to_string(&config).expect("read");
        let lines = "[branch \"X/y\"]\n\tRemote = one\n\tremote = two\n\tmerge = a\\nb\n[some]\n\talone\n\tempty =\n\
                     [remote \"b\"]\n\tprune\n[remote \"a.b\"]\n\turl = x\n[remote \"/c\"]\n\turl = y\n[remote]\n\tpushDefault = b\n";
        std::fs::write(&config, before + lines).expect("written");
        let settings = Settings::list(git.within(dir.path(), [""; 0])).expect("listed");
        for key in ["branch.X/y.remote", "branch.X/y.merge", "some.alone", "some.empty", "core.bare"] {
            assert_eq!(settings.get(key), Some(run(&["config", "--get", key]).as_str()), "{key}");
        }
        assert_eq!((settings.get("branch.x/y.remote"), settings.get("some.other")), (None, None));
        assert_eq!(settings.remotes().join("\n"), run(&["remote"]));
        assert!(!settings.move_hooks(), "what treehand itself says of hooks is none of the user's");
        run(&["config", "core.hooksPath", "hooks"]);
        assert!(Settings::list(git.within(dir.path(), [""; 0])).expect("listed").move_hooks());
    }

    #[test]
    fn a_print_tells_what_is_set_to_nothing_from_what_stands_there_alone() {
        let print =
            |listed: &[u8]| Settings { values: records(listed).map(entry).collect(), listed: Vec::new() }.print();
        assert_ne!(print(b"a.b\0"), print(b"a.b\n\0"));
        assert_eq!(print(b"a.b\nx\0a.c\0"), print(b"a.b\ny\0a.c\0a.b\nx\0"));
    }

    #[test]
    fn what_depends_on_where_one_stands_does_not_hold_everywhere() {
        let hold = |listed: &[u8]| Settings { values: records(listed).map(entry).collect(), listed: Vec::new() };
        assert!(hold(b"core.bare\nfalse\0include.path\nx\0extensions.worktreeconfig\nfalse\0").hold_everywhere());
        for listed in [
            &b"includeif.gitdir:/x/.path\ny\0"[..],
            b"includeif.onbranch:x.path\ny\0",
            b"extensions.worktreeconfig\0",
            b"extensions.worktreeconfig\ntrue\0",
            b"extensions.worktreeconfig\n1\0",
        ] {
            assert!(!hold(listed).hold_everywhere(), "{:?}", String::from_utf8_lossy(listed));
        }
    }
}
