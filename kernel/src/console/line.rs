//! Line editing: bytes in, echo and at last a line out. No device, no goroutine: a state machine.
//!
//! Backspace and DEL delete, Ctrl-U clears, Ctrl-W deletes a word, Ctrl-C drops the line, Ctrl-L redraws on a
//! clean screen, arrow up and down (or Ctrl-P, Ctrl-N) walk through the last lines. Enter is CR, LF or CR LF.
//! Other control bytes and escape sequences are swallowed; bytes ≥ 0x80 too, for a lone byte of a UTF-8
//! character on the line would make it invalid.
//!
//! The cursor is always at the end of the line: commands here are a few words long.
#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// Longest line; more is answered with a bell.
const MOST: usize = 200;
/// Lines remembered.
const HISTORY: usize = 16;

/// What a key led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// The line goes on.
    More,
    /// Enter: here it is.
    Line(String),
    /// Ctrl-C: the line is gone.
    Cancelled,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    /// After ESC.
    Begun,
    /// After ESC [.
    Csi,
}

/// A line being typed.
pub(super) struct Editor {
    line: String,
    past: Vec<String>,
    /// How far back in `past`, 0 = the new line.
    back: usize,
    escape: Escape,
    /// The byte before was a CR: an LF now belongs to it.
    after_cr: bool,
    prompt: &'static str,
}

impl Editor {
    pub(super) fn new(prompt: &'static str) -> Editor {
        Editor {
            line: String::new(),
            past: Vec::new(),
            back: 0,
            escape: Escape::No,
            after_cr: false,
            prompt,
        }
    }

    /// Shows prompt and line anew, over whatever is on the row.
    pub(super) fn redraw(&self, echo: &mut impl Write) {
        let _ = write!(echo, "\r\x1b[K{}{}", self.prompt, self.line); // the echo is for people
    }

    /// Takes a byte.
    pub(super) fn key(&mut self, byte: u8, echo: &mut impl Write) -> Typed {
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        match (self.escape, byte) {
            (Escape::Begun, b'[') => self.escape = Escape::Csi,
            (Escape::Csi, b'0'..=b'9' | b';') => {}
            (Escape::Csi, _) => {
                self.escape = Escape::No;
                match byte {
                    b'A' => self.walk(1, echo),
                    b'B' => self.walk(-1, echo),
                    _ => {}
                }
            }
            (Escape::Begun, _) => self.escape = Escape::No,
            (Escape::No, b'\n') if after_cr => {}
            (Escape::No, b'\r' | b'\n') => return self.enter(echo),
            (Escape::No, 0x1b) => self.escape = Escape::Begun,
            (Escape::No, 3) => {
                self.line.clear();
                self.back = 0;
                let _ = echo.write_str("^C\n");
                return Typed::Cancelled;
            }
            (Escape::No, 8 | 0x7f) => self.shorten(1, echo),
            (Escape::No, 0x15) => self.shorten(usize::MAX, echo),
            (Escape::No, 0x17) => {
                let rest = self.line.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.shorten(self.line.len() - rest, echo);
            }
            (Escape::No, 0x0c) => {
                let _ = echo.write_str("\x1b[2J\x1b[H");
                self.redraw(echo);
            }
            (Escape::No, 0x10) => self.walk(1, echo),
            (Escape::No, 0x0e) => self.walk(-1, echo),
            (Escape::No, b' '..=b'~') if self.line.len() < MOST => {
                self.line.push(char::from(byte));
                let _ = echo.write_char(char::from(byte));
            }
            (Escape::No, b' '..=b'~') => {
                let _ = echo.write_char('\x07');
            }
            (Escape::No, _) => {}
        }
        Typed::More
    }

    fn enter(&mut self, echo: &mut impl Write) -> Typed {
        let _ = echo.write_char('\n');
        self.back = 0;
        let line = core::mem::take(&mut self.line);
        if !line.trim().is_empty() && self.past.last() != Some(&line) {
            if self.past.len() == HISTORY {
                self.past.remove(0);
            }
            self.past.push(line.clone());
        }
        Typed::Line(line)
    }

    fn shorten(&mut self, by: usize, echo: &mut impl Write) {
        for _ in 0..by.min(self.line.len()) {
            self.line.pop();
            let _ = echo.write_str("\x08 \x08");
        }
    }

    fn walk(&mut self, step: isize, echo: &mut impl Write) {
        let to = self.back.saturating_add_signed(step).min(self.past.len());
        if to != self.back {
            self.back = to;
            self.line = if to == 0 {
                String::new()
            } else {
                self.past[self.past.len() - to].clone()
            };
            self.redraw(echo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that typing `keys` gives, `None` for a cancelled one, and the echo.
    fn lines(keys: &[u8]) -> (Vec<Option<String>>, String) {
        let (mut editor, mut echo, mut out) = (Editor::new("> "), String::new(), Vec::new());
        for &key in keys {
            match editor.key(key, &mut echo) {
                Typed::More => {}
                Typed::Line(line) => out.push(Some(line)),
                Typed::Cancelled => out.push(None),
            }
        }
        (out, echo)
    }

    fn only(keys: &[u8]) -> String {
        let (mut all, _) = lines(keys);
        assert_eq!(all.len(), 1);
        all.remove(0).expect("cancelled")
    }

    #[test]
    fn a_line_ends_with_cr_lf_or_both() {
        let (all, echo) = lines(b"ps\rtop\nrun\r\nexit\r\r\n");
        assert_eq!(
            all,
            ["ps", "top", "run", "exit", ""].map(|s| Some(String::from(s)))
        );
        assert_eq!(echo, "ps\ntop\nrun\nexit\n\n");
    }

    #[test]
    fn keys_that_delete() {
        assert_eq!(only(b"pxs\x08\x7fs\r"), "ps");
        assert_eq!(only(b"\x08\x08ps\r"), "ps");
        assert_eq!(only(b"nonsense\x15ps\r"), "ps");
        assert_eq!(only(b"run tour  \x17sieve\r"), "run sieve");
        let (_, echo) = lines(b"ab\x08");
        assert_eq!(echo, "ab\x08 \x08");
    }

    #[test]
    fn ctrl_c_cancels() {
        let (all, echo) = lines(b"panic\x03ps\r");
        assert_eq!(all, [None, Some("ps".into())]);
        assert_eq!(echo, "panic^C\nps\n");
    }

    #[test]
    fn arrows_walk_through_the_past() {
        assert_eq!(lines(b"ps\rtop\r\x1b[A\x1b[A\r").0[2], Some("ps".into()));
        assert_eq!(
            lines(b"ps\rtop\r\x1b[A\x1b[A\x1b[A\x1b[B\r").0[2],
            Some("top".into())
        );
        assert_eq!(lines(b"ps\r\x10\x0e\r").0[1], Some("".into()));
    }

    #[test]
    fn what_is_no_text_is_swallowed() {
        assert_eq!(only("p\x1b[1;5Cs\x00\x1bO é\r".as_bytes()), "ps ");
        assert_eq!(only(&[&[b'x'; 300][..], b"\r"].concat()).len(), MOST);
    }
}
