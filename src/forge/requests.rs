//! Decision file: pull requests as the programs of forges print them, and what they mean for a branch.
//!
//! What is not as expected is no answer; a request that lacks what is needed of it makes the whole answer none.

use serde::Deserialize;

use crate::model::CommitId;

/// A pull request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its number.
    pub number: u64,
    /// The tip that it asks to merge.
    pub head: CommitId,
    /// The branch of that tip.
    pub branch: String,
    /// The branch that it is to be merged into.
    pub base: String,
    /// Its branch is in another repository.
    pub from_elsewhere: bool,
    /// The commit of its base that merged it.
    pub merged_as: Option<CommitId>,
}

/// Pull requests of one repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requests {
    /// All that are open.
    pub open: Vec<Request>,
    /// Those that were merged, as far as the forge was asked.
    pub merged: Vec<Request>,
}

impl Requests {
    /// Why a branch of that repository is needed, if an open request needs it.
    pub fn needs(&self, branch: &str, tip: &CommitId) -> Option<String> {
        let of = |request: &&Request| (request.branch == branch && !request.from_elsewhere) || request.head == *tip;
        if let Some(request) = self.open.iter().find(of) {
            return Some(format!("pull request #{} is open", request.number));
        }
        let upon = self.open.iter().find(|request| request.base == branch)?;
        Some(format!("pull request #{} is based on it", upon.number))
    }

    /// The requests by which exactly this tip was merged.
    pub fn merged_at<'a>(&'a self, tip: &'a CommitId) -> impl Iterator<Item = &'a Request> {
        self.merged.iter().filter(move |request| request.head == *tip)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfGitHub {
    number: u64,
    head_ref_name: String,
    head_ref_oid: String,
    base_ref_name: String,
    is_cross_repository: bool,
    merge_commit: Option<Oid>,
}

#[derive(Deserialize)]
struct Oid {
    oid: String,
}

/// The fields that [`from_github`] reads.
pub const GITHUB_FIELDS: &str = "number,headRefName,headRefOid,baseRefName,isCrossRepository,mergeCommit";

/// Reads what `gh pr list --json` prints.
pub fn from_github(output: &[u8]) -> Option<Vec<Request>> {
    let listed: Vec<OfGitHub> = serde_json::from_slice(output).ok()?;
    let request = |one: OfGitHub| {
        Some(Request {
            number: one.number,
            head: CommitId::parse(&one.head_ref_oid).ok()?,
            branch: one.head_ref_name,
            base: one.base_ref_name,
            from_elsewhere: one.is_cross_repository,
            merged_as: one.merge_commit.and_then(|commit| CommitId::parse(&commit.oid).ok()),
        })
    };
    listed.into_iter().map(request).collect()
}

#[derive(Deserialize)]
struct OfGitLab {
    iid: u64,
    source_branch: String,
    target_branch: String,
    sha: String,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
}

/// Reads what `glab mr list --output json` prints.
pub fn from_gitlab(output: &[u8]) -> Option<Vec<Request>> {
    let listed: Vec<OfGitLab> = serde_json::from_slice(output).ok()?;
    let request = |one: OfGitLab| {
        let head = CommitId::parse(&one.sha).ok()?;
        let merged = one.merge_commit_sha.or(one.squash_commit_sha);
        Some(Request {
            number: one.iid,
            branch: one.source_branch,
            base: one.target_branch,
            from_elsewhere: one.source_project_id.is_none() || one.source_project_id != one.target_project_id,
            // Without a commit of its own the base was moved forward to the head.
            merged_as: merged.map_or(Some(head.clone()), |id| CommitId::parse(&id).ok()),
            head,
        })
    };
    listed.into_iter().map(request).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> CommitId {
        CommitId::parse(&letter.to_string().repeat(40)).expect("an id")
    }

    fn request(number: u64, branch: &str, base: &str, head: char) -> Request {
        let (branch, base) = (branch.to_owned(), base.to_owned());
        Request { number, head: id(head), branch, base, from_elsewhere: false, merged_as: None }
    }

    #[test]
    fn an_open_request_needs_its_branch_and_its_base() {
        let fork = Request { from_elsewhere: true, ..request(3, "same", "main", 'c') };
        let open = vec![request(1, "fix", "main", 'a'), request(2, "top", "below", 'b'), fork];
        let requests = Requests { open, merged: vec![request(4, "old", "main", 'd')] };
        let table = [
            ("fix", 'f', Some("pull request #1 is open")),
            ("renamed", 'a', Some("pull request #1 is open")),
            ("below", 'f', Some("pull request #2 is based on it")),
            ("same", 'f', None),
            ("same", 'c', Some("pull request #3 is open")),
            ("old", 'd', None),
        ];
        for (branch, tip, expected) in table {
            assert_eq!(requests.needs(branch, &id(tip)).as_deref(), expected, "{branch}");
        }
        assert_eq!(requests.merged_at(&id('d')).map(|request| request.number).collect::<Vec<_>>(), [4]);
        assert_eq!(requests.merged_at(&id('a')).count(), 0, "one that is open was not merged");
    }

    #[test]
    fn what_each_forge_prints_is_read_and_half_an_answer_is_none() {
        let (head, merge) = (id('a'), id('b'));
        let github = format!(
            r#"[{{"number":7,"headRefName":"fix","headRefOid":"{head}","baseRefName":"main","isCrossRepository":false,
                "mergeCommit":{{"oid":"{merge}"}}}}]"#
        );
        let expected = Request { merged_as: Some(merge.clone()), ..request(7, "fix", "main", 'a') };
        assert_eq!(from_github(github.as_bytes()), Some(vec![expected.clone()]));
        let open = github.replace(&format!(r#"{{"oid":"{merge}"}}"#), "null");
        assert_eq!(from_github(open.as_bytes()), Some(vec![request(7, "fix", "main", 'a')]));
        assert_eq!(from_github(github.replace("headRefOid", "other").as_bytes()), None);
        assert_eq!(from_github(github.replace(head.as_str(), "?").as_bytes()), None);
        let gitlab = format!(
            r#"[{{"iid":7,"source_branch":"fix","target_branch":"main","sha":"{head}","source_project_id":1,
                "target_project_id":1,"merge_commit_sha":null,"squash_commit_sha":"{merge}"}}]"#
        );
        assert_eq!(from_gitlab(gitlab.as_bytes()), Some(vec![expected]));
        let forward = from_gitlab(gitlab.replace(&format!("\"{merge}\""), "null").as_bytes()).expect("read");
        assert_eq!(forward[0].merged_as, Some(head));
        assert_eq!(from_gitlab(b"{}"), None);
    }
}
