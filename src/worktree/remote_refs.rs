//! Asking a remote for everything that it has: branches, its default branch, and the heads of pull requests that it shows.
//!
//! Nothing is taken for absent because a remote did not answer: that is an error. A fetch brings the objects that are not here yet, and
//! moves no ref, whatever the repository's own refspecs say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Result, WorktreeError};
use super::remote::transport;
use super::repository::Repository;
use crate::model::cause::chain;
use crate::model::{BranchName, CommitId, Span};
use crate::sys::git::GitError;

/// Below what a remote shows heads of pull requests, by the name of the kind of forge.
const REQUESTS: [&str; 2] = ["refs/pull/", "refs/merge-requests/"];

/// What a remote has at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Advertised {
    /// Its branches, without `refs/heads/`, and where they are.
    pub branches: BTreeMap<String, CommitId>,
    /// The branch that its `HEAD` points to.
    pub default: Option<String>,
    /// The pull requests that it has the heads of, open or not, by number.
    pub requests: BTreeMap<u64, CommitId>,
    /// Branches that are another name of a branch, and of which.
    pub aliases: BTreeMap<String, String>,
    /// Names of branches that cannot be read as such, as far as they can be shown.
    pub unreadable: Vec<String>,
}

/// Asks the remote for at most this long.
pub fn advertised(repo: &Repository, remote: &str, deadline: Duration) -> Result<Advertised> {
    let patterns = ["HEAD", "refs/heads/*", "refs/pull/*/head", "refs/merge-requests/*/head"];
    let listed = transport(repo, ["ls-remote", "--symref", "--end-of-options", remote], deadline);
    Ok(parse(&listed.args(patterns).run()?.stdout))
}

/// Reads `<id><TAB><ref>` lines, and `ref: <ref><TAB>HEAD`.
fn parse(output: &[u8]) -> Advertised {
    let mut found = Advertised::default();
    for line in output.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            let line = String::from_utf8_lossy(line);
            let name = line.split_once("\trefs/heads/").map(|(_, name)| name.to_owned());
            found.unreadable.extend(name);
            continue;
        };
        let Some((id, name)) = line.split_once('\t') else { continue };
        let branch = name.strip_prefix("refs/heads/");
        match (id.strip_prefix("ref: refs/heads/"), branch) {
            (Some(target), Some(branch)) => drop(found.aliases.insert(branch.to_owned(), target.to_owned())),
            (Some(target), None) if name == "HEAD" => found.default = Some(target.to_owned()),
            _ => {}
        }
        let Ok(id) = CommitId::parse(id) else { continue };
        if let Some(branch) = branch {
            // What a tag in the place of a branch stands for is told beside it.
            match BranchName::parse(branch) {
                Ok(_) => drop(found.branches.insert(branch.to_owned(), id)),
                Err(_) if branch.ends_with("^{}") => {}
                Err(_) => found.unreadable.push(branch.to_owned()),
            }
        } else if let Some(number) = request(name) {
            found.requests.insert(number, id);
        }
    }
    found
}

fn request(name: &str) -> Option<u64> {
    let rest = REQUESTS.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    rest.strip_suffix("/head")?.parse().ok()
}

/// Brings the commits of these branches here, unless they are here already. Nothing holds them then but who asked.
pub fn fetch(repo: &Repository, remote: &str, branches: &[(&str, &CommitId)], deadline: Duration) -> Result<()> {
    let (reader, mut specs) = (repo.reader(), String::new());
    for (branch, tip) in branches {
        if !reader.has_commit(tip)? {
            specs.push_str(&format!("refs/heads/{branch}\n"));
        }
    }
    if specs.is_empty() {
        return Ok(());
    }
    let quiet = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
    // An empty map: what the configuration says of where branches go is not meant here.
    let alone = ["--refmap=", "--no-recurse-submodules", "--no-prune", "--stdin", "--end-of-options", remote];
    let fetch = transport(repo, quiet, deadline).args(alone);
    fetch.stdin(specs).run()?;
    Ok(())
}

/// The ref that tracks a branch of a remote.
pub fn tracking(remote: &str, branch: &str) -> String {
    format!("refs/remotes/{remote}/{branch}")
}

/// Where a remote is, as it is written in the configuration and as git understands it; why nothing may be deleted there, where
/// what is fetched from it is not what is pushed to it.
pub fn addresses(repo: &Repository, remote: &str) -> Result<std::result::Result<Vec<String>, String>> {
    let lines = |args: &[&str]| -> Result<Vec<String>> {
        let text = repo.bare(["remote", "get-url"]).args(args).arg(remote).text()?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let (from, to) = (lines(&["--all"])?, lines(&["--push", "--all"])?);
    if from != to || from.len() != 1 {
        return Ok(Err("what is fetched from it is not what is pushed to it".to_owned()));
    }
    let written = repo.reader().config(&format!("remote.{remote}.url"))?;
    Ok(Ok(written.into_iter().chain(from).collect()))
}

/// Says why a remote did not answer.
pub fn silence(error: &WorktreeError) -> String {
    match error {
        WorktreeError::Git(GitError::Failed { stderr, .. }) => {
            // The first is the cause; what follows says what one might look at.
            let said = stderr.strip_prefix("fatal: ").unwrap_or(stderr);
            format!("it does not answer: {}", said.split(" fatal: ").next().unwrap_or(said))
        }
        WorktreeError::Git(GitError::Deadline { limit, .. }) => {
            format!("it did not answer within {}", Span(*limit))
        }
        other => chain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_remote_shows_is_read_by_column_and_by_place() {
        let id = |letter: char| letter.to_string().repeat(40);
        let mut text = format!(
            "ref: refs/heads/trunk\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/trunk\n{b}\trefs/heads/a/b\n\
             {b}\trefs/heads/a/b^{{}}\nref: refs/heads/a/b\trefs/heads/also\n{b}\trefs/heads/also\n\
             {c}\trefs/pull/12/head\n{c}\trefs/merge-requests/7/head\n{c}\trefs/pull/x/head\n{c}\trefs/tags/refs/heads/z\n",
            a = id('a'),
            b = id('b'),
            c = id('c'),
        )
        .into_bytes();
        text.extend(id('d').bytes().chain(*b"\trefs/heads/caf\xe9\nnonsense"));
        let found = parse(&text);
        let branches: Vec<&str> = found.branches.keys().map(String::as_str).collect();
        assert_eq!(branches, ["a/b", "also", "trunk"]);
        assert_eq!(found.aliases.get("also").map(String::as_str), Some("a/b"));
        assert_eq!(found.branches["a/b"].as_str(), id('b'));
        assert_eq!(found.default.as_deref(), Some("trunk"));
        assert_eq!(found.requests.keys().copied().collect::<Vec<_>>(), [7, 12]);
        assert_eq!(found.unreadable, ["caf\u{fffd}"]);
    }
}
