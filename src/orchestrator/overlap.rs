//! Decision file: whether two patterns of `paths` can match one and the same path.
//!
//! A pattern is taken as globset means it: by the regular expression that globset makes of it, and matches by. Promises: whenever
//! one path of a repository matches both, the answer is yes; it is no where that is sure. What this file does not understand, or
//! would have to look at for too long, counts as matching everything.

use std::collections::BTreeSet;

use globset::GlobBuilder;

/// Most places of two patterns that are looked at together.
const PAIRS_MAX: usize = 1 << 16;

/// Most steps of one pattern: alternatives in alternatives are small to write and large to follow.
const STEPS_MAX: usize = 1 << 14;

/// One byte of a path.
type Bytes = [u64; 4];

const ALL: Bytes = [u64::MAX; 4];

fn single(byte: u8) -> Bytes {
    let mut set = [0; 4];
    insert(&mut set, byte);
    set
}

fn insert(set: &mut Bytes, byte: u8) {
    set[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

/// What both have.
fn common(one: &Bytes, other: &Bytes) -> Bytes {
    std::array::from_fn(|n| one[n] & other[n])
}

fn without(set: &Bytes, other: &Bytes) -> Bytes {
    std::array::from_fn(|n| set[n] & !other[n])
}

/// One step of following a path along a pattern; the numbers are those of the steps after it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// One byte of these.
    One(Bytes, usize),
    /// Nothing, and on at either.
    Either(usize, usize),
    /// The path is at its end.
    End,
}

/// A pattern, made ready to be held against others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
    first: usize,
    /// What every path that it matches begins with.
    prefix: Vec<u8>,
}

impl Pattern {
    /// Reads a pattern of `paths`.
    pub fn parse(text: &str) -> Pattern {
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let steps = glob.ok().and_then(|glob| Builder::build(glob.regex()));
        let (steps, first) = steps.unwrap_or_else(|| (vec![Step::One(ALL, 1), Step::Either(0, 2), Step::End], 0));
        let prefix = prefix(&steps, first);
        Pattern { steps, first, prefix }
    }

    /// Whether a path can match both.
    pub fn meets(&self, other: &Pattern) -> bool {
        // Most pairs of patterns part there already.
        self.prefix.iter().zip(&other.prefix).all(|(one, other)| one == other) && self.have_a_path_in_common(other)
    }

    /// Follows both at once, along all paths that have no empty part and neither begin nor end with a `/`.
    fn have_a_path_in_common(&self, other: &Pattern) -> bool {
        let slash = single(b'/');
        let mut seen = BTreeSet::from([(self.first, other.first, true)]);
        let mut open: Vec<(usize, usize, bool)> = seen.iter().copied().collect();
        while let Some((one, two, part_begins)) = open.pop() {
            if seen.len() > PAIRS_MAX {
                return true;
            }
            let mut go = |next: (usize, usize, bool)| {
                if seen.insert(next) {
                    open.push(next);
                }
            };
            match (&self.steps[one], &other.steps[two]) {
                (Step::Either(a, b), _) => [*a, *b].into_iter().for_each(|one| go((one, two, part_begins))),
                (_, Step::Either(a, b)) => [*a, *b].into_iter().for_each(|two| go((one, two, part_begins))),
                (Step::End, Step::End) if !part_begins => return true,
                (Step::One(mine, one), Step::One(theirs, two)) => {
                    let both = common(mine, theirs);
                    if without(&both, &slash) != [0; 4] {
                        go((*one, *two, false));
                    }
                    if !part_begins && common(&both, &slash) != [0; 4] {
                        go((*one, *two, true));
                    }
                }
                _ => {}
            }
        }
        false
    }
}

/// Reads the patterns of a task's `paths`.
pub fn patterns(paths: &[String]) -> Vec<Pattern> {
    paths.iter().map(|path| Pattern::parse(path)).collect()
}

/// The pairs of patterns, one of each list, that a path can match both of. An empty list declares nothing, and meets nobody.
pub fn pairs(ours: &[Pattern], theirs: &[Pattern]) -> Vec<(usize, usize)> {
    let meets = |one: usize, other: usize| ours[one].meets(&theirs[other]).then_some((one, other));
    (0..ours.len()).flat_map(|one| (0..theirs.len()).filter_map(move |other| meets(one, other))).collect()
}

/// Whether a path can match one of each.
pub fn meet(ours: &[Pattern], theirs: &[Pattern]) -> bool {
    ours.iter().any(|one| theirs.iter().any(|other| one.meets(other)))
}

fn prefix(steps: &[Step], first: usize) -> Vec<u8> {
    let (mut prefix, mut at) = (Vec::new(), first);
    while let Some(Step::One(bytes, next)) = steps.get(at) {
        let Some(byte) = (0..=u8::MAX).find(|byte| *bytes == single(*byte)) else { break };
        prefix.push(byte);
        at = *next;
    }
    prefix
}

/// Reads the regular expressions that globset writes, from behind, so that each step knows what comes after it: bytes, classes and
/// groups of alternatives, followed by `*` or `?` perhaps. `None` for anything else.
struct Builder<'a> {
    text: &'a [u8],
    at: usize,
    steps: Vec<Step>,
}

/// A part of an expression.
enum Part {
    One(Bytes),
    Group(Vec<Vec<Part>>),
    Often(Box<Part>),
    Perhaps(Box<Part>),
}

impl<'a> Builder<'a> {
    fn build(regex: &'a str) -> Option<(Vec<Step>, usize)> {
        let text = regex.strip_prefix("(?-u)^")?.strip_suffix('$')?.as_bytes();
        let mut builder = Builder { text, at: 0, steps: vec![Step::End] };
        let parts = builder.sequence()?;
        let first = (builder.at == text.len()).then(|| builder.follow(&parts, 0))??;
        Some((builder.steps, first))
    }

    fn sequence(&mut self) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        while let Some(byte) = self.text.get(self.at).filter(|byte| !matches!(**byte, b'|' | b')')) {
            let part = match byte {
                b'(' => self.group()?,
                b'[' => Part::One(self.class()?),
                b'.' => {
                    self.at += 1;
                    Part::One(ALL)
                }
                b'*' | b'+' | b'?' | b'{' | b'}' | b']' | b'^' | b'$' => return None,
                _ => Part::One(single(self.byte()?)),
            };
            let part = match self.text.get(self.at) {
                Some(b'*') => Part::Often(Box::new(part)),
                Some(b'?') => Part::Perhaps(Box::new(part)),
                _ => {
                    parts.push(part);
                    continue;
                }
            };
            self.at += 1;
            parts.push(part);
        }
        Some(parts)
    }

    fn group(&mut self) -> Option<Part> {
        self.take(b"(?:")?;
        let mut alternatives = vec![self.sequence()?];
        while self.text.get(self.at) == Some(&b'|') {
            self.at += 1;
            alternatives.push(self.sequence()?);
        }
        self.take(b")")?;
        Some(Part::Group(alternatives))
    }

    fn class(&mut self) -> Option<Bytes> {
        self.take(b"[")?;
        let negated = self.take(b"^").is_some();
        let mut set = [0; 4];
        while *self.text.get(self.at)? != b']' {
            let low = self.byte()?;
            let high = if self.take(b"-").is_some() { self.byte()? } else { low };
            (low..=high).for_each(|byte| insert(&mut set, byte));
        }
        self.take(b"]")?;
        Some(if negated { without(&ALL, &set) } else { set })
    }

    /// A byte that stands for itself: plain, escaped, or by its number.
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        if byte != b'\\' {
            return Some(byte);
        }
        let escaped = *self.text.get(self.at)?;
        self.at += 1;
        match escaped {
            b'x' => {
                let digits = std::str::from_utf8(self.text.get(self.at..self.at + 2)?).ok()?;
                self.at += 2;
                u8::from_str_radix(digits, 16).ok()
            }
            // Classes and anchors.
            byte if byte.is_ascii_alphanumeric() => None,
            byte => Some(byte),
        }
    }

    fn take(&mut self, expected: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(expected).then(|| self.at += expected.len())
    }

    fn step(&mut self, step: Step) -> Option<usize> {
        self.steps.push(step);
        (self.steps.len() <= STEPS_MAX).then_some(self.steps.len() - 1)
    }

    /// The steps of these parts, with what comes after them; the answer is the first.
    fn follow(&mut self, parts: &[Part], after: usize) -> Option<usize> {
        parts.iter().rev().try_fold(after, |after, part| self.follow_one(part, after))
    }

    fn follow_one(&mut self, part: &Part, after: usize) -> Option<usize> {
        match part {
            Part::One(bytes) => self.step(Step::One(*bytes, after)),
            Part::Perhaps(part) => {
                let inside = self.follow_one(part, after)?;
                self.step(Step::Either(inside, after))
            }
            Part::Often(part) => {
                let again = self.step(Step::End)?;
                let inside = self.follow_one(part, again)?;
                self.steps[again] = Step::Either(inside, after);
                Some(again)
            }
            Part::Group(alternatives) => {
                let (last, others) = alternatives.split_last()?;
                let mut first = self.follow(last, after)?;
                for alternative in others.iter().rev() {
                    let inside = self.follow(alternative, after)?;
                    first = self.step(Step::Either(inside, first))?;
                }
                Some(first)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::result_policy::compile;
    use proptest::prelude::*;

    fn check(one: &str, other: &str, expected: bool) {
        let (a, b) = (Pattern::parse(one), Pattern::parse(other));
        assert_eq!((a.meets(&b), b.meets(&a)), (expected, expected), "{one} against {other}");
    }

    #[test]
    fn patterns_that_can_mean_one_file_and_patterns_that_cannot() {
        check("src/lexer/**", "src/**", true);
        check("src/a/**", "src/b/**", false);
        check("src/a/**", "src/ab/**", false);
        check("*.rs", "*.toml", false);
        check("*.rs", "src/*.rs", false);
        check("**/*.rs", "src/*.rs", true);
        check("**/x", "x", true);
        check("**/x", "a/b/x", true);
        check("**/x", "a/b/xy", false);
        check("**", "anything/at all", true);
        check("a/**/z", "a/z", true);
        check("a/**/z", "**/b/*", true);
        check("a/*/z", "a/z", false);
        check("a/**", "a", false);
        check("a?c", "a/c", false);
        check("[a-c]x", "cx", true);
        check("[!a-c]x", "cx", false);
        check("{src,docs}/**", "docs/*.md", true);
        check("{src,docs}/**", "tests/**", false);
        check("{a,{b,c}}d", "cd", true);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("\u{e9}*", "\u{e9}t\u{e9}", true);
        check("\u{e9}*", "\u{e8}t\u{e9}", false);
        check("a.b", "aXb", false);
    }

    #[test]
    fn what_only_a_path_with_an_empty_part_would_match_both_of_does_not_count() {
        check("a/*", "*/{,b}/", false);
        check("*/x", "**/x", true);
        check("a/*/b", "a/{,**}/b", true);
        check("a[!x]b", "a/b", true);
        check("[!x]b", "/b", false);
    }

    #[test]
    fn what_is_not_understood_meets_everything() {
        check("[", "a", true);
        check("{a,{b,c}}", "[", true);
        let deep = "{a,b}".repeat(64);
        check(&deep, &"ab".repeat(32), true);
        // Too long to be looked at to the end.
        let long = "*a".repeat(400);
        check(&long, &"*b".repeat(400), true);
    }

    #[test]
    fn lists_meet_by_their_pairs_and_one_that_declares_nothing_meets_nobody() {
        let list = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text)).collect::<Vec<_>>();
        let (ours, theirs) = (list(&["src/a/**", "docs/**", "*.md"]), list(&["src/**", "x", "docs/*.md"]));
        assert_eq!(pairs(&ours, &theirs), [(0, 0), (1, 2)]);
        assert!(meet(&ours, &theirs) && !meet(&ours, &list(&["x"])));
        assert!(!meet(&ours, &[]) && !meet(&[], &[]));
    }

    fn any_glob() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a", "b", "ab", "/", "/", "*", "**", "/**/", "**/", "?", "[ab]", "[!a]", "[a-b/]", "{a,b/a}", "{a*,b,}",
            ".", "\\*", "\u{e9}",
        ]);
        prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
    }

    fn any_path() -> impl Strategy<Value = String> {
        let part = prop::collection::vec(prop::sample::select(vec!["a", "b", ".", "*", "\u{e9}"]), 1..4);
        prop::collection::vec(part.prop_map(|part| part.concat()), 1..4).prop_map(|parts| parts.join("/"))
    }

    fn matches(glob: &str, path: &str) -> bool {
        compile(&[glob.to_owned()]).is_ok_and(|set| set.is_match(path))
    }

    /// All paths of a few parts of a few letters.
    fn small_paths() -> Vec<String> {
        let parts = ["a", "b", "aa", "ab", "ba", "bb", ".", "*", "a.", "\u{e9}"];
        let two = parts.iter().flat_map(|one| parts.iter().map(move |two| format!("{one}/{two}")));
        parts.iter().map(|part| (*part).to_owned()).chain(two).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn whenever_a_path_matches_both_they_meet(
            one in any_glob(), other in any_glob(), paths in prop::collection::vec(any_path(), 1..20),
        ) {
            let meets = Pattern::parse(&one).meets(&Pattern::parse(&other));
            for path in paths.iter().chain(&small_paths()) {
                let both = matches(&one, path) && matches(&other, path);
                prop_assert!(meets || !both, "{one} and {other} match {path}");
            }
        }

        /// A literal path is a pattern that matches it alone, so the answer is exactly that of matching.
        #[test]
        fn a_pattern_meets_a_path_exactly_when_it_matches_it(glob in any_glob(), path in any_path()) {
            prop_assume!(compile(std::slice::from_ref(&glob)).is_ok());
            let literal = path.replace('*', "\\*");
            prop_assert_eq!(Pattern::parse(&glob).meets(&Pattern::parse(&literal)), matches(&glob, &path));
        }
    }
}
