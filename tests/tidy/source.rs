//! Reading Rust and the map as text: enough of a lexer to tell code from comments and strings.
//!
//! Works on texts alone; what is asked of them is `checks`.

use std::ops::Range;

/// One file: its text, the text with comments and strings blanked, the same without what is compiled for tests only.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
    pub live: String,
    pub literals: Vec<(usize, String)>,
    pub for_tests: Vec<Range<usize>>,
}

pub struct Token<'a> {
    pub offset: usize,
    pub text: &'a str,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let (code, literals) = blank(text);
        let whole = path.ends_with("/tests.rs") || path.contains("/tests/");
        let for_tests = if whole { std::iter::once(0..code.len()).collect() } else { test_items(&code) };
        let mut live = code.clone();
        for range in &for_tests {
            live.replace_range(range.clone(), &" ".repeat(range.len()));
        }
        Source { path: path.to_owned(), text: text.to_owned(), code, live, literals, for_tests }
    }

    pub fn at(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line_of(&self.text, offset))
    }

    pub fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    pub fn is_live(&self, offset: usize) -> bool {
        !self.for_tests.iter().any(|range| range.contains(&offset))
    }
}

pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The `//!` lines that a file opens with.
pub fn header(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| line.starts_with("//!")).map(str::trim_end).collect()
}

/// The text with comments and literals as spaces, offsets kept, and the string literals as they are written.
pub fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (length, string) = match rest.as_bytes()[0] {
            b'/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            b'/' if rest.starts_with("/*") => (block_comment(rest), None),
            b'"' => plain_string(rest),
            b'r' if !code.ends_with(is_word) || code.ends_with(['b', 'c']) => raw_string(rest),
            b'\'' => (char_literal(rest), None),
            _ => (0, None),
        };
        literals.extend(string.map(|value| (at, value)));
        if length == 0 {
            let c = rest.chars().next().expect("the loop ends at the end of the text");
            if c.is_ascii() { code.push(c) } else { code.push_str(&" ".repeat(c.len_utf8())) }
        } else {
            code.extend(rest.bytes().take(length).map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        at = code.len();
    }
    (code, literals)
}

pub fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

pub fn plain_string(rest: &str) -> (usize, Option<String>) {
    let mut at = 1;
    while at < rest.len() && rest.as_bytes()[at] != b'"' {
        at += if rest.as_bytes()[at] == b'\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    ((end + 1).min(rest.len()), rest.get(1..end).map(str::to_owned))
}

pub fn raw_string(rest: &str) -> (usize, Option<String>) {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return (0, None);
    }
    let body = &rest[hashes + 2..];
    let length = body.find(&format!("\"{}", "#".repeat(hashes))).unwrap_or(body.len());
    ((2 * hashes + 3 + length).min(rest.len()), Some(body[..length].to_owned()))
}

/// Zero for a lifetime.
pub fn char_literal(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(end, _)| end + 1),
        None => 0,
    }
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the items are that only `cfg(test)` compiles.
pub fn test_items(code: &str) -> Vec<Range<usize>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let words: String = tokens[at..].iter().take(7).map(|token| token.text).collect();
        if !(words.starts_with("#[cfg(test)]") || words.starts_with("#[cfg(all(test")) {
            at += 1;
            continue;
        }
        let start = tokens[at].offset;
        while tokens.get(at).is_some_and(|token| token.text == "#") {
            at = after_group(&tokens, at);
        }
        at = after_item(&tokens, at);
        found.push(start..tokens.get(at).map_or(code.len(), |token| token.offset));
    }
    found
}

/// Words, `::`, and every other sign by itself.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let length = match c {
            c if c.is_whitespace() => 0,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        if length > 0 {
            found.push(Token { offset: at, text: &rest[..length] });
        }
        at += length.max(c.len_utf8());
    }
    found
}

/// The position after the next bracketed group.
pub fn after_group(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 1 => return at + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The position after an item: after its `;`, or after its body. The braces of a `use` are no body.
pub fn after_item(tokens: &[Token<'_>], from: usize) -> usize {
    let is_use = tokens.get(from).is_some_and(|token| token.text == "use");
    let mut at = from;
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at + 1,
            "{" if !is_use => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// What stands right under `root::`, in a path or in a group of a `use` over as many lines as it likes.
pub fn paths_under<'a>(tokens: &[Token<'a>], root: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(2) {
        if tokens[at].text != root || tokens[at + 1].text != "::" {
            continue;
        }
        if tokens[at + 2].text != "{" {
            found.push((tokens[at + 2].offset, tokens[at + 2].text));
            continue;
        }
        let mut inside = at + 3;
        let end = after_group(tokens, at + 2) - 1;
        while inside < end {
            found.push((tokens[inside].offset, tokens[inside].text));
            while inside < end && tokens[inside].text != "," {
                inside = if tokens[inside].text == "{" { after_group(tokens, inside) } else { inside + 1 };
            }
            inside += 1;
        }
    }
    found
}

/// The lines under a heading that contains `title`, up to the next heading.
pub fn section<'a>(map: &'a str, title: &str) -> Vec<(usize, &'a str)> {
    let lines = map.lines().enumerate().map(|(at, line)| (at + 1, line));
    let from = lines.skip_while(|(_, line)| !(line.starts_with("## ") && line.contains(title)));
    from.skip(1).take_while(|(_, line)| !line.starts_with("## ")).collect()
}

/// The backticked paths of the lines `- <kind>: …` under Exceptions.
pub fn exceptions(map: &str, kind: &str) -> Vec<String> {
    let lines = section(map, "Exceptions").into_iter().map(|(_, line)| line);
    let entries = lines.filter_map(|line| line.strip_prefix(&format!("- {kind}: ")));
    entries.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The rows of the table of rooms: line, folder, what it may use.
pub fn room_rows(map: &str) -> Vec<(usize, String, String)> {
    let row = |(line, text): (usize, &str)| {
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        let folder = cells.get(1)?.strip_prefix('`')?.strip_suffix("/`")?;
        Some((line, folder.to_owned(), (*cells.get(3)?).to_owned()))
    };
    section(map, "Rooms").into_iter().filter_map(row).collect()
}
