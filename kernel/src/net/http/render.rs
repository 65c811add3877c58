//! A response on the wire: its head, how its body is framed, and its end.
//!
//! ```text
//!   Open ── handler returns ─────────────────────▶ head with Content-Length, body
//!     │ more than BUFFERED, or flush
//!     ├─▶ Length(left)   Content-Length was set
//!     ├─▶ Chunked        HTTP/1.1
//!     ├─▶ Close          HTTP/1.0
//!     └─▶ Silent         HEAD, 204, 304: what is written is counted, not sent
//! ```
#![forbid(unsafe_code)]

use super::{Error, ResponseWriter, date, request::Continue, response::BUFFERED, status};
use crate::time;

/// See the file head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Open,
    Length(u64),
    Chunked,
    Close,
    Silent,
}

impl ResponseWriter {
    /// The head goes out before the body's length is known, or because it is.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        self.mode = if status::is_bodyless(self.status) || self.head_request {
            Mode::Silent
        } else if let Some(n) = self.length {
            Mode::Length(n)
        } else if self.minor == 0 {
            self.last = true;
            Mode::Close
        } else {
            Mode::Chunked
        };
        self.put_head(self.length);
        if self.mode == Mode::Chunked {
            return Ok(()); // what was kept back is the beginning of the first chunk
        }
        let body = core::mem::take(&mut self.body);
        let r = self.stream_out(&body);
        self.body = body;
        self.body.clear();
        r
    }

    fn put_head(&mut self, length: Option<u64>) {
        if self.expects {
            let mut go_ahead = self.go_ahead.lock();
            if *go_ahead == Continue::Waits {
                *go_ahead = Continue::Never;
                self.last = true;
            }
        }
        match self.status {
            status::OK => self.out.add(b"HTTP/1.1 200 OK\r\n"),
            code => self.out.put_status(code, status::text(code)),
        }
        let out = &mut self.out;
        self.headers.write_to(&mut out.bytes);
        if !self.headers.contains("date") {
            let now = time::now_unix();
            if self.date.0 != now {
                self.date = (now, date::format(now));
            }
            out.add(b"Date: ");
            out.add(&self.date.1);
            out.add(b"\r\n");
        }
        match (length, self.mode) {
            _ if self.status == status::NO_CONTENT => {}
            (Some(n), _) => {
                out.add(b"Content-Length: ");
                out.put_decimal(n);
                out.add(b"\r\n");
            }
            (None, Mode::Chunked) => out.add(b"Transfer-Encoding: chunked\r\n"),
            (None, Mode::Silent) if self.status != status::NOT_MODIFIED && self.minor == 1 => {
                out.add(b"Transfer-Encoding: chunked\r\n");
            }
            _ => {}
        }
        if self.last || !self.keep_alive {
            out.add(b"Connection: close\r\n");
        } else if self.minor == 0 {
            out.add(b"Connection: keep-alive\r\n");
        }
        out.add(b"\r\n");
    }

    pub(super) fn stream_out(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.mode {
            Mode::Silent | Mode::Open => Ok(()),
            Mode::Close => self.out.put(data),
            Mode::Length(left) => {
                let n = data.len() as u64;
                if n > *left {
                    self.abort();
                    return Err(Error::BodyNotAllowed);
                }
                *left -= n;
                self.out.put(data)
            }
            Mode::Chunked => {
                if self.body.len() + data.len() <= BUFFERED {
                    self.body.extend_from_slice(data);
                    return Ok(());
                }
                self.end_chunk()?;
                if data.len() < BUFFERED {
                    self.body.extend_from_slice(data);
                    return Ok(());
                }
                self.out.put_size(data.len());
                self.out.put(data)?;
                self.out.put(b"\r\n")
            }
        }
    }

    /// What is kept back of a chunked body becomes a chunk.
    pub(super) fn end_chunk(&mut self) -> Result<(), Error> {
        if self.mode != Mode::Chunked || self.body.is_empty() {
            return Ok(());
        }
        self.out.put_size(self.body.len());
        self.out.bytes.append(&mut self.body);
        self.out.put(b"\r\n")
    }

    /// Completes the response. May the connection go on?
    pub(super) fn finish(&mut self) -> bool {
        if self.out.failed().is_some() {
            return false;
        }
        let complete = match self.mode {
            Mode::Open => {
                let silent = status::is_bodyless(self.status) || self.head_request;
                let written = self.body.len() as u64;
                let length = self.length.unwrap_or(written);
                if silent {
                    self.mode = Mode::Silent;
                }
                let known = !silent || self.length.is_some() || self.head_request;
                self.last |= !silent && length != written;
                self.put_head(known.then_some(length));
                if !silent {
                    let n = written.min(length) as usize;
                    self.out.add(&self.body[..n]);
                }
                silent || length == written
            }
            Mode::Chunked => {
                let r = self.end_chunk().and_then(|()| self.out.put(b"0\r\n\r\n"));
                r.is_ok()
            }
            Mode::Length(left) => left == 0,
            Mode::Close => true,
            Mode::Silent => true,
        };
        if self.out.is_full() && self.out.send().is_err() {
            return false;
        }
        complete && self.keep_alive && !self.last
    }

    /// Answers what no handler sees, as the connection's last response.
    pub(super) fn refuse(&mut self, code: u16, why: &str) {
        self.reset();
        self.head_request = false; // that was the request before
        self.minor = 1;
        self.last = true;
        self.error(code, why);
        self.finish();
    }
}
