//! Apply: commits of a quarantine as a git bundle on the disk, proved to be readable, and a bundle brought back into one.
//!
//! A bundle is there when it is whole and on the disk: who writes one does so where nobody looks yet. What comes back out of one
//! passes through a quarantine, where git computes every id anew and everything that its heads reach must be there. That a
//! strict fsck likes it is not asked: what a person's own git has made is theirs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::bundle_header::{self, HEADS, Header};
use super::error::{Result, WorktreeError};
use super::import::check_connected;
use super::quarantine::Quarantine;
use super::repository::Repository;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::GitOutput;

/// Most bytes before the pack: some hundred thousand heads.
const HEADER_MAX: u64 = 64 << 20;

/// Writes these commits of a quarantine, under these names, to a file that nobody knows yet. What `known` reaches is not in it,
/// and has to be held by refs of the repository. Read back before it counts.
pub fn write(
    repo: &Repository,
    quarantine: &Quarantine,
    heads: &[(String, CommitId)],
    known: &[CommitId],
    file: &Path,
) -> Result<()> {
    let lines: String = heads.iter().map(|(name, commit)| format!("create {HEADS}{name} {commit}\n")).collect();
    quarantine.isolated(["update-ref", "--stdin"]).stdin(lines).run()?;
    let create = quarantine.isolated(["bundle", "create", "--quiet"]).arg(file).arg("--branches");
    create.args(known.iter().map(|commit| format!("^{commit}"))).run()?;
    fs::sync(file)?;
    verify(repo, heads, file)
}

/// An error unless the bundle can be read to its end, holds just these heads, and builds on nothing but what refs of the
/// repository hold.
fn verify(repo: &Repository, heads: &[(String, CommitId)], file: &Path) -> Result<()> {
    let (header, pack) = open(file)?;
    let mut wanted = heads.to_vec();
    wanted.sort();
    if header.heads != wanted {
        return Err(broken(file, "it does not hold the commits that it was made of"));
    }
    let verified = repo.bare(["bundle", "verify", "--quiet"]).arg(file).output()?;
    if !verified.status.success() {
        return Err(broken(file, &said(&verified)));
    }
    // That looks at the head alone. This reads all of the pack, sum included, and keeps nothing.
    let read = repo.bare(["unpack-objects", "-n", "-q"]).output_from(pack)?;
    if read.status.success() { Ok(()) } else { Err(broken(file, &said(&read))) }
}

/// Brings what a bundle holds into a quarantine; an error unless everything is there that these commits reach.
pub fn read(quarantine: &Quarantine, commits: &[CommitId], file: &Path) -> Result<()> {
    let (_, pack) = open(file)?;
    let taken = quarantine.command(["index-pack", "--stdin", "--fix-thin"]).output_from(pack)?;
    if !taken.status.success() {
        return Err(broken(file, &said(&taken)));
    }
    commits.iter().try_for_each(|commit| check_connected(quarantine, commit, None))
}

/// The head of a bundle, and the file at the beginning of its pack.
fn open(file: &Path) -> Result<(Header, File)> {
    let mut pack = File::open(file).map_err(fs::at("read", file))?;
    let mut bytes = Vec::new();
    let mut size = 4096;
    let header = loop {
        let more = (&pack).take(size).read_to_end(&mut bytes).map_err(fs::at("read", file))?;
        match bundle_header::parse(&bytes) {
            Some(header) => break header,
            None if more == 0 || bytes.len() as u64 > HEADER_MAX => return Err(broken(file, "it has no head")),
            None => size = bytes.len() as u64,
        }
    };
    pack.seek(SeekFrom::Start(header.pack_at)).map_err(fs::at("read", file))?;
    Ok((header, pack))
}

fn said(output: &GitOutput) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("git gave no reason").trim().to_owned()
}

fn broken(file: &Path, why: &str) -> WorktreeError {
    let message = format!("the bundle {} cannot be read: {}", file.display(), why.escape_debug());
    WorktreeError::Refused { message, hint: Some("look at it: git bundle verify".into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::worktree::fixture::Fixture;

    /// A commit with a megabyte of noise on top of HEAD, in a quarantine alone.
    fn commit_in(fixture: &Fixture, quarantine: &Quarantine) -> CommitId {
        let mut noise = vec![0_u8; 1 << 20];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut noise)).expect("noise");
        let blob = quarantine.command(["hash-object", "-w", "--stdin"]).stdin(noise).object_id().expect("written");
        let tree = format!("100644 blob {blob}\tbig\n");
        let tree = quarantine.command(["mktree"]).stdin(tree).object_id().expect("written");
        let head = fixture.tip("HEAD");
        let args = ["commit-tree", tree.as_str(), "-p", head.as_str(), "-m", "big"];
        quarantine.command(args).object_id().expect("written")
    }

    #[test]
    fn what_was_written_comes_back_and_what_is_broken_does_not() {
        let fixture = Fixture::new();
        let (repo, head) = (&fixture.repo, fixture.tip("HEAD"));
        let quarantine = Quarantine::create(repo, &head).expect("made");
        let commit = commit_in(&fixture, &quarantine);
        assert!(quarantine.bytes().expect("counted") > 1 << 20);
        let file = fixture.dir.path().join("x.bundle");
        let heads = [("worktree".to_owned(), commit.clone())];
        write(repo, &quarantine, &heads, std::slice::from_ref(&head), &file).expect("written");
        quarantine.discard().expect("gone");
        let (header, _) = open(&file).expect("read");
        assert_eq!((header.heads.as_slice(), header.prerequisites), (&heads[..], vec![head.clone()]));
        assert!(verify(repo, &[("index".to_owned(), commit.clone())], &file).is_err(), "another name");
        let quarantine = Quarantine::create(repo, &head).expect("made");
        read(&quarantine, std::slice::from_ref(&commit), &file).expect("read");
        quarantine.migrate_packs().expect("migrated").release().expect("released");
        quarantine.discard().expect("gone");
        assert!(repo.reader().has_commit(&commit).expect("read"));

        let whole = std::fs::read(&file).expect("read");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [&whole[..whole.len() / 2], &flipped, b"no bundle\n"] {
            File::create(&file).and_then(|mut file| file.write_all(bytes)).expect("written");
            assert!(verify(repo, &heads, &file).is_err());
            let quarantine = Quarantine::create(repo, &head).expect("made");
            assert!(read(&quarantine, std::slice::from_ref(&commit), &file).is_err());
            quarantine.discard().expect("gone");
        }
    }
}
