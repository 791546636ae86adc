//! A command of the user's own that is told something: started by a shell, with a document on its standard input.
//!
//! Promises: it has so much time and is ended with its group then; who does not read holds up nobody; its output never becomes
//! part of ours. Only what the user said on the command line or in their own configuration comes here.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::MemfdFlags;

use super::proc;

/// How long it may take to end that was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the command where we stand, with these variables beside ours, for at most this long; its exit code, `None` when its
/// time was over. What it writes goes to `output` and to our standard error.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to the user's own command")]
pub fn tell(
    command: &str,
    document: &[u8],
    variables: &[(&str, String)],
    output: impl Into<Stdio>,
    limit: Duration,
) -> io::Result<Option<u8>> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).envs(variables.iter().map(|(name, value)| (*name, value)));
    shell.stdin(in_memory(document)?).stdout(output).process_group(0);
    let mut child = shell.spawn()?;
    proc::ended_within(&mut child, limit, GRACE, (proc::terminate_group, proc::kill_group))
}

/// The document as a file that needs no disk, which may be full, and nobody who writes while it is read.
pub(super) fn in_memory(document: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("treehand-document", MemfdFlags::CLOEXEC)?);
    file.write_all(document)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell_to_end(command: &str, document: &[u8], limit: Duration) -> Option<u8> {
        tell(command, document, &[("TOLD", "yes".into())], Stdio::null(), limit).expect("started")
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn it_reads_the_document_or_does_not_and_its_exit_code_is_known() {
        assert_eq!(tell_to_end("test \"$(cat)\" = \"a b\" && test $TOLD = yes", b"a b", LONG), Some(0));
        assert_eq!(tell_to_end("exit 7", &vec![b'x'; 1 << 20], LONG), Some(7));
        assert_eq!(tell_to_end("kill -9 $$", b"", LONG), Some(137));
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let begun = std::time::Instant::now();
        assert_eq!(tell_to_end("sleep 600; true", b"", Duration::from_millis(50)), None);
        assert!(begun.elapsed() < Duration::from_secs(60), "it was waited for");
    }
}
