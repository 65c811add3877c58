//! Splits the serial line into what the user printed and the machine lines in between.
//!
//! Bytes arrive in arbitrary pieces. From [`MARK`] to the end of the line they are the machine's. A plain
//! `BURROW-EXIT n` at the start of a line counts as well, because a dying kernel prints it with its last
//! breath; bytes at the start of a line are held back only as long as they could still become that.

use burrow_proto::{Line, MARK};

const PLAIN: &[u8] = b"BURROW-EXIT ";

/// A piece of serial output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Printed by the program: pass it on.
    Text(Vec<u8>),
    /// A machine line, to be read with [`Line::parse`].
    Machine(String),
}

enum State {
    /// In the middle of a line of text.
    Text,
    /// At the start of a line; holds bytes that may begin a plain machine line.
    Start(Vec<u8>),
    /// Inside a machine line.
    Machine(Vec<u8>),
}

/// The splitter. Feed it with [`Splitter::push`], end with [`Splitter::finish`].
pub(crate) struct Splitter {
    state: State,
}

impl Splitter {
    pub(crate) fn new() -> Self {
        Splitter {
            state: State::Start(Vec::new()),
        }
    }

    /// Takes bytes, returns the pieces that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        for &byte in bytes {
            self.byte(byte, &mut text, &mut pieces);
        }
        flush(&mut text, &mut pieces);
        pieces
    }

    /// The line is dead: whatever was held back is returned.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => Vec::new(),
            State::Start(held) if held.is_empty() => Vec::new(),
            State::Start(held) => vec![Piece::Text(held)],
            State::Machine(line) => vec![machine(line)],
        }
    }

    fn byte(&mut self, byte: u8, text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
        match &mut self.state {
            State::Machine(line) if byte == b'\n' => {
                let line = std::mem::take(line);
                self.state = State::Start(Vec::new());
                flush(text, pieces);
                pieces.push(machine(line));
            }
            State::Machine(line) => line.push(byte),
            _ if byte == MARK => {
                if let State::Start(held) = &mut self.state {
                    text.append(held);
                }
                self.state = State::Machine(Vec::new());
            }
            State::Text => {
                text.push(byte);
                if byte == b'\n' {
                    self.state = State::Start(Vec::new());
                }
            }
            State::Start(held) => {
                held.push(byte);
                if held == PLAIN {
                    self.state = State::Machine(std::mem::take(held));
                } else if !PLAIN.starts_with(held) {
                    text.append(held);
                    self.state = if byte == b'\n' {
                        State::Start(Vec::new())
                    } else {
                        State::Text
                    };
                }
            }
        }
    }
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

fn machine(mut line: Vec<u8>) -> Piece {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    // What only looks like one of ours is the user's.
    if Line::parse(&line).is_none() && line.as_bytes().starts_with(PLAIN) {
        return Piece::Text((line + "\n").into_bytes());
    }
    Piece::Machine(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> (String, Vec<String>) {
        let mut splitter = Splitter::new();
        let mut pieces: Vec<Piece> = chunks.iter().flat_map(|chunk| splitter.push(chunk)).collect();
        pieces.extend(splitter.finish());
        let (mut text, mut lines) = (String::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(bytes) => text += std::str::from_utf8(&bytes).unwrap(),
                Piece::Machine(line) => lines.push(line),
            }
        }
        (text, lines)
    }

    #[test]
    fn machine_lines_are_taken_out_wherever_they_start() {
        let (text, lines) = split(&[b"a\x1eBURROW-MAIN\nb\n\x1eBURROW-EXIT 0\r\n"]);
        assert_eq!(text, "ab\n");
        assert_eq!(lines, ["BURROW-MAIN", "BURROW-EXIT 0"]);
    }

    #[test]
    fn the_cut_into_chunks_does_not_matter() {
        let whole = b"hello\nBURROW-EXIT 2\nBURR\nx BURROW-EXIT 1\n\x1eBURROW-TEST ok a 1\ntail";
        let expected = split(&[whole]);
        assert_eq!(expected.0, "hello\nBURR\nx BURROW-EXIT 1\ntail");
        assert_eq!(expected.1, ["BURROW-EXIT 2", "BURROW-TEST ok a 1"]);
        for cut in 0..whole.len() {
            assert_eq!(split(&[&whole[..cut], &whole[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn text_that_looks_like_an_exit_line_stays_text() {
        assert_eq!(
            split(&[b"BURROW-EXIT soon\n"]),
            ("BURROW-EXIT soon\n".into(), vec![])
        );
    }

    #[test]
    fn an_exit_line_cut_off_by_the_end_still_counts() {
        assert_eq!(split(&[b"BURROW-EXIT 3"]).1, ["BURROW-EXIT 3"]);
    }
}
