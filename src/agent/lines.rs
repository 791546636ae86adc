//! Decision file: bytes as they come, cut into lines, in bounded memory.
//! A line that is too long is handed on in parts as it comes, and said to be one.

/// Longest line that is handed on as one.
pub const LINE_MAX: usize = 4 * 1024 * 1024;

/// Part of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'b> {
    /// A line, with its end.
    Line(&'b [u8]),
    /// The first part of one that is too long.
    Long(&'b [u8]),
    /// A further part of it.
    More(&'b [u8]),
}

/// Cuts what comes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    is_long: bool,
}

impl Lines {
    /// Takes the next bytes; `hear` gets each line as soon as its end is there.
    pub fn feed(&mut self, bytes: &[u8], mut hear: impl FnMut(Piece<'_>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_end = part.ends_with(b"\n");
            if self.is_long {
                hear(Piece::More(part));
                self.is_long = !is_end;
            } else if self.begun.len() + part.len() > LINE_MAX {
                self.begun.extend_from_slice(part);
                hear(Piece::Long(&self.begun));
                self.begun = Vec::new();
                self.is_long = !is_end;
            } else if is_end && self.begun.is_empty() {
                hear(Piece::Line(part));
            } else {
                self.begun.extend_from_slice(part);
                if is_end {
                    hear(Piece::Line(&self.begun));
                    self.begun.clear();
                    self.begun.shrink_to(KEPT);
                }
            }
        }
    }

    /// There is no more: what is left without an end gets one.
    pub fn finish(&mut self, mut hear: impl FnMut(Piece<'_>)) {
        if std::mem::take(&mut self.is_long) {
            hear(Piece::More(b"\n"));
        } else if !self.begun.is_empty() {
            self.begun.push(b'\n');
            hear(Piece::Line(&std::mem::take(&mut self.begun)));
        }
    }
}

/// Bytes that stay reserved between lines.
const KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<(char, usize)> {
        let mut lines = Lines::default();
        let mut heard = Vec::new();
        let mut hear = |piece: Piece<'_>| match piece {
            Piece::Line(line) => heard.push(('l', line.len())),
            Piece::Long(part) => heard.push(('b', part.len())),
            Piece::More(part) => heard.push(('m', part.len())),
        };
        chunks.iter().for_each(|chunk| lines.feed(chunk, &mut hear));
        lines.finish(&mut hear);
        lines.finish(&mut hear);
        heard
    }

    #[test]
    fn lines_come_whole_and_the_last_one_gets_an_end() {
        assert_eq!(cut(&[b"a\n\nbc", b"d\ne"]), [('l', 2), ('l', 1), ('l', 4), ('l', 2)]);
        assert_eq!(cut(&[b"", b"a\n"]), [('l', 2)]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_parts() {
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(cut(&[&long[1..], b"\na\n"]), [('l', LINE_MAX), ('l', 2)]);
        assert_eq!(cut(&[&long, b"\na\n"]), [('b', LINE_MAX + 1), ('l', 2)]);
        assert_eq!(cut(&[&long, b"x", b"x\na"]), [('b', LINE_MAX + 1), ('m', 2), ('l', 2)]);
        assert_eq!(cut(&[&long, b"x", b"x"]), [('b', LINE_MAX + 1), ('m', 1), ('m', 1)]);
    }
}
