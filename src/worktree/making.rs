//! Apply: merges and commits in a quarantine made in process, where git would do nothing else: the merge is a trivial one, nobody signs, and
//! everything that a commit says is known. For all else the caller asks git.
//!
//! What is made is in memory, where no git finds it, until [`Making::write`].

use std::sync::OnceLock;

use super::error::Result;
use super::merge::Signature;
use super::quarantine::Quarantine;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::git::Maker;

/// What makes them.
pub struct Making<'a> {
    quarantine: &'a Quarantine,
    maker: Option<Maker>,
    people: &'a People,
}

/// Who commits and who writes what nobody else has written, and when; nobody where it is git that has to commit. Asked once each.
#[derive(Debug, Default)]
pub struct People {
    committer: OnceLock<Option<String>>,
    author: OnceLock<Option<String>>,
}

impl People {
    /// Asks for the committer, and whether git has to commit.
    pub fn ask(&self, quarantine: &Quarantine) -> Option<&str> {
        let committer = || {
            let (name, signs) = std::thread::scope(|scope| {
                let signs = scope.spawn(|| quarantine.signs_commits());
                (person(quarantine, "GIT_COMMITTER_IDENT"), signs.join().unwrap_or(Ok(true)))
            });
            let failed = |error| tracing::debug!(error = chain(&error), "git commits");
            name.filter(|_| !signs.map_err(failed).unwrap_or(true))
        };
        self.committer.get_or_init(committer).as_deref()
    }

    fn author(&self, quarantine: &Quarantine) -> Option<&str> {
        self.author.get_or_init(|| person(quarantine, "GIT_AUTHOR_IDENT")).as_deref()
    }
}

/// Who that is at this moment. Where git does not say so, it does when it is asked to commit.
fn person(quarantine: &Quarantine, variable: &str) -> Option<String> {
    let told = quarantine.as_person(["var", variable]).run();
    let told = told.map_err(|error| tracing::debug!(error = chain(&error), "git commits")).ok()?;
    // A name in another encoding is written as it is, by git.
    Some(String::from_utf8(told.stdout).ok()?.trim_end_matches('\n').to_owned())
}

impl<'a> Making<'a> {
    /// What makes objects for this quarantine.
    pub fn open(quarantine: &'a Quarantine, people: &'a People) -> Making<'a> {
        Making { quarantine, maker: Maker::open(quarantine.git_dir()), people }
    }

    /// The tree of a merge in which there is nothing to decide.
    pub fn merge(&self, base: &CommitId, ours: &CommitId, theirs: &CommitId) -> Option<CommitId> {
        self.maker.as_ref()?.trivial_merge(base, ours, theirs)
    }

    /// A commit by who commits here.
    pub fn commit(
        &self,
        tree: &CommitId,
        parents: &[&CommitId],
        message: &str,
        signature: &Signature,
    ) -> Option<CommitId> {
        let maker = self.maker.as_ref()?;
        let committer = self.people.ask(self.quarantine)?;
        let author = match signature.is_nobodys() {
            true => self.people.author(self.quarantine)?.to_owned(),
            false => signature.line()?,
        };
        if message.is_empty() || message.contains('\0') {
            return None;
        }
        maker.commit(tree, parents, &format!("author {author}\ncommitter {committer}\n\n{message}"))
    }

    /// Writes what was made to where git finds it.
    pub fn write(&self) -> Result<()> {
        match &self.maker {
            Some(maker) => Ok(maker.write_pack(&self.quarantine.objects().join("pack"))?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::merge::commit_tree;

    const MESSAGE: &str = "subject\n\nbody: é\n\nCo-authored-by: A <a@x>\n";

    fn made(fixture: &Fixture, signature: &Signature) -> (Option<CommitId>, String) {
        let tip = fixture.tip("refs/heads/main");
        let tree = CommitId::parse(fixture.git(&["rev-parse", "main^{tree}"]).trim()).expect("an id");
        let quarantine = Quarantine::create(&fixture.repo, &tip).expect("a quarantine");
        let people = People::default();
        let making = Making::open(&quarantine, &people);
        let made = making.commit(&tree, &[&tip], MESSAGE, signature);
        making.write().expect("written");
        let by_git = commit_tree(&quarantine, &tree, &[&tip], MESSAGE, signature).expect("made");
        // The moment of the committer is another one, perhaps.
        let text = |commit: &CommitId| {
            let text = quarantine.command(["cat-file", "commit", commit.as_str()]).text().expect("read");
            let line = |line: &str| match line.starts_with("committer ") {
                true => line.split('>').next().unwrap_or_default().to_owned(),
                false => line.to_owned(),
            };
            text.lines().map(line).collect::<Vec<_>>().join("\n")
        };
        let expected = text(&by_git);
        if let Some(made) = &made {
            assert_eq!(text(made), expected);
        }
        quarantine.discard().expect("discarded");
        (made, expected)
    }

    #[test]
    fn a_commit_says_what_that_of_git_says() {
        let fixture = Fixture::new();
        let signature = Signature::of_author("É X", "e@x", "1600000000 -0330");
        let (commit, text) = made(&fixture, &signature);
        assert!(commit.is_some() && text.contains("author É X <e@x> 1600000000 -0330\n"), "{text}");
        // git puts a person of its own in for what is missing.
        assert_eq!(made(&fixture, &Signature::of_author("X", "", "1600000000 +0000")).0, None);
    }

    #[test]
    fn what_is_signed_is_made_by_git() {
        let fixture = Fixture::new();
        let signature = Signature::of_author("X", "x@x", "1600000000 +0000");
        fixture.git(&["config", "commit.gpgSign", "true"]);
        let tip = fixture.tip("refs/heads/main");
        let quarantine = Quarantine::create(&fixture.repo, &tip).expect("a quarantine");
        assert_eq!(People::default().ask(&quarantine), None);
        fixture.git(&["config", "commit.gpgSign", "off"]);
        quarantine.discard().expect("discarded");
        assert!(made(&fixture, &signature).0.is_some());
    }
}
