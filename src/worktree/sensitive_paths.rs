//! Decision file: which of the files that a result changes run something for whoever takes it: on entering the directory, on opening
//! it in an editor, on the next commit, on a push.
//!
//! The list is of conventions and cannot be complete: building and testing what a task wrote runs its code as well, and is what
//! people do with it on purpose. What is here runs by itself. Names are compared without regard to case, as many file systems do.

use std::collections::BTreeSet;

use super::result_policy::{RawChange, Refusal};
use crate::model::sensitive::{Handling, PathClass, Sensitive};

/// The mode of a symbolic link.
pub const LINK: &str = "120000";

/// Files and directories (those end in `/`) at the root of a repository.
const AT_ROOT: [(PathClass, &[&str]); 3] = [
    (
        PathClass::Ci,
        &[
            ".github/workflows/",
            ".github/actions/",
            ".gitea/workflows/",
            ".forgejo/workflows/",
            ".gitlab-ci.yml",
            ".gitlab-ci.yaml",
            ".circleci/",
            ".buildkite/",
            ".travis.yml",
            ".drone.yml",
            ".woodpecker/",
            ".woodpecker.yml",
            ".woodpecker.yaml",
            ".cirrus.yml",
            ".cirrus.star",
            ".appveyor.yml",
            "appveyor.yml",
            "bitbucket-pipelines.yml",
            ".teamcity/",
            ".builds/",
            ".build.yml",
            ".azure-pipelines/",
            ".semaphore/",
        ],
    ),
    (
        PathClass::Hooks,
        &[
            ".husky/",
            ".githooks/",
            ".git-hooks/",
            ".huskyrc",
            ".huskyrc.json",
            ".huskyrc.js",
            "lefthook.yml",
            "lefthook.yaml",
            "lefthook.toml",
            "lefthook.json",
            ".lefthook.yml",
            ".lefthook.yaml",
            ".lefthook/",
            "lefthook-local.yml",
            ".pre-commit-config.yaml",
            ".overcommit.yml",
            ".git-hooks.yaml",
            "captainhook.json",
        ],
    ),
    (PathClass::Treehand, &[".treehand.toml", ".worktreeinclude"]),
];

/// The same in any directory.
const ANYWHERE: [(PathClass, &[&str]); 5] = [
    (PathClass::Ci, &["jenkinsfile", "azure-pipelines.yml", "azure-pipelines.yaml"]),
    (
        PathClass::Environment,
        &[
            ".envrc",
            ".autoenv",
            ".autoenv.zsh",
            ".mise.toml",
            "mise.toml",
            ".mise/",
            ".mise.local.toml",
            "mise.local.toml",
            ".config/mise.toml",
            ".config/mise/",
            ".rtx.toml",
            ".devcontainer/",
            ".devcontainer.json",
            ".gitpod.yml",
            ".devbox/",
            "devbox.json",
        ],
    ),
    (
        PathClass::Editors,
        &[
            ".vscode/",
            ".vs/",
            ".idea/",
            ".zed/",
            ".fleet/",
            ".nova/",
            ".exrc",
            ".nvimrc",
            ".nvim.lua",
            ".vimrc",
            ".gvimrc",
            ".lvimrc",
            ".local.vimrc",
            ".dir-locals.el",
            ".dir-locals-2.el",
            ".sublime-project",
            "*.code-workspace",
            "*.sublime-project",
        ],
    ),
    (
        PathClass::Agents,
        &[
            ".claude/",
            ".codex/",
            ".gemini/",
            ".cursor/",
            ".mcp.json",
            ".opencode/",
            "opencode.json",
            "opencode.jsonc",
            ".pi/",
            ".qwen/",
            ".aider.conf.yml",
            ".windsurf/",
            ".continue/",
            ".roo/",
            ".kiro/",
            ".amp/",
            ".crush.json",
            "crush.json",
            ".goose/",
            ".amazonq/",
        ],
    ),
    (PathClass::GitFiles, &[".gitmodules", ".gitattributes", ".lfsconfig"]),
];

/// What a result changes, and what of it is not in the list of changes.
#[derive(Clone, Debug, Default)]
pub struct Sight<'a> {
    /// Each changed path.
    pub changes: &'a [RawChange],
    /// Where the links among them lead: path and target.
    pub links: &'a [(Vec<u8>, Vec<u8>)],
    /// The directory of the repository's hooks, where that is in the tree.
    pub hooks: Option<&'a str>,
    /// The patterns that the task may change: what one of them names itself is allowed.
    pub patterns: &'a [String],
}

/// Decides on a result: the strictest of what its paths call for, with all of them; `None` when it can land.
pub fn judge(sight: &Sight<'_>, policy: &Sensitive) -> Option<(Handling, Refusal)> {
    let (mut handling, mut classes, mut paths) = (Handling::Allow, BTreeSet::new(), Vec::new());
    let found = sight.changes.iter().filter_map(|change| found(change, sight));
    for (path, class, name) in found {
        let wanted = policy.of(class);
        if wanted == Handling::Allow || sight.patterns.iter().any(|pattern| names(pattern, &path, &name)) {
            continue;
        }
        handling = handling.max(wanted);
        classes.insert(class);
        paths.push(path);
    }
    let listed: Vec<&str> = classes.into_iter().map(PathClass::word).collect();
    let what = format!("the result changes what runs by itself for whoever takes it ({})", listed.join(", "));
    let message = match handling {
        Handling::Allow => return None,
        Handling::NeedsPerson => format!("{what}: a person has to look at it"),
        Handling::Refuse => what,
    };
    Some((handling, Refusal { message, paths }))
}

/// The path of a change as text, its class, and the leading part of it that has the class.
fn found(change: &RawChange, sight: &Sight<'_>) -> Option<(String, PathClass, String)> {
    let path = String::from_utf8_lossy(&change.path).into_owned();
    if change.new_mode == LINK {
        let target = sight.links.iter().find(|(link, _)| *link == change.path).map(|(_, target)| &target[..]);
        if target.is_none_or(|target| leads_out(&path, target)) {
            return Some((path.clone(), PathClass::Links, path));
        }
    }
    let (class, length) = class(&path, change.new_mode == LINK, sight.hooks)?;
    let name = path[..length].to_owned();
    Some((path, class, name))
}

/// The class of a path, and the length of the leading part that has it. A link in the place of a directory, or of one that leads
/// to it, stands for what is in it.
fn class(path: &str, link: bool, hooks: Option<&str>) -> Option<(PathClass, usize)> {
    let lower = path.to_ascii_lowercase();
    let stands_for = |path: &str, directory: &str| {
        directory.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let begins = |path: &str, name: &str| match name.strip_suffix('/') {
        Some(directory) if link && stands_for(path, directory) => Some(path.len()),
        _ => begins(path, name),
    };
    if let Some(hooks) = hooks.map(|hooks| format!("{}/", hooks.trim_end_matches('/').to_ascii_lowercase()))
        && let Some(length) = begins(&lower, &hooks)
    {
        return Some((PathClass::Hooks, length));
    }
    let rooted = AT_ROOT.iter().flat_map(|(class, names)| names.iter().map(|name| (*class, *name)));
    let mut at_root = rooted.filter_map(|(class, name)| Some((class, begins(&lower, name)?)));
    if let Some(found) = at_root.next() {
        return Some(found);
    }
    let starts = std::iter::once(0).chain(lower.match_indices('/').map(|(at, _)| at + 1));
    let mut anywhere = starts.flat_map(|at| {
        let rest = &lower[at..];
        let named = ANYWHERE.iter().flat_map(|(class, names)| names.iter().map(|name| (*class, *name)));
        named.filter_map(move |(class, name)| Some((class, at + begins(rest, name)?)))
    });
    anywhere.next()
}

/// How much of a path one of the names above is, when the path begins with it.
fn begins(path: &str, name: &str) -> Option<usize> {
    match (name.strip_prefix('*'), name.strip_suffix('/')) {
        (Some(end), _) => (path.ends_with(end) && !path.contains('/')).then_some(path.len()),
        (_, Some(directory)) => path.strip_prefix(directory)?.starts_with('/').then_some(directory.len()),
        _ => (path == name).then_some(path.len()),
    }
}

/// True for a pattern that does not merely match a path: it says what is special about it in so many words, or the directory
/// that only such things are in.
fn names(pattern: &str, path: &str, name: &str) -> bool {
    let literal: Vec<&str> = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).collect();
    let special: Vec<&str> = name.split('/').collect();
    let first = special.iter().position(|part| part.starts_with('.')).unwrap_or(special.len().saturating_sub(1));
    let matches = super::result_policy::compile(&[pattern.to_owned()]).is_ok_and(|glob| glob.is_match(path));
    matches && literal.len() > first && literal[..=first] == special[..=first]
}

/// True when a link at this path leads out of the repository, or into its git dir.
pub fn leads_out(path: &str, target: &[u8]) -> bool {
    let target = String::from_utf8_lossy(target);
    if target.starts_with('/') {
        return true;
    }
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            // What was named before may be a link itself: up from where it leads to is anywhere.
            ".." if named => return true,
            ".." => {
                if place.pop().is_none() {
                    return true;
                }
            }
            other => {
                named = true;
                place.push(other);
            }
        }
    }
    place.iter().any(|part| part.eq_ignore_ascii_case(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, mode: &str) -> RawChange {
        RawChange { old_mode: "000000".into(), new_mode: mode.into(), id: String::new(), path: path.into() }
    }

    fn verdict(path: &str, patterns: &[&str]) -> Option<String> {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let changes = [changed(path, "100644")];
        let sight = Sight { changes: &changes, links: &[], hooks: Some("tools/hooks"), patterns: &patterns };
        let (handling, refusal) = judge(&sight, &Sensitive::default())?;
        assert_eq!((handling, &refusal.paths[..]), (Handling::NeedsPerson, &[path.to_owned()][..]));
        let (_, word) = refusal.message.split_once('(').expect("the classes");
        Some(word.split_once(')').expect("the classes").0.to_owned())
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_has_its_class() {
        let table = [
            (".vscode", Some("editors")),
            ("a/.claude", Some("agents")),
            (".github", Some("ci")),
            ("tools", Some("hooks")),
            ("tools/hooks", Some("hooks")),
            (".config", Some("environment")),
            ("docs", None),
        ];
        for (path, expected) in table {
            let (changes, links) = ([changed(path, LINK)], [(path.as_bytes().to_vec(), b"elsewhere".to_vec())]);
            let sight = Sight { changes: &changes, links: &links, hooks: Some("tools/hooks"), patterns: &[] };
            let found = judge(&sight, &Sensitive::default()).map(|(_, refusal)| refusal.message);
            assert_eq!(found.is_some(), expected.is_some(), "{path}");
            assert!(found.is_none_or(|message| message.contains(expected.unwrap_or_default())), "{path}");
            // A file of that name is what it is.
            let changes = [changed(path, "100644")];
            assert!(judge(&Sight { changes: &changes, ..sight }, &Sensitive::default()).is_none(), "{path}");
        }
    }

    #[test]
    fn a_link_that_goes_up_from_where_another_may_lead_is_taken_to_lead_out() {
        for (target, out) in [("d/../etc", true), ("../d/..", true), ("./../d", false), ("d/./e", false), ("..", false)]
        {
            assert_eq!(leads_out("a/x", target.as_bytes()), out, "{target}");
        }
        assert!(leads_out("x", b"d/d/d/../../../etc/passwd"));
    }

    #[test]
    fn what_runs_by_itself_and_what_only_looks_like_it() {
        let table = [
            (".github/workflows/ci.yml", Some("ci")),
            (".GitHub/Workflows/ci.yml", Some("ci")),
            ("docs/.github/workflows/ci.yml", None),
            (".github/CODEOWNERS", None),
            (".gitlab-ci.yml", Some("ci")),
            ("deploy/Jenkinsfile", Some("ci")),
            (".husky/pre-commit", Some("hooks")),
            ("tools/hooks/pre-commit", Some("hooks")),
            ("tools/hooksmith", None),
            ("packages/a/.envrc", Some("environment")),
            ("packages/a/.envrc.example", None),
            (".config/mise/config.toml", Some("environment")),
            ("a/b/.vscode/tasks.json", Some("editors")),
            (".vscode-notes", None),
            ("my.code-workspace", Some("editors")),
            (".claude/settings.json", Some("agents")),
            ("CLAUDE.md", None),
            (".mcp.json", Some("agents")),
            (".gitmodules", Some("git_files")),
            ("assets/.gitattributes", Some("git_files")),
            (".gitignore", None),
            (".treehand.toml", Some("treehand")),
            ("examples/.treehand.toml", None),
            ("src/main.rs", None),
            ("Makefile", None),
        ];
        for (path, expected) in table {
            assert_eq!(verdict(path, &[]).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_task_that_was_given_such_a_path_by_name_may_change_it() {
        let table = [
            (".github/workflows/ci.yml", ".github/workflows/ci.yml", true),
            (".github/workflows/ci.yml", ".github/**", true),
            (".github/workflows/ci.yml", "**", false),
            (".github/workflows/ci.yml", ".*/**", false),
            (".github/workflows/ci.yml", ".github/*", false),
            ("packages/a/.envrc", "packages/**", false),
            ("packages/a/.envrc", "packages/a/.envrc", true),
            ("deploy/Jenkinsfile", "deploy/**", false),
            ("deploy/Jenkinsfile", "deploy/Jenkinsfile", true),
            ("a/.vscode/tasks.json", "a/.vscode/**", true),
        ];
        for (path, pattern, allowed) in table {
            assert_eq!(verdict(path, &[pattern]).is_none(), allowed, "{path} under {pattern}");
        }
    }

    #[test]
    fn links_that_lead_out() {
        let table = [
            ("a/link", "file", false),
            ("a/link", "../file", false),
            ("a/link", "../../file", true),
            ("a/b/link", "../../x/../y", true),
            ("link", "/etc/passwd", true),
            ("link", ".git/hooks/pre-commit", true),
            ("a/link", "../.GIT/config", true),
            ("link", "a/./b//c", false),
        ];
        for (path, target, out) in table {
            let (changes, links) = ([changed(path, LINK)], [(path.into(), target.into())]);
            let sight = Sight { changes: &changes, links: &links, ..Sight::default() };
            assert_eq!(judge(&sight, &Sensitive::default()).is_some(), out, "{path} -> {target}");
        }
        let changes = [changed("unread", LINK)];
        assert!(judge(&Sight { changes: &changes, ..Sight::default() }, &Sensitive::default()).is_some());
    }

    proptest::proptest! {
        /// However a path is written: what has the name of a special directory in it is found, and nothing panics.
        #[test]
        fn any_path_is_judged(
            before in proptest::collection::vec("[a-zA-Z.*\\[{é /]{0,6}", 0..3),
            after in "[^/\0]{1,8}",
            pattern in "[a-z.*/?\\[{]{0,12}",
            target in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
        ) {
            let path = [&before[..], &[".VSCode".to_owned(), after]].concat().join("/");
            let (change, link) = (changed(&path, "100644"), changed("link", LINK));
            let (changes, links) = ([change, link], [(b"link".to_vec(), target)]);
            let patterns = [pattern];
            let sight = Sight { changes: &changes, links: &links, hooks: Some(".."), patterns: &patterns };
            let found = judge(&sight, &Sensitive::default());
            let named = names(&patterns[0], &path, &path);
            proptest::prop_assert!(named || found.is_some_and(|(_, refusal)| refusal.paths.contains(&path)));
        }
    }

    #[test]
    fn the_strictest_decides_and_what_is_allowed_is_not_named() {
        let changes = [changed(".envrc", "100644"), changed(".vscode/a", "100644"), changed("Jenkinsfile", "100644")];
        let sight = Sight { changes: &changes, ..Sight::default() };
        let policy = Sensitive { ci: Handling::Allow, editors: Handling::Refuse, ..Sensitive::default() };
        let (handling, refusal) = judge(&sight, &policy).expect("a verdict");
        assert_eq!((handling, refusal.paths), (Handling::Refuse, vec![".envrc".to_owned(), ".vscode/a".to_owned()]));
        assert_eq!(
            refusal.message,
            "the result changes what runs by itself for whoever takes it (environment, editors)"
        );
    }
}
