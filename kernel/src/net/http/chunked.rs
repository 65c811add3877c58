//! Chunked bodies, byte by byte: where the data in a piece of input is.
//!
//! ```text
//!         space        ;          CRLF                 all data          CRLF
//!   Size ──────▶ Space ──▶ Ext ─────────▶ Data(left) ─────────▶ DataEnd ─────▶ Size
//!                                 │ size 0
//!                                 ▼
//!                              Trailer ── empty line ──▶ Done
//! ```
//! (`Size` and `Space` may also go where `Ext` goes.)
//! Lines end in CRLF and nothing else: a bare LF is where other servers disagree. Chunk extensions and trailers are
//! read over; together with size lines they may be `SLACK` bytes long for each `SLACK` bytes of data, so that a
//! body cannot be all wrapping.
#![forbid(unsafe_code)]

use super::Error;

const SLACK: u32 = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size,
    Space,
    Ext,
    Data,
    DataEnd,
    Trailer,
    Done,
}

/// See the file head.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of this chunk that are still to come.
    left: u64,
    digits: u8,
    /// The last byte was a CR.
    cr: bool,
    /// The trailer line has begun.
    line: bool,
    overhead: u32,
    data: u32,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Chunked {
            at: At::Size,
            left: 0,
            digits: 0,
            cr: false,
            line: false,
            overhead: 0,
            data: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Reads over framing at the beginning of `input`: how many bytes that were, and how many bytes of data follow them
    /// in `input` (0: more input is needed, or the body is at its end). The data is to be taken before the next call.
    pub(super) fn next(&mut self, input: &[u8], most: usize) -> Result<(usize, usize), Error> {
        let mut used = 0;
        loop {
            if self.at == At::Data {
                let n = self.left.min((input.len() - used).min(most) as u64);
                self.left -= n;
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                self.count_data(n);
                return Ok((used, n as usize));
            }
            if self.at == At::Done || used == input.len() {
                return Ok((used, 0));
            }
            self.step(input[used])?;
            used += 1;
        }
    }

    fn count_data(&mut self, n: u64) {
        self.data = self.data.saturating_add(n.min(u64::from(SLACK)) as u32);
        if self.data >= SLACK {
            self.data = 0;
            self.overhead = 0;
        }
    }

    /// One byte of framing.
    fn step(&mut self, b: u8) -> Result<(), Error> {
        self.overhead += 1;
        if self.overhead > SLACK {
            return Err(Error::Malformed("chunk framing without data"));
        }
        if core::mem::take(&mut self.cr) {
            if b != b'\n' {
                return Err(Error::Malformed("bad line end in chunked body"));
            }
            return self.line_end();
        }
        match (self.at, b) {
            (_, b'\n') => return Err(Error::Malformed("bad line end in chunked body")),
            (At::Size, b'\r' | b';' | b' ' | b'\t') if self.digits == 0 => return Err(BAD_SIZE),
            (_, b'\r') => self.cr = true,
            (At::Size | At::Space, b' ' | b'\t') => self.at = At::Space,
            (At::Size | At::Space, b';') => self.at = At::Ext,
            (At::Space, _) => return Err(BAD_SIZE), // "5 5": which of them?
            (At::Size, b) => {
                let digit = char::from(b).to_digit(16).ok_or(BAD_SIZE)?;
                self.digits += 1;
                if self.digits > 15 {
                    return Err(BAD_SIZE);
                }
                self.left = self.left << 4 | u64::from(digit);
            }
            (At::DataEnd, _) => return Err(Error::Malformed("chunk longer than its size")),
            (At::Trailer, _) => self.line = true,
            _ => {}
        }
        Ok(())
    }

    fn line_end(&mut self) -> Result<(), Error> {
        self.at = match self.at {
            At::Size | At::Space | At::Ext if self.left == 0 => At::Trailer,
            At::Size | At::Space | At::Ext => At::Data,
            At::Trailer if !self.line => At::Done,
            At::DataEnd => At::Size,
            at => at,
        };
        self.line = false;
        self.digits = 0;
        Ok(())
    }
}

const BAD_SIZE: Error = Error::Malformed("bad chunk size");
