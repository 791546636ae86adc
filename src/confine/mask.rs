//! Keeps the values of secrets out of what is kept and shown: each in the text as it is, and in the encodings that programs print
//! it in without meaning to hide it.
//!
//! Decision file: bytes in, bytes out. Who wants to get a secret out can always write it in another way; that is held by the
//! network that the child does not have, not here.

use std::collections::BTreeSet;
use std::ops::Range;

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
    /// In the text as it is.
    plain: Option<Search>,
    /// In what is written in lines that are cut anywhere: base64, hexadecimal digits.
    folded: Option<Search>,
}

/// A search for patterns.
#[derive(Clone, Debug)]
struct Search {
    automaton: AhoCorasick,
    patterns: Vec<Vec<u8>>,
}

impl Search {
    fn new(patterns: BTreeSet<Vec<u8>>) -> Result<Option<Search>, BuildError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns)?;
        Ok(Some(Search { automaton, patterns }))
    }

    /// Where they are.
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.automaton.find_iter(bytes).map(|found| found.range())
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

impl Mask {
    /// For these values. Those that are too short are left out. An error is one of memory.
    pub fn new(values: &[String]) -> Result<Mask, BuildError> {
        let (mut plain, mut folded) = (BTreeSet::new(), BTreeSet::new());
        for value in values.iter().filter(|value| value.len() >= VALUE_MIN) {
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_MIN && *line != value);
            for text in std::iter::once(value.as_str()).chain(lines) {
                written(text, &mut plain);
                encoded(text, &mut folded);
            }
        }
        Ok(Mask { plain: Search::new(plain)?, folded: Search::new(folded)? })
    }

    /// True when nothing has to be kept out.
    pub fn is_empty(&self) -> bool {
        self.plain.is_none() && self.folded.is_none()
    }

    /// A whole text, without them.
    pub fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut stream = MaskedStream::new(self);
        let masked = [stream.piece(text.as_bytes()), stream.rest()].concat();
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Where in these bytes there is something to keep out, in order, each once.
    fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = self.plain.iter().flat_map(|search| search.find(bytes)).collect();
        if let Some(search) = &self.folded {
            let (text, places) = unfold(bytes);
            found.extend(search.find(&text).map(|range| places[range.start]..places[range.end - 1] + 1));
        }
        found.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match joined.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    /// How many of the last bytes could be the beginning of one.
    fn begun(&self, bytes: &[u8]) -> usize {
        let plain = self.plain.as_ref().map_or(0, |search| search.begun(bytes));
        let folded = self.folded.as_ref().map_or(0, |search| {
            let (text, places) = unfold(bytes);
            let begun = search.begun(&text);
            text.len().checked_sub(begun).and_then(|at| places.get(at)).map_or(0, |place| bytes.len() - place)
        });
        plain.max(folded)
    }
}

/// Text in which lines of an encoding are joined again, and where each byte of it was. Only a single break between two of its
/// characters is one of these.
fn unfold(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let of_encoding = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let (mut text, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let broken = match rest {
            [b'\r', b'\n', ..] => 2,
            // The rest of the break may be in the next piece.
            [b'\n', ..] | [b'\r'] => 1,
            _ => 0,
        };
        let joins = broken > 0
            && text.last().is_some_and(of_encoding)
            && places.last() == Some(&at.wrapping_sub(1))
            && rest.get(broken).is_none_or(of_encoding);
        if joins {
            at += broken;
            continue;
        }
        text.push(bytes[at]);
        places.push(at);
        at += 1;
    }
    (text, places)
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
        let (mut out, mut done) = (Vec::new(), 0);
        for found in self.mask.find(&self.held) {
            if found.start >= ready {
                break;
            }
            out.extend_from_slice(&self.held[done..found.start]);
            out.extend_from_slice(MASKED.as_bytes());
            done = found.end;
        }
        if done < ready {
            out.extend_from_slice(&self.held[done..ready]);
            done = ready;
        }
        self.held.drain(..done);
        out
    }
}

/// A value as it is, in an address, and in JSON, as programs write these.
fn written(value: &str, into: &mut BTreeSet<Vec<u8>>) {
    into.insert(value.as_bytes().to_vec());
    for digits in [|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}")] {
        for kept in ["-._~", "-._~/", "-._~*", "-._~!*'()"] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte);
            let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { digits(byte) };
            let address: String = value.bytes().map(byte).collect();
            into.insert(address.replace("%20", "+").into_bytes());
            into.insert(address.into_bytes());
        }
    }
    let json = serde_json::Value::from(value).to_string();
    let json = &json[1..json.len() - 1];
    let in_ascii = |text: &str| -> String {
        let units = |letter: char| {
            let mut buffer = [0; 2];
            letter.encode_utf16(&mut buffer).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
        };
        text.chars().map(|letter| if letter.is_ascii() { letter.to_string() } else { units(letter) }).collect()
    };
    for text in [json.to_owned(), json.replace('/', "\\/")] {
        into.insert(in_ascii(&text).into_bytes());
        into.insert(text.into_bytes());
    }
}

/// A value in base64 (at each of the three places that it can have in a longer text) and in hexadecimal digits.
fn encoded(value: &str, into: &mut BTreeSet<Vec<u8>>) {
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
    fn lines_that_an_encoding_is_cut_into_are_read_as_one() {
        let secret = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789";
        let mask = kept_out(&[secret.to_owned()]);
        let lines = |text: &str, width: usize, end: &str| -> String {
            text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned() + end).collect()
        };
        let base64 = STANDARD_NO_PAD.encode(format!("key: {secret}\n"));
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for printed in [lines(&base64, 76, "\n"), lines(&base64, 64, "\r\n"), lines(&hex, 60, "\n")] {
            for cut in 0..printed.len() {
                let out = stream(&mask, &[&printed.as_bytes()[..cut], &printed.as_bytes()[cut..]]);
                assert!(
                    out.len() < 40 && out.windows(3).any(|part| part == b"***"),
                    "{}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
        let text = "one\ntwo\n\nthree\r\n";
        assert_eq!(mask.text(text), text);
    }

    #[test]
    fn an_address_or_json_may_be_written_in_several_ways() {
        let mask = kept_out(&["s3cr3t/ä x".to_owned()]);
        for printed in ["s3cr3t/%C3%A4%20x", "s3cr3t%2f%c3%a4+x", "s3cr3t\\/\\u00e4 x", "s3cr3t/\\u00e4 x"] {
            assert_eq!(mask.text(printed), MASKED, "{printed}");
        }
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
