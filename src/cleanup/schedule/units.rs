//! Decision file: the two unit files of cleaning at night, word by word as systemd reads them, and whose a file is.
//!
//! What is written reads back. Each file says in its first line that treehand wrote it, with a sum of the rest, so that one that
//! somebody changed is known, and one of somebody else is never taken for ours.

use std::path::Path;

use super::when::When;

/// The name of the timer.
pub const TIMER: &str = "treehand-clean.timer";
/// The name of the service.
pub const SERVICE: &str = "treehand-clean.service";

/// How the first line of our files begins.
const MARKER: &str = "# Written by treehand clean schedule install, taken away by treehand clean schedule remove. Sum ";
/// Starts a program whose path systemd does not take: it comes as an argument, and an argument may be anything.
const BY_SHELL: [&str; 3] = ["/bin/sh", "-c", "exec \"$0\" \"$@\""];

/// What is to be scheduled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// When.
    pub when: When,
    /// The program, with its arguments.
    pub command: Vec<String>,
    /// Variables that decide what it does.
    pub environment: Vec<(String, String)>,
}

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// As treehand wrote it.
    Ours,
    /// treehand wrote it, and somebody changed it.
    Changed,
    /// Somebody else's.
    Foreign,
}

impl Wanted {
    /// The service.
    pub fn service(&self) -> String {
        let variable = |(name, value): &(String, String)| format!("Environment={}\n", word(&format!("{name}={value}")));
        let environment: String = self.environment.iter().map(variable).collect();
        signed(&format!(
            "[Unit]\n\
             Description=Cleanup of git worktrees by treehand\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             {environment}\
             ExecStart={}\n\
             Nice=19\n\
             CPUSchedulingPolicy=idle\n\
             IOSchedulingClass=idle\n\
             SyslogIdentifier=treehand-clean\n",
            self.exec_start()
        ))
    }

    /// The timer.
    pub fn timer(&self) -> String {
        signed(&format!(
            "[Unit]\n\
             Description=Cleanup of git worktrees by treehand, {}\n\
             \n\
             [Timer]\n\
             OnCalendar={}\n\
             RandomizedDelaySec={}s\n\
             Persistent=true\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n",
            self.when,
            self.when.calendar(),
            self.when.jitter().0.as_secs(),
        ))
    }

    fn exec_start(&self) -> String {
        let difficult = |c: char| c.is_control() || "\"'\\$".contains(c);
        let shell = self.command.first().filter(|program| program.contains(difficult)).map(|_| BY_SHELL);
        let shell = shell.into_iter().flatten().map(str::to_owned);
        // A variable is looked for in every word that follows the program.
        let all: Vec<String> =
            shell.chain(self.command.iter().cloned()).map(|text| word(&text.replace('$', "$$"))).collect();
        all.join(" ")
    }

    /// The line of a crontab that does the same; `None` where a line cannot say it.
    pub fn crontab_line(&self) -> Option<String> {
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={}", for_shell(value)));
        let nice = ["nice", "-n", "19"].map(str::to_owned);
        let command = self.command.iter().filter(|part| *part != "--json").map(|part| for_shell(part));
        let all: Vec<String> = variables.chain(nice).chain(command).collect();
        // cron takes a `%` for the end of the line, unless a backslash, which it takes away, is before it.
        let line = format!("{} {} >/dev/null", self.when.cron(), all.join(" ").replace('%', "\\%"));
        (!line.contains(char::is_control)).then_some(line)
    }
}

/// A command as one would type it.
pub fn as_typed(command: &[String]) -> String {
    command.iter().map(|part| for_shell(part)).collect::<Vec<_>>().join(" ")
}

fn for_shell(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./=:,+@".contains(c)
}

/// One word of a line of a unit file, which systemd reads as this text.
fn word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            c if c.is_ascii_control() => word.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

/// The words of a line that [`word`] made; `None` for one that it did not make.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut all, mut chars) = (Vec::new(), line.chars().peekable());
    while chars.peek().is_some() {
        let mut text = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.next() {
                None if quoted => return None,
                None => break,
                Some('"') if quoted => match chars.next() {
                    None | Some(' ') => break,
                    Some(_) => return None,
                },
                Some(' ') if !quoted => break,
                Some('%') => text.push(chars.next_if_eq(&'%')?),
                Some('\\') => text.push(match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'x' => char::from_u32(chars.next()?.to_digit(16)? * 16 + chars.next()?.to_digit(16)?)?,
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                Some(c) => text.push(c),
            }
        }
        all.push(text);
    }
    Some(all)
}

/// The program that a service starts, with its arguments; `None` where it does not say so in our way.
pub fn command_of(service: &str) -> Option<Vec<String>> {
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart="))?;
    let command: Vec<String> = words(line)?.into_iter().map(|word| word.replace("$$", "$")).collect();
    let inner = command.strip_prefix(&BY_SHELL.map(str::to_owned)[..]).map(<[String]>::to_vec);
    Some(inner.unwrap_or(command))
        .filter(|command| command.first().is_some_and(|program| Path::new(program).is_absolute()))
}

/// When a timer begins, as systemd reads it.
pub fn calendar_of(timer: &str) -> Option<&str> {
    timer.lines().find_map(|line| line.strip_prefix("OnCalendar="))
}

/// Whose a file with this text is.
pub fn standing(text: &str) -> Standing {
    let Some((first, rest)) = text.split_once('\n') else { return Standing::Foreign };
    match first.strip_prefix(MARKER) {
        None => Standing::Foreign,
        Some(found) if found == sum(rest) => Standing::Ours,
        Some(_) => Standing::Changed,
    }
}

fn signed(text: &str) -> String {
    format!("{MARKER}{}\n{text}", sum(text))
}

/// FNV-1a: tells a change by a person, and guards against nobody.
fn sum(text: &str) -> String {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cleanup::schedule::when::TimeOfDay;

    fn wanted(command: &[&str]) -> Wanted {
        let command = command.iter().map(|part| (*part).to_owned()).collect();
        Wanted { when: When::Daily(TimeOfDay::default()), command, environment: Vec::new() }
    }

    fn exec_start(command: &[&str]) -> String {
        wanted(command).exec_start()
    }

    #[test]
    fn a_command_is_written_as_systemd_reads_it() {
        assert_eq!(exec_start(&["/usr/bin/treehand", "clean", "--yes"]), "/usr/bin/treehand clean --yes");
        assert_eq!(exec_start(&["/a b/100%/treehand", "", "$x;"]), "\"/a b/100%%/treehand\" \"\" \"$$x;\"");
        assert_eq!(exec_start(&["/t", "a\"b\\c'd\ne\u{1}"]), "/t \"a\\\"b\\\\c'd\\ne\\x01\"");
        let by_shell = "/bin/sh -c \"exec \\\"$$0\\\" \\\"$$@\\\"\" \"/it's/$$x/t\" clean";
        assert_eq!(exec_start(&["/it's/$x/t", "clean"]), by_shell);
    }

    #[test]
    fn a_file_is_ours_as_long_as_nobody_changed_it() {
        let wanted = wanted(&["/t"]);
        for text in [wanted.timer(), wanted.service()] {
            assert_eq!(standing(&text), Standing::Ours);
            assert_eq!(standing(&format!("{text}#\n")), Standing::Changed);
            assert_eq!(standing(text.split_once('\n').expect("lines").1), Standing::Foreign);
        }
        assert_eq!(standing(""), Standing::Foreign);
        assert_eq!(calendar_of(&wanted.timer()), Some("*-*-* 03:30:00"));
    }

    #[test]
    fn a_crontab_has_one_line_that_means_the_same() {
        let mut wanted = wanted(&["/a b/t", "clean", "--json", "--notify=it's 5%"]);
        wanted.environment.push(("PATH".into(), "/x y".into()));
        let line = "30 3 * * * PATH='/x y' nice -n 19 '/a b/t' clean '--notify=it'\\''s 5\\%' >/dev/null";
        assert_eq!(wanted.crontab_line().as_deref(), Some(line));
        wanted.command.push("a\nb".into());
        assert_eq!(wanted.crontab_line(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(program in "/\\PC{0,20}", arguments in proptest::collection::vec("(\\PC|[\\x01-\\x7f]){0,20}", 0..4)) {
            let command: Vec<String> = std::iter::once(program).chain(arguments).collect();
            let parts: Vec<&str> = command.iter().map(String::as_str).collect();
            let service = wanted(&parts).service();
            prop_assert_eq!(service.lines().filter(|line| line.starts_with("ExecStart=")).count(), 1);
            prop_assert_eq!(command_of(&service), Some(command));
        }

        #[test]
        fn no_line_panics(text in "\\PC*|[\\x00-\\x7f]*") {
            let _ = command_of(&format!("ExecStart={text}"));
            let _ = standing(&text);
        }
    }
}
