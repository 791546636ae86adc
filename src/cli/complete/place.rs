//! Decision file: what is wanted at the cursor, from the words before it and the commands as clap knows them.
//!
//! Knows options with their values in every form (`--base x`, `--base=x`, `-Cx`), subcommands, positions and what comes
//! after `--`. Where the words make no sense nothing is wanted.

use clap::{Arg, ArgAction, Command};

/// Where the cursor stands.
#[derive(Debug)]
pub struct Place<'a> {
    /// The command, without the program's name: `["config", "show"]`.
    pub verb: Vec<&'a str>,
    /// What is wanted there.
    pub wanted: Wanted<'a>,
    /// The beginning of the word that belongs to another part: `--base=`.
    pub lead: String,
    /// What the wanted begins with.
    pub current: String,
    /// The positional values before it.
    pub given: Vec<String>,
    /// The values of `-C` before it.
    pub directories: Vec<String>,
}

/// What is wanted.
#[derive(Debug)]
pub enum Wanted<'a> {
    /// A subcommand of this command.
    Verb(&'a Command),
    /// An option of this command.
    Option(&'a Command),
    /// A value of this argument.
    Value(&'a Arg),
    /// The `--` before a command line.
    Escape,
    /// A command line of somebody else's.
    CommandLine,
    /// Nothing that is known.
    Nothing,
}

/// Reads the words before the cursor, without the program's name, and the one at it. The command must be built.
pub fn find<'a>(root: &'a Command, before: &[String], current: &str) -> Place<'a> {
    let mut walk = Walk { command: root, pending: None, escaped: false, lost: false, place: empty(current) };
    for word in before {
        walk.take(word);
    }
    walk.finish(current)
}

fn empty<'a>(current: &str) -> Place<'a> {
    Place {
        verb: Vec::new(),
        wanted: Wanted::Nothing,
        lead: String::new(),
        current: current.to_owned(),
        given: Vec::new(),
        directories: Vec::new(),
    }
}

struct Walk<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    pending: Option<&'a Arg>,
    /// After `--`.
    escaped: bool,
    /// A word was no subcommand where one had to be.
    lost: bool,
    place: Place<'a>,
}

impl<'a> Walk<'a> {
    fn take(&mut self, word: &str) {
        if let Some(option) = self.pending.take() {
            self.note(option, word);
        } else if self.escaped {
            self.place.given.push(word.to_owned());
        } else if word == "--" {
            self.escaped = true;
        } else if let Some((option, value)) = option_with_value(self.command, word) {
            match value {
                Some(value) => self.note(option, &value),
                None => self.pending = Some(option),
            }
        } else if word.starts_with('-') && word != "-" {
            // A flag without a value, or one that is not known.
        } else if !self.command.has_subcommands() {
            self.place.given.push(word.to_owned());
        } else if let Some(found) = self.command.find_subcommand(word) {
            self.command = found;
            self.place.verb.push(found.get_name());
        } else {
            self.lost = true;
        }
    }

    fn note(&mut self, option: &Arg, value: &str) {
        if option.get_short() == Some('C') {
            self.place.directories.push(value.to_owned());
        }
    }

    fn finish(mut self, current: &str) -> Place<'a> {
        self.place.wanted = if self.lost {
            Wanted::Nothing
        } else if let Some(option) = self.pending {
            Wanted::Value(option)
        } else if self.escaped {
            if self.command.get_positionals().any(Arg::is_last_set) { Wanted::CommandLine } else { self.position() }
        } else if let Some((option, Some(value))) = option_with_value(self.command, current) {
            self.place.lead = current.strip_suffix(&value).unwrap_or_default().to_owned();
            self.place.current = value;
            Wanted::Value(option)
        } else if current.starts_with('-') {
            Wanted::Option(self.command)
        } else if self.command.has_subcommands() {
            Wanted::Verb(self.command)
        } else {
            self.position()
        };
        self.place
    }

    fn position(&self) -> Wanted<'a> {
        let ordinary: Vec<&Arg> = self.command.get_positionals().filter(|arg| !arg.is_last_set()).collect();
        let at_last = || ordinary.last().copied().filter(|arg| takes_many(arg));
        match ordinary.get(self.place.given.len()).copied().or_else(at_last) {
            Some(arg) => Wanted::Value(arg),
            None if self.command.get_positionals().any(Arg::is_last_set) => Wanted::Escape,
            None => Wanted::Nothing,
        }
    }
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// The option of this word that takes a value, with the value when it is in the word too.
fn option_with_value<'a>(command: &'a Command, word: &str) -> Option<(&'a Arg, Option<String>)> {
    let takes = |arg: &&Arg| arg.get_action().takes_values() && !arg.is_positional();
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
        let named = |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&name));
        return command.get_arguments().filter(takes).find(named).map(|arg| (arg, value));
    }
    let shorts = word.strip_prefix('-')?;
    let by_letter = |letter: char| command.get_arguments().find(|arg| arg.get_short() == Some(letter));
    for (at, letter) in shorts.char_indices() {
        let arg = by_letter(letter)?;
        if takes(&arg) {
            let rest = &shorts[at + letter.len_utf8()..];
            let value = rest.strip_prefix('=').unwrap_or(rest);
            return Some((arg, (!rest.is_empty()).then(|| value.to_owned())));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    fn check(line: &str, expected: &str) {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (current, before) = words.split_last().expect("a line has a last word");
        let place = find(&root, before, current);
        let what = match place.wanted {
            Wanted::Verb(command) => format!("verb of {}", command.get_name()),
            Wanted::Option(command) => format!("option of {}", command.get_name()),
            Wanted::Value(arg) => format!("{} of {}", arg.get_id(), place.verb.join(" ")),
            Wanted::Escape => "--".to_owned(),
            Wanted::CommandLine => "command line".to_owned(),
            Wanted::Nothing => "nothing".to_owned(),
        };
        assert_eq!(format!("{what} {}|{}", place.lead, place.current), expected, "{line}");
    }

    #[test]
    fn what_is_wanted_follows_from_what_was_typed() {
        check("", "verb of treehand |");
        check("n", "verb of treehand |n");
        check("-q --js", "option of treehand |--js");
        check("-C ", "directory of  |");
        check("-C x -q path fe", "name of path |fe");
        check("path fe ", "nothing |");
        check("--color", "option of treehand |--color");
        check("--color ", "color of  |");
        check("--color=al", "color of  --color=|al");
        check("rm a -f b", "names of rm |b");
        check("add x --base ma", "base of new |ma");
        check("add x --base=ma", "base of new --base=|ma");
        check("-Cx", "directory of  -C|x");
        check("-qCx", "directory of  -qC|x");
        check("exec a ", "-- |");
        check("exec a -- ls ", "command line |");
        check("exec a -- ls -", "command line |-");
        check("rm -- ", "names of rm |");
        check("config ", "verb of config |");
        check("config show --s", "option of show |--s");
        check("nonsense ", "nothing |");
        check("new x -- ", "nothing |");
    }

    #[test]
    fn where_the_command_is_about_is_known() {
        let mut root = Cli::command();
        root.build();
        let words = ["-C", "a", "path", "-Cb"].map(str::to_owned);
        assert_eq!(find(&root, &words, "").directories, ["a", "b"]);
    }
}
