//! The response, as a handler writes it.
//!
//! Bytes written are kept back up to `BUFFERED`. A handler that returns before that has a response with a length, in one
//! piece; one that writes more, or flushes, sends chunks (to an HTTP/1.0 client: until the connection closes). Who sets
//! `Content-Length` sends exactly that.
//!
//! ```text
//!   Open ── handler returns ─────────────────────▶ head with Content-Length, body
//!     │ more than BUFFERED, or flush
//!     ├─▶ Length(left)   Content-Length was set
//!     ├─▶ Chunked        HTTP/1.1
//!     ├─▶ Close          HTTP/1.0
//!     └─▶ Silent         HEAD, 204, 304: what is written is counted, not sent
//! ```
//! What is to be sent is collected in `out`, which outlives the request: responses to pipelined requests leave together,
//! when the connection has to wait for the next request or `out` is full.
#![forbid(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};
use core::fmt::{self, Write as _};

use super::{
    BadHeader, Error, Headers, Method, date,
    head::{Head, decimal},
    request::Continue,
    status,
    wire::WriteClock,
};
use crate::{
    net::TcpStream,
    sync::Mutex,
    time::{self, Duration},
};

/// A body up to this size gets its length by itself.
const BUFFERED: usize = 4096;
/// So much is collected before it is sent.
const FULL: usize = 8192;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Open,
    Length(u64),
    Chunked,
    Close,
    Silent,
}

/// What a [`Handler`](super::Handler) answers with. It writes to it (also through `embedded_io::Write` and `write!`) and
/// returns.
pub struct ResponseWriter {
    stream: TcpStream,
    clock: WriteClock,
    out: Vec<u8>,
    body: Vec<u8>,
    headers: Headers,
    status: u16,
    mode: Mode,
    head_request: bool,
    minor: u8,
    keep_alive: bool,
    /// Said by the handler or by us: this is the connection's last response.
    pub(super) last: bool,
    /// The handler said something.
    touched: bool,
    length: Option<u64>,
    failed: Option<Error>,
    expects: bool,
    go_ahead: Arc<Mutex<Continue>>,
    date: (u64, [u8; date::LEN]),
}

impl ResponseWriter {
    pub(super) fn new(stream: TcpStream, limit: Duration, go_ahead: Arc<Mutex<Continue>>) -> Self {
        ResponseWriter {
            stream,
            clock: WriteClock::new(limit),
            out: Vec::new(),
            body: Vec::new(),
            headers: Headers::new(),
            status: status::OK,
            mode: Mode::Open,
            head_request: false,
            minor: 1,
            keep_alive: false,
            last: false,
            touched: false,
            length: None,
            failed: None,
            expects: false,
            go_ahead,
            date: (0, date::format(0)),
        }
    }

    /// The next request is `head`.
    pub(super) fn begin(&mut self, head: &Head) {
        self.reset();
        self.head_request = head.method == Method::Head;
        self.minor = head.minor;
        self.keep_alive = head.keep_alive;
        self.expects = head.expects_continue;
    }

    fn reset(&mut self) {
        self.body.clear();
        self.headers.clear();
        self.status = status::OK;
        self.mode = Mode::Open;
        self.last = false;
        self.touched = false;
        self.length = None;
        self.expects = false;
    }

    /// Sets the status; 200 if nobody does. Without effect once something was sent.
    ///
    /// # Panics
    /// If `code` is not 200 to 599.
    pub fn status(&mut self, code: u16) -> &mut Self {
        assert!(
            (200..600).contains(&code),
            "http: status {code} is not 200 to 599"
        );
        self.status = code;
        self.touched = true;
        self
    }

    /// Sets a header, in place of those of the same name. Without effect once something was sent.
    ///
    /// # Panics
    /// If it must not be sent; text from elsewhere goes through [`try_header`](Self::try_header).
    #[track_caller]
    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        match self.try_header(name, value) {
            Ok(w) => w,
            Err(e) => panic!("{e}: {name:?}: {value:?}"),
        }
    }

    /// Sets a header, in place of those of the same name.
    ///
    /// `Content-Length` promises that so many bytes will be written; `Connection: close` makes this the connection's
    /// last response.
    ///
    /// # Errors
    /// [`BadHeader`]: a name that is no token, a value with a line break or another control character,
    /// `Transfer-Encoding` (which is not the handler's), a length that is no number.
    pub fn try_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<&mut Self, BadHeader> {
        self.touched = true;
        if !self.special(name, value.as_ref())? {
            self.headers.set(name, value)?;
        }
        Ok(self)
    }

    /// Adds a header after those of the same name (`Set-Cookie`).
    ///
    /// # Errors
    /// As [`try_header`](Self::try_header).
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<&mut Self, BadHeader> {
        self.touched = true;
        if !self.special(name, value.as_ref())? {
            self.headers.append(name, value)?;
        }
        Ok(self)
    }

    fn special(&mut self, name: &str, value: &[u8]) -> Result<bool, BadHeader> {
        if name.eq_ignore_ascii_case("content-length") {
            self.length = Some(decimal(value.trim_ascii()).ok_or(BadHeader)?);
            return Ok(true);
        }
        if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case(b"close") {
            self.last = true;
            return Ok(true);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(BadHeader);
        }
        Ok(false)
    }

    /// The headers set so far.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Has the response begun to leave? Status and headers are settled then.
    pub fn is_started(&self) -> bool {
        self.mode != Mode::Open
    }

    pub(super) fn is_untouched(&self) -> bool {
        !self.touched && self.mode == Mode::Open && self.body.is_empty()
    }

    /// A body of plain text, whole. Does nothing more if it cannot be sent; [`write`](Self::write) tells.
    pub fn text(&mut self, body: &str) {
        self.whole("text/plain; charset=utf-8", body.as_bytes());
    }

    /// A page, whole.
    pub fn html(&mut self, body: &str) {
        self.whole("text/html; charset=utf-8", body.as_bytes());
    }

    /// A body of JSON, whole; `body` is the text of it.
    pub fn json(&mut self, body: &str) {
        self.whole("application/json", body.as_bytes());
    }

    /// An error as plain text: what was written so far is dropped, unless it was sent.
    pub fn error(&mut self, code: u16, message: &str) {
        if self.mode == Mode::Open {
            self.body.clear();
            self.length = None;
            let _ = self.headers.set("X-Content-Type-Options", "nosniff");
            self.status(code).text(message);
            let _ = self.write(b"\n");
        }
    }

    /// Sends the client elsewhere; a `to` that must not be in a header is an error 500.
    pub fn redirect(&mut self, code: u16, to: &str) {
        match self.headers.set("Location", to) {
            Ok(()) => _ = self.status(code),
            Err(_) => self.error(status::INTERNAL_SERVER_ERROR, "bad redirect"),
        }
    }

    fn whole(&mut self, kind: &str, body: &[u8]) {
        if self.mode == Mode::Open && !self.headers.contains("content-type") {
            self.headers.push(b"Content-Type", kind.as_bytes());
        }
        if self.mode == Mode::Open && self.body.is_empty() && body.len() >= BUFFERED && self.length.is_none()
        {
            self.length = Some(body.len() as u64);
        }
        let _ = self.write(body);
    }

    /// Writes some more of the body: all of `data`. Blocks when the client is slow.
    ///
    /// # Errors
    /// [`Error::BodyNotAllowed`] beyond the declared length, [`Error::TimedOut`], or the connection's failure, which
    /// stays.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check()?;
        self.touched = true;
        if self.mode == Mode::Open {
            if self.body.len() + data.len() <= BUFFERED {
                self.body.extend_from_slice(data);
                return Ok(());
            }
            self.start()?;
        }
        self.stream_out(data)
    }

    /// Sends what was written so far; the response is a stream from now on. Each event of a `text/event-stream` ends
    /// with this.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        self.touched = true;
        if self.mode == Mode::Open {
            self.start()?;
        }
        self.end_chunk()?;
        self.send_out()
    }

    /// Gives the response up: the client sees the connection break, not a complete response. For who finds out in the
    /// middle of a body that the rest cannot be had.
    pub fn abort(&mut self) {
        self.failed.get_or_insert(Error::Aborted);
        self.last = true;
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }

    /// The head goes out before the body's length is known, or because it is.
    fn start(&mut self) -> Result<(), Error> {
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
        let out = &mut self.out;
        match self.status {
            status::OK => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            code => _ = write!(Text(out), "HTTP/1.1 {code} {}\r\n", status::text(code)),
        }
        self.headers.write_to(out);
        if !self.headers.contains("date") {
            let now = time::now_unix();
            if self.date.0 != now {
                self.date = (now, date::format(now));
            }
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(&self.date.1);
            out.extend_from_slice(b"\r\n");
        }
        match (length, self.mode) {
            _ if self.status == status::NO_CONTENT => {}
            (Some(n), _) => {
                out.extend_from_slice(b"Content-Length: ");
                put_decimal(out, n);
                out.extend_from_slice(b"\r\n");
            }
            (None, Mode::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            (None, Mode::Silent) if self.status != status::NOT_MODIFIED && self.minor == 1 => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            _ => {}
        }
        if self.last || !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.minor == 0 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn stream_out(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.mode {
            Mode::Silent | Mode::Open => Ok(()),
            Mode::Close => self.put(data),
            Mode::Length(left) => {
                let n = data.len() as u64;
                if n > *left {
                    self.abort();
                    return Err(Error::BodyNotAllowed);
                }
                *left -= n;
                self.put(data)
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
                self.put_size(data.len());
                self.put(data)?;
                self.put(b"\r\n")
            }
        }
    }

    /// What is kept back of a chunked body becomes a chunk.
    fn end_chunk(&mut self) -> Result<(), Error> {
        if self.mode != Mode::Chunked || self.body.is_empty() {
            return Ok(());
        }
        self.put_size(self.body.len());
        self.out.append(&mut self.body);
        self.put(b"\r\n")
    }

    fn put_size(&mut self, n: usize) {
        let _ = write!(Text(&mut self.out), "{n:x}\r\n");
    }

    fn put(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.out.len() + data.len() <= FULL {
            self.out.extend_from_slice(data);
            return Ok(());
        }
        self.send_out()?;
        let r = self.clock.write_all(&self.stream, data);
        self.note(r)
    }

    /// Sends what was collected.
    pub(super) fn send_out(&mut self) -> Result<(), Error> {
        if self.out.is_empty() {
            return Ok(());
        }
        let r = self.clock.write_all(&self.stream, &self.out);
        self.out.clear();
        self.note(r)
    }

    fn note(&mut self, r: Result<(), Error>) -> Result<(), Error> {
        if let Err(e) = r {
            self.failed = Some(e);
        }
        r
    }

    /// Completes the response. May the connection go on?
    pub(super) fn finish(&mut self) -> bool {
        if self.failed.is_some() {
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
                    self.out.extend_from_slice(&self.body[..n]);
                }
                silent || length == written
            }
            Mode::Chunked => {
                let r = self.end_chunk().and_then(|()| self.put(b"0\r\n\r\n"));
                r.is_ok()
            }
            Mode::Length(left) => left == 0,
            Mode::Close => true,
            Mode::Silent => true,
        };
        if self.out.len() >= FULL && self.send_out().is_err() {
            return false;
        }
        complete && self.keep_alive && !self.last
    }

    /// Has this response failed, or was it given up?
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Answers what no handler sees, as the connection's last response.
    pub(super) fn refuse(&mut self, code: u16, why: &str) {
        self.reset();
        self.minor = 1;
        self.last = true;
        self.error(code, why);
        self.finish();
    }

    /// Gives back what an unusual response has taken.
    pub(super) fn shrink(&mut self) {
        if self.out.capacity() > FULL {
            self.out = Vec::new();
        }
        if self.body.capacity() > BUFFERED {
            self.body = Vec::new();
        }
        self.headers.trim_to(BUFFERED);
    }
}

/// Decimal digits without the machinery of `format!`: a length is in every response.
fn put_decimal(out: &mut Vec<u8>, mut n: u64) {
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
    out.extend_from_slice(&digits[at..]);
}

/// Formats into bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

impl embedded_io::ErrorType for ResponseWriter {
    type Error = Error;
}

impl embedded_io::Write for ResponseWriter {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        ResponseWriter::write(self, buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        ResponseWriter::flush(self)
    }
}

impl fmt::Write for ResponseWriter {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.write(s.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for ResponseWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, self.mode)
    }
}
