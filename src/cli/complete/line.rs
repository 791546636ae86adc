//! Decision file: a line of bash as words, and a word as bash wants it typed.
//!
//! bash hands over the line as it was typed, and splits words at its own break characters (`=`, `@`, `:`), which names may
//! contain; so the line is read here. Nothing is expanded: a variable or a `~` stands for itself.

/// The quotes that the end of a text is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quote {
    None,
    Single,
    Double,
}

/// A word as it was typed, and what it means.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Word {
    /// As typed.
    pub raw: String,
    /// Without quotes.
    pub text: String,
}

/// The words of a line; the last is the one at the cursor, empty after a blank.
pub fn words(line: &str) -> Vec<Word> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    loop {
        let (text, length, _) = unquote(rest, true);
        words.push(Word { raw: rest[..length].to_owned(), text });
        if length == rest.len() {
            return words;
        }
        rest = rest[length..].trim_start();
    }
}

/// The text without quotes up to the first blank outside them (or to the end), how long that is as typed, and the quotes
/// that its end is in.
fn unquote(typed: &str, stop_at_blank: bool) -> (String, usize, Quote) {
    let (mut text, mut quote, mut chars) = (String::new(), Quote::None, typed.char_indices());
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Quote::None, c) if c.is_whitespace() && stop_at_blank => return (text, at, quote),
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::None | Quote::Double, '\\') => match chars.next() {
                Some((_, next)) if quote == Quote::Double && !"$`\"\\".contains(next) => text.extend(['\\', next]),
                Some((_, next)) => text.push(next),
                None => {}
            },
            (_, c) => text.push(c),
        }
    }
    (text, typed.len(), quote)
}

/// What bash has to put in the place of `replaced`, the end of the word as typed that it replaces, so that the word means
/// `wanted`. `None` when the word cannot become that.
pub fn insertion(raw: &str, replaced: &str, wanted: &str) -> Option<String> {
    let (kept, _, quote) = unquote(raw.strip_suffix(replaced)?, false);
    let rest = wanted.strip_prefix(&kept)?;
    match quote {
        Quote::None => Some(quoted(rest)),
        Quote::Single => (!rest.contains('\'')).then(|| rest.to_owned()),
        Quote::Double => (!rest.contains(['"', '$', '`', '\\', '!'])).then(|| rest.to_owned()),
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./,:@%+=^".contains(c);
    text.chars().flat_map(|c| if plain(c) { vec![c] } else { vec!['\\', c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_words(line: &str, expected: &[&str]) {
        let words: Vec<String> = words(line).into_iter().map(|word| word.text).collect();
        assert_eq!(words, expected, "{line:?}");
    }

    #[test]
    fn a_line_is_read_as_bash_reads_it() {
        check_words("treehand cd fe", &["treehand", "cd", "fe"]);
        check_words("treehand  cd ", &["treehand", "cd", ""]);
        check_words("treehand -C 'a b' cd \"x y", &["treehand", "-C", "a b", "cd", "x y"]);
        check_words(r#"t a\ b "c\"\d" 'e\f'"#, &["t", "a b", "c\"\\d", "e\\f"]);
        check_words("", &[""]);
        check_words("t \\", &["t", ""]);
    }

    #[test]
    fn what_is_inserted_means_the_name_and_starts_no_command() {
        let check = |raw: &str, replaced: &str, wanted: &str, expected: Option<&str>| {
            assert_eq!(insertion(raw, replaced, wanted).as_deref(), expected, "{raw:?} {replaced:?}");
        };
        check("fe", "fe", "feature/x", Some("feature/x"));
        check("", "", "a$(reboot);b", Some("a\\$\\(reboot\\)\\;b"));
        check("--base=fe", "fe", "--base=feature", Some("feature"));
        check("a@b", "b", "a@bc", Some("bc"));
        check("'a", "a", "a$b", Some("a$b"));
        check("'a", "a", "a'b", None);
        check("\"a", "a", "a$b", None);
        check("x", "y", "xy", None);
        check("a\\$b", "a\\$b", "a$bc", Some("a\\$bc"));
    }
}
