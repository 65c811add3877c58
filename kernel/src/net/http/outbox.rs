//! Bytes that are to go out, collected: the counterpart of `inbox`.
//!
//! They outlive a response: those to pipelined requests leave together, when the connection has to wait for the next
//! request or `FULL` is reached. Once a write has failed, or a response was given up, nothing more goes out.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::{Error, wire::WriteClock};
use crate::{net::TcpStream, time::Duration};

/// So much is collected before it is sent.
const FULL: usize = 8192;

/// See the file head.
pub(super) struct Outbox {
    stream: TcpStream,
    clock: WriteClock,
    pub(super) bytes: Vec<u8>,
    failed: Option<Error>,
}

impl Outbox {
    pub(super) fn new(stream: TcpStream, limit: Duration) -> Self {
        Outbox {
            stream,
            clock: WriteClock::new(limit),
            bytes: Vec::new(),
            failed: None,
        }
    }

    /// Why nothing more goes out.
    pub(super) fn failed(&self) -> Option<Error> {
        self.failed
    }

    /// Nothing more is to go out.
    pub(super) fn give_up(&mut self) {
        self.failed.get_or_insert(Error::Aborted);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Collects these, however full it is.
    pub(super) fn add(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    pub(super) fn put(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + data.len() <= FULL {
            self.bytes.extend_from_slice(data);
            return Ok(());
        }
        self.send()?;
        let r = self.clock.write_all(&self.stream, data);
        self.note(r)
    }

    /// A chunk's size line.
    pub(super) fn put_size(&mut self, n: usize) {
        let _ = write!(Text(&mut self.bytes), "{n:x}\r\n");
    }

    /// A status line.
    pub(super) fn put_status(&mut self, code: u16, text: &str) {
        let _ = write!(Text(&mut self.bytes), "HTTP/1.1 {code} {text}\r\n");
    }

    /// Decimal digits without the machinery of `format!`: a length is in every response.
    pub(super) fn put_decimal(&mut self, mut n: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }

    /// Sends what was collected.
    pub(super) fn send(&mut self) -> Result<(), Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let r = self.clock.write_all(&self.stream, &self.bytes);
        self.bytes.clear();
        self.note(r)
    }

    /// The response was given up: sends what was collected before that, if it can.
    pub(super) fn send_rest(&mut self) {
        let _ = self.clock.write_all(&self.stream, &self.bytes);
    }

    fn note(&mut self, r: Result<(), Error>) -> Result<(), Error> {
        if let Err(e) = r {
            self.failed = Some(e);
        }
        r
    }

    /// Gives back what an unusual response has taken.
    pub(super) fn shrink(&mut self) {
        if self.bytes.capacity() > FULL {
            self.bytes = Vec::new();
        }
    }
}

/// Formats into bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}
