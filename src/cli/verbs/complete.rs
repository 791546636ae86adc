//! `__complete`: what the scripts of `completions` and `shell-init` ask at every press of the key.
//!
//! Answers on standard output: one line that says what to offer (`words`, `files`, `directories`, `command`), then a word
//! in each line, with a tab and what it is. Always exit 0, and never a word about what went wrong.

use clap::CommandFactory;

use crate::cli::args::{Cli, CompleteArgs, Shell};
use crate::cli::complete::candidates::{Candidate, Offer, offer};
use crate::cli::complete::line::{Word, insertion, words};
use crate::cli::complete::place::find;
use crate::cli::error::CliError;
use crate::cli::output::{plain, print};

/// Most characters of what a word is.
const ABOUT_MAX: usize = 72;

/// What was typed, whichever way the shell hands it over.
struct Typed {
    before: Vec<String>,
    current: Word,
    /// The end of the current word that the shell replaces.
    replaced: String,
}

/// Answers.
pub fn run(args: &CompleteArgs) -> Result<u8, CliError> {
    let typed = typed(args);
    let mut root = Cli::command();
    root.build();
    let place = find(&root, &typed.before, &typed.current.text);
    let offer = offer(&place).unwrap_or_else(|error| {
        tracing::debug!(error, "nothing to offer");
        Offer::Words(Vec::new())
    });
    let mut answer = head(&offer).to_owned();
    if let Offer::Words(candidates) = offer {
        answer.extend(candidates.iter().filter_map(|candidate| line(args.shell, &typed, candidate)));
    }
    print(&answer)?;
    Ok(0)
}

/// bash gives the part that it replaces and the line; the others the current word and those before it.
fn typed(args: &CompleteArgs) -> Typed {
    let mut given = args.words.iter().map(|word| word.to_string_lossy().into_owned());
    let first = given.next().unwrap_or_default();
    if args.shell != Shell::Bash {
        let current = Word { raw: first.clone(), text: first };
        return Typed { before: given.collect(), current, replaced: String::new() };
    }
    let mut words = words(&given.next().unwrap_or_default());
    let current = words.pop().unwrap_or_default();
    Typed { before: words.into_iter().skip(1).map(|word| word.text).collect(), current, replaced: first }
}

fn head(offer: &Offer) -> &'static str {
    match offer {
        Offer::Words(_) => "words\n",
        Offer::Files => "files\n",
        Offer::Directories => "directories\n",
        Offer::CommandLine => "command\n",
    }
}

fn line(shell: Shell, typed: &Typed, candidate: &Candidate) -> Option<String> {
    // Whatever would steer the terminal is not offered; nobody could type it either.
    if plain(&candidate.word) != candidate.word {
        return None;
    }
    let about: String = plain(&candidate.about).chars().take(ABOUT_MAX).collect();
    match shell {
        Shell::Bash => insertion(&typed.current.raw, &typed.replaced, &candidate.word).map(|word| format!("{word}\n")),
        Shell::Zsh | Shell::Fish => Some(format!("{}\t{about}\n", candidate.word)),
    }
}
