//! Decision file: words of an agent made fit for a record and a terminal: bounded, and nothing in them that steers one.
//! It never fails; what does not fit is cut off at the end of a letter.

/// The text without terminal escapes and control characters, in so many bytes at most; lines stay lines.
pub fn lines(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(most));
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => escape(&mut letters),
            '\u{9b}' => sequence(&mut letters),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' | '\t' => plain.push(letter),
            _ if steers(letter) => {}
            _ => plain.push(letter),
        }
        if plain.len() > most {
            cut(&mut plain, most);
            break;
        }
    }
    plain
}

/// The same on one line, whatever lines it had.
pub fn line(text: &str, most: usize) -> String {
    let room = most.saturating_mul(4).saturating_add(64);
    let mut words = lines(text, room).split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&mut words, most);
    words
}

/// The text in so many bytes at most.
pub fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

/// True for letters that a terminal obeys, or that put others in another order.
fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// What follows an escape and belongs to it.
fn escape(letters: &mut Letters) {
    match letters.peek() {
        Some('[') => {
            letters.next();
            sequence(letters);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => title(letters),
        Some(' '..='~') => {
            while letters.next_if(|letter| matches!(letter, ' '..='/')).is_some() {}
            letters.next_if(|letter| matches!(letter, '0'..='~'));
        }
        _ => {}
    }
}

/// Parameters and the letter that ends them.
fn sequence(letters: &mut Letters) {
    while letters.next_if(|letter| matches!(letter, ' '..='?')).is_some() {}
    letters.next_if(|letter| matches!(letter, '@'..='~'));
}

/// A text that is meant for the terminal itself, up to its end; one without an end goes as far as its line.
fn title(letters: &mut Letters) {
    while let Some(letter) = letters.next_if(|letter| *letter != '\n') {
        match letter {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' if letters.next_if_eq(&'\\').is_some() => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_what_belongs_to_them_are_gone() {
        assert_eq!(lines("\u{1b}[31;1mred\u{1b}[0m\r\n\tx", 99), "red\n\tx");
        assert_eq!(lines("a\u{1b}]0;title\u{7}b\u{1b}]8;;u\u{1b}\\c\u{1b}(Bd\u{9b}2Je\u{1b}", 99), "abcde");
        assert_eq!(lines("\u{1b}]never ends\nnext \u{202e}txet\u{0}", 99), "\nnext txet");
        assert_eq!(
            (lines("aéé", 4), lines("é", 1), line(" a\n b\t c ", 4)),
            ("aé".into(), String::new(), "a b ".into())
        );
    }

    proptest! {
        #[test]
        fn nothing_in_it_steers_a_terminal(text in "[\\x00-\\x1f\\[\\]a-c;é\u{9b}\u{202e}]{0,40}", most in 0..50_usize) {
            let plain = lines(&text, most);
            prop_assert!(plain.len() <= most && !plain.chars().any(|c| steers(c) && c != '\n' && c != '\t'));
            prop_assert!(!line(&text, most).contains('\n'));
        }
    }
}
