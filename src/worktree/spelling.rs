//! Decision file: how the names of branches may be spelled, as git takes them.
//!
//! Only the text is looked at; whether there is such a branch is asked by `base_name`.

/// The branch that `refs/heads/X` or `heads/X` names.
pub fn branch_in_full(text: &str) -> Option<&str> {
    text.strip_prefix("refs/heads/").or(text.strip_prefix("heads/"))
}

/// The path below `refs/remotes/` that a name in full has.
pub fn remote_in_full(text: &str) -> Option<&str> {
    text.strip_prefix("refs/remotes/").or(text.strip_prefix("remotes/"))
}

/// A remote and a branch of it: none for the remote alone and for its `HEAD`, which mean its default branch. Of remotes that
/// both fit (`team` and `team/fork`) the longer name counts.
pub fn split<'a>(path: &'a str, remotes: &[String]) -> Option<(&'a str, Option<&'a str>)> {
    let of = |remote: &String| {
        let rest = path.strip_prefix(remote.as_str())?;
        match rest.strip_prefix('/') {
            _ if rest.is_empty() => Some((path, None)),
            Some("HEAD") => Some((path.get(..remote.len())?, None)),
            Some(branch) if !branch.is_empty() => Some((path.get(..remote.len())?, Some(branch))),
            _ => None,
        }
    };
    remotes.iter().filter_map(of).max_by_key(|(remote, _)| remote.len())
}

/// The branch before `@{upstream}`; empty for the one that is checked out.
pub fn of_upstream(text: &str) -> Option<&str> {
    let (name, suffix) = text.rsplit_once("@{")?;
    ["u}", "upstream}"].iter().any(|known| suffix.eq_ignore_ascii_case(known)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_git_takes_them() {
        assert_eq!(branch_in_full("refs/heads/a/b"), Some("a/b"));
        assert_eq!((branch_in_full("heads/a"), branch_in_full("a")), (Some("a"), None));
        assert_eq!((remote_in_full("remotes/o/a"), remote_in_full("refs/remotes/o")), (Some("o/a"), Some("o")));
        let (name, none) = (of_upstream("main@{U}"), of_upstream("main@{1}"));
        assert_eq!((name, of_upstream("@{upstream}"), none), (Some("main"), Some(""), None));
    }

    #[test]
    fn a_remote_alone_and_its_head_mean_the_default_branch() {
        let remotes = ["team".to_owned(), "team/fork".to_owned()];
        let check = |path, expected| assert_eq!(split(path, &remotes), expected, "{path}");
        check("team", Some(("team", None)));
        check("team/HEAD", Some(("team", None)));
        check("team/main", Some(("team", Some("main"))));
        check("team/fork", Some(("team/fork", None)));
        check("team/fork/a/b", Some(("team/fork", Some("a/b"))));
        check("teams/main", None);
        check("team/", None);
    }
}
