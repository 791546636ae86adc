//! Keeps the values of secrets out of what is kept and shown: each in the text as it is, and in the encodings that programs print
//! it in without meaning to hide it.
//!
//! Decision file: bytes in, bytes out. Who wants to get a secret out can always write it in another way; that is held by the
//! network that the child does not have, not here.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A value with fewer bytes is in too much by chance to be kept out of it.
pub const VALUE_MIN: usize = 6;

/// A line of a value with several, such as a key, is masked by itself from so many bytes on.
const LINE_MIN: usize = 8;

/// What stands in the place of a secret.
pub const MASKED: &str = "***";

/// What is to be kept out.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// `None` when there is nothing.
    automaton: Option<AhoCorasick>,
    patterns: Vec<Vec<u8>>,
}

impl Mask {
    /// For these values. Those that are too short are left out. An error is one of memory.
    pub fn new(values: &[String]) -> Result<Mask, BuildError> {
        let mut patterns = BTreeSet::new();
        for value in values.iter().filter(|value| value.len() >= VALUE_MIN) {
            encodings(value, &mut patterns);
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_MIN && *line != value);
            lines.for_each(|line| encodings(line, &mut patterns));
        }
        if patterns.is_empty() {
            return Ok(Mask::default());
        }
        let patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns)?;
        Ok(Mask { automaton: Some(automaton), patterns })
    }

    /// True when nothing has to be kept out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// A whole text, without them.
    pub fn text(&self, text: &str) -> String {
        match &self.automaton {
            Some(automaton) => {
                String::from_utf8_lossy(&automaton.replace_all_bytes(text.as_bytes(), &self.stars())).into_owned()
            }
            None => text.to_owned(),
        }
    }

    fn stars(&self) -> Vec<&'static str> {
        vec![MASKED; self.patterns.len()]
    }

    /// How many of the last bytes could be the beginning of one.
    fn begun(&self, bytes: &[u8]) -> usize {
        let begun = |pattern: &Vec<u8>| {
            let longest = (pattern.len() - 1).min(bytes.len());
            (1..=longest).rev().find(|&length| pattern.starts_with(&bytes[bytes.len() - length..])).unwrap_or(0)
        };
        self.patterns.iter().map(begun).max().unwrap_or(0)
    }
}

/// A stream that comes in pieces: what may be the beginning of a secret waits for the next one.
#[derive(Debug)]
pub struct MaskedStream<'a> {
    mask: &'a Mask,
    held: Vec<u8>,
}

impl<'a> MaskedStream<'a> {
    /// At its beginning.
    pub fn new(mask: &'a Mask) -> MaskedStream<'a> {
        MaskedStream { mask, held: Vec::new() }
    }

    /// Takes a piece in; what can go on of it and of what was held is the answer.
    pub fn piece(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.mask.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let ready = self.held.len() - self.mask.begun(&self.held);
        self.release(ready)
    }

    /// What is left at the end.
    pub fn rest(&mut self) -> Vec<u8> {
        self.release(self.held.len())
    }

    /// Lets go what is held up to a place, and further where a secret goes on.
    fn release(&mut self, ready: usize) -> Vec<u8> {
        let Some(automaton) = &self.mask.automaton else { return self.held.drain(..ready).collect() };
        let (mut out, mut done) = (Vec::new(), 0);
        for found in automaton.find_iter(&self.held) {
            if found.start() >= ready {
                break;
            }
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(MASKED.as_bytes());
            done = found.end();
        }
        if done < ready {
            out.extend_from_slice(&self.held[done..ready]);
            done = ready;
        }
        self.held.drain(..done);
        out
    }
}

/// A value as it is, in base64 (at each of the three places that it can have in a longer text), in hexadecimal digits, in an
/// address, and in JSON.
fn encodings(value: &str, into: &mut BTreeSet<Vec<u8>>) {
    into.insert(value.as_bytes().to_vec());
    for before in 0..3 {
        let padded = [&[0; 2][..before], value.as_bytes()].concat();
        let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            into.insert(encoded.as_bytes()[first..last].to_vec());
        }
    }
    let hex = |digits: fn(u8) -> String| value.bytes().map(digits).collect::<String>().into_bytes();
    into.insert(hex(|byte| format!("{byte:02x}")));
    into.insert(hex(|byte| format!("{byte:02X}")));
    for digits in [|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}")] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let encoded = value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { digits(byte) });
        into.insert(encoded.collect::<String>().into_bytes());
    }
    let json = serde_json::Value::from(value).to_string();
    into.insert(json.as_bytes()[1..json.len() - 1].to_vec());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept_out(values: &[String]) -> Mask {
        Mask::new(values).expect("little enough")
    }

    const SECRET: &str = "s3cr3t/+\"äé";

    fn stream(mask: &Mask, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = MaskedStream::new(mask);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| stream.piece(piece)).collect();
        out.extend(stream.rest());
        out
    }

    #[test]
    fn a_value_and_its_encodings_do_not_come_through() {
        let mask = kept_out(&[SECRET.to_owned()]);
        for before in ["", "x", "ab", "user:"] {
            let text = format!("{before}{SECRET}tail");
            let table = [
                text.clone(),
                STANDARD_NO_PAD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
                text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                text.bytes().map(|byte| format!("{byte:02X}")).collect(),
                "https://h/?token=s3cr3t%2F%2B%22%C3%A4%C3%A9&x".to_owned(),
                serde_json::Value::from(text.as_str()).to_string(),
            ];
            for printed in table {
                let masked = mask.text(&printed);
                assert!(masked.contains(MASKED) && masked.len() < printed.len(), "{printed} -> {masked}");
            }
        }
        assert_eq!(mask.text("nothing of it"), "nothing of it");
    }

    #[test]
    fn a_line_of_a_key_is_masked_by_itself_and_what_is_too_short_is_not() {
        let key = "-----BEGIN KEY-----\nabcdefghijkl\nxy\n-----END KEY-----\n";
        let mask = kept_out(&[key.to_owned(), "abc".to_owned()]);
        assert_eq!(mask.text("> abcdefghijkl <"), format!("> {MASKED} <"));
        assert_eq!(mask.text("abc xy"), "abc xy");
        assert!(kept_out(&["abc".to_owned()]).is_empty());
    }

    #[test]
    fn what_cannot_be_the_beginning_of_one_is_not_held_back() {
        let mask = kept_out(&["secret-value".to_owned()]);
        let mut stream = MaskedStream::new(&mask);
        assert_eq!(stream.piece(b"progress 10%"), b"progress 10%");
        assert_eq!(stream.piece(b" now secret-"), b" now ");
        assert_eq!(stream.piece(b"value and secret-van"), format!("{MASKED} and secret-van").as_bytes());
        assert_eq!(stream.rest(), b"");
    }

    proptest! {
        /// However a stream is cut, what comes out is the same as of the whole, and the value is not in it.
        #[test]
        fn pieces_make_no_difference(
            words in proptest::collection::vec("(secret-value|secret-|se|[a-z]{0,3}|value)", 0..12),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let mask = kept_out(&["secret-value".to_owned(), "value-secret-value".to_owned()]);
            let text = words.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            let out = String::from_utf8(stream(&mask, &pieces)).expect("text");
            prop_assert!(!out.contains("secret-value"), "{out}");
            prop_assert_eq!(out.replace(MASKED, ""), mask.text(&text).replace(MASKED, ""));
        }
    }
}
