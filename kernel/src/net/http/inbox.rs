//! Bytes that came in and are not used up yet: heads and bodies are taken from here, without I/O.
//!
//! It starts small and grows with what a head needs, up to the limit; bodies pass through what there is. A connection
//! that waits for its next request holds `SMALL` bytes.
//!
//! A head costs a time in proportion to its length, in however many pieces it comes: see `pieces`.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{
    Error, Method,
    answer::AnswerHead,
    chunked::Chunked,
    head::{Framing, Head, Refusal},
    limits::Limits,
    pieces::Pieces,
};

/// What a connection starts with, and comes back to when it waits.
pub(super) const SMALL: usize = 1024;
/// What bodies are read with.
const LARGE: usize = 8192;
/// The longest head of a response.
const ANSWER_HEAD: usize = 64 << 10;

/// See the file head.
pub(super) struct Inbox {
    buf: Vec<u8>,
    begin: usize,
    end: usize,
    /// Of a head that is not all there.
    pub(super) pieces: Pieces,
}

/// What is left of the body that is being read.
#[derive(Debug)]
pub(super) enum Body {
    Done,
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl Body {
    pub(super) fn new(f: Framing) -> Body {
        match f {
            Framing::Empty | Framing::Length(0) => Body::Done,
            Framing::Length(n) => Body::Length(n),
            Framing::Chunked => Body::Chunked(Chunked::new()),
            Framing::Close => Body::Close,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Body::Done)
    }
}

impl Inbox {
    pub(super) fn new() -> Self {
        Inbox {
            buf: Vec::new(),
            begin: 0,
            end: 0,
            pieces: Pieces::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf[self.begin..self.end]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.begin += n;
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Room for more, at least one byte: what is read there is announced by `arrived`.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.buf.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.end == self.buf.len() {
            let len = (self.buf.len() * 2).max(SMALL);
            self.buf.resize(len, 0);
        }
        &mut self.buf[self.end..]
    }

    pub(super) fn arrived(&mut self, n: usize) {
        self.end += n;
    }

    /// A larger buffer for a body that is read in pieces.
    pub(super) fn enlarge(&mut self) {
        if self.buf.len() < LARGE {
            self.buf.resize(LARGE, 0);
        }
    }

    /// Nothing is there, and nothing may come for long.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.buf.len() > SMALL {
            self.buf = alloc::vec![0; SMALL];
        }
    }

    /// Takes a request's head; `false`: it is not all there.
    pub(super) fn take_head(&mut self, head: &mut Head, limits: &Limits) -> Result<bool, Refusal> {
        if self.is_empty() {
            return Ok(false);
        }
        let bytes = &self.buf[self.begin..self.end];
        if !self.pieces.due(bytes, limits.uri, limits.header_bytes) {
            return Ok(false);
        }
        let n = head.parse(bytes, limits)?;
        Ok(self.took(n))
    }

    /// Takes a response's head; `false`: it is not all there.
    pub(super) fn take_answer(&mut self, head: &mut AnswerHead, method: Method) -> Result<bool, Error> {
        if self.is_empty() {
            return Ok(false);
        }
        let bytes = &self.buf[self.begin..self.end];
        if !self.pieces.due(bytes, usize::MAX, ANSWER_HEAD) {
            return Ok(false);
        }
        match head.parse(bytes, method)? {
            None if bytes.len() > ANSWER_HEAD => Err(Error::HeadTooLarge),
            n => Ok(self.took(n)),
        }
    }

    /// The head was so long, and is used up.
    fn took(&mut self, n: Option<usize>) -> bool {
        if let Some(n) = n {
            self.consume(n);
            self.pieces.restart();
        }
        n.is_some()
    }

    /// Takes some of the body, as far as it is here: 0 with `body` not done means that more must come in.
    pub(super) fn take_body(&mut self, body: &mut Body, out: &mut [u8]) -> Result<usize, Error> {
        let n = match body {
            Body::Done => 0,
            Body::Length(left) => {
                let n = out
                    .len()
                    .min(self.bytes().len())
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                out[..n].copy_from_slice(&self.bytes()[..n]);
                *left -= n as u64;
                if *left == 0 {
                    *body = Body::Done;
                }
                n
            }
            Body::Chunked(c) => {
                let (skip, n) = c.next(&self.buf[self.begin..self.end], out.len())?;
                if c.is_done() {
                    *body = Body::Done;
                }
                self.consume(skip);
                out[..n].copy_from_slice(&self.bytes()[..n]);
                n
            }
            Body::Close => {
                let n = out.len().min(self.bytes().len());
                out[..n].copy_from_slice(&self.bytes()[..n]);
                n
            }
        };
        self.consume(n);
        Ok(n)
    }
}
