//! Scan: which processes of this user carry the mark of which attempt, whatever they are called, wherever they stand and whoever
//! their parent is by now; and the end of those that nobody owns any more.
//!
//! The mark is a variable that a command and all that it starts inherit; where an attempt has a cgroup to itself, the name of
//! that, which who empties its environment cannot shed. The supervisor of a run that a command began has a run of its own, and
//! does not count as what that command left. Reads `/proc`; never goes by names. This process and those that started
//! it are no one's to end.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::proc::{self, MARK, SUPERVISES};
use super::standing::with_ancestors;
use crate::model::{ProcId, Token};

/// What the cgroup of an attempt is called: this and its mark.
pub const LEAF: &str = "child-";

/// A process with a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// It.
    pub process: ProcId,
    /// What it is called, for people.
    pub name: String,
    token: Token,
}

/// Every marked process of this user at one moment.
#[derive(Debug, Default)]
pub struct Marks {
    found: Vec<Marked>,
    own: Vec<Marked>,
}

impl Marks {
    /// Looks once at all of them. A process that ends meanwhile is not found; one that may not be looked at is not ours.
    pub fn scan() -> io::Result<Marks> {
        let (line, mut marks) = (with_ancestors(std::process::id()), Marks::default());
        for (pid, place) in proc::of_this_user()? {
            let tokens = marks_of(&place);
            if let (false, Some(process)) = (tokens.is_empty(), proc::identify(pid)) {
                let name = proc::name_in(&place);
                let marked = |token| Marked { process: process.clone(), name: name.clone(), token };
                let which = if line.contains(&pid) { &mut marks.own } else { &mut marks.found };
                which.extend(tokens.into_iter().map(marked));
            }
        }
        Ok(marks)
    }

    /// Those of one attempt.
    pub fn of<'a>(&'a self, token: &'a Token) -> impl Iterator<Item = &'a Marked> {
        self.found.iter().filter(move |marked| marked.token == *token)
    }

    /// This process and those that started it, as far as they are of that attempt.
    pub fn own<'a>(&'a self, token: &'a Token) -> impl Iterator<Item = &'a Marked> {
        self.own.iter().filter(move |marked| marked.token == *token)
    }

    /// All but this process and those that started it.
    pub fn all(&self) -> impl Iterator<Item = &Marked> {
        self.found.iter()
    }

    fn processes(&self, token: &Token) -> Vec<ProcId> {
        self.of(token).map(|marked| marked.process.clone()).collect()
    }

    /// Ends every process of an attempt: each is asked to end, and killed when it has not after the grace; what was forked
    /// meanwhile is killed, too. How many there were, when all are gone.
    pub fn end(&self, token: &Token, grace: Duration) -> io::Result<usize> {
        let asked = self.processes(token);
        for process in &asked {
            let _gone_or_sent = proc::terminate(process)?;
        }
        let (deadline, mut ended) = (Instant::now() + grace, 0);
        for process in &asked {
            ended += usize::from(proc::wait_gone(process, deadline.saturating_duration_since(Instant::now()))?);
        }
        let what = format!("processes with {MARK}={}", token.as_str());
        let killed = proc::kill_until_none(&what, || Ok(Marks::scan()?.processes(token)))?;
        Ok(ended + killed)
    }
}

fn marks_of(process: &Path) -> BTreeSet<Token> {
    let read = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
    let environ = read("environ");
    let supervises = |pair: &[u8]| pair.strip_prefix(SUPERVISES.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    if environ.split(|byte| *byte == 0).any(supervises) {
        return BTreeSet::new();
    }
    let variables =
        environ.split(|byte| *byte == 0).filter_map(|pair| pair.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    let cgroups = read("cgroup");
    let leaves =
        cgroups.split(|byte| matches!(byte, b'/' | b'\n')).filter_map(|part| part.strip_prefix(LEAF.as_bytes()));
    let token = |text: &[u8]| Token::parse(std::str::from_utf8(text).ok()?);
    variables.chain(leaves).filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_in_the_environment_or_in_the_name_of_the_cgroup_and_nowhere_else() {
        let (one, other) = ("0123456789abcdef".repeat(2), "fedcba9876543210".repeat(2));
        let process = tempfile::tempdir().expect("a temp dir");
        let marks = |environ: &str, cgroup: &str| -> Vec<String> {
            std::fs::write(process.path().join("environ"), environ).expect("written");
            std::fs::write(process.path().join("cgroup"), cgroup).expect("written");
            marks_of(process.path()).iter().map(|token| token.as_str().to_owned()).collect()
        };
        let scope = format!("0::/user.slice/treehand-x.scope/child-{other}\n");
        assert_eq!(marks(&format!("HOME=/\0{MARK}={one}\0"), "0::/\n"), std::slice::from_ref(&one));
        assert_eq!(marks("", &scope), std::slice::from_ref(&other));
        assert_eq!(marks(&format!("{MARK}={one}\0"), &scope), [one.clone(), other]);
        assert_eq!(marks(&format!("{MARK}={one}\0{SUPERVISES}=a-run\0"), &scope), [] as [String; 0]);
        for none in
            [format!("X{MARK}={one}\0"), format!("A=\n{MARK}={one}\0"), format!("{MARK}={one}0\0"), String::new()]
        {
            assert_eq!(marks(&none, &format!("0::/{one}/x-child-{one}\n")), [] as [String; 0], "{none:?}");
        }
    }

    #[test]
    fn what_is_asked_to_end_and_does_not_is_killed_with_what_it_starts() {
        let token = crate::sys::random::token().expect("a token");
        let mut child = {
            #[expect(clippy::disallowed_methods, reason = "the test needs a process that carries a mark")]
            let mut command = std::process::Command::new("sh");
            let script = "trap 'sleep 1000 & wait' TERM; echo ready; while :; do sleep 0.05; done";
            command.args(["-c", script]).env(MARK, token.as_str()).stdout(std::process::Stdio::piped());
            command.spawn().expect("started")
        };
        let mut ready = [0; 6];
        io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("it is ready");
        let reaped = std::thread::spawn(move || child.wait());
        let marks = Marks::scan().expect("looked");
        assert!(marks.end(&token, Duration::from_millis(200)).expect("ended") >= 1);
        assert_eq!(Marks::scan().expect("looked").of(&token).count(), 0);
        reaped.join().expect("no panic").expect("reaped");
    }
}
