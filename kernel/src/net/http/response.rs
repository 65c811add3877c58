//! The response, as a handler writes it.
//!
//! Bytes written are kept back up to `BUFFERED`. A handler that returns before that has a response with a length, in one
//! piece; one that writes more, or flushes, sends chunks (to an HTTP/1.0 client: until the connection closes). Who sets
//! `Content-Length` sends exactly that.
//!
//! `render` has how it is framed, `outbox` how it leaves.
#![forbid(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use super::{
    BadHeader, Error, Headers, Method, date,
    head::{Head, decimal},
    outbox::Outbox,
    render::Mode,
    request::Continue,
    status,
};
use crate::{net::TcpStream, sync::Mutex, time::Duration};

/// A body up to this size gets its length by itself.
pub(super) const BUFFERED: usize = 4096;

/// What a [`Handler`](super::Handler) answers with. It writes to it (also through `embedded_io::Write` and `write!`) and
/// returns.
///
/// ```
/// # use burrow::net::http::{Request, ResponseWriter, example::ask};
/// fn handler(w: &mut ResponseWriter, _: &mut Request) {
///     use core::fmt::Write;
///     w.header("Content-Type", "text/plain");
///     assert!(w.headers().contains("content-type") && !w.is_started());
///     let _ = write!(w, "{} and {}", 1, 2);
/// }
/// # let answer = ask(handler, "GET /", "").unwrap();
/// assert!(answer.ends_with("1 and 2"), "{answer}");
/// ```
pub struct ResponseWriter {
    pub(super) out: Outbox,
    pub(super) body: Vec<u8>,
    pub(super) headers: Headers,
    pub(super) status: u16,
    pub(super) mode: Mode,
    pub(super) head_request: bool,
    pub(super) minor: u8,
    pub(super) keep_alive: bool,
    /// Said by the handler or by us: this is the connection's last response.
    pub(super) last: bool,
    /// The handler said something.
    touched: bool,
    pub(super) length: Option<u64>,
    pub(super) expects: bool,
    pub(super) go_ahead: Arc<Mutex<Continue>>,
    pub(super) date: (u64, [u8; date::LEN]),
}

impl ResponseWriter {
    pub(super) fn new(stream: TcpStream, limit: Duration, go_ahead: Arc<Mutex<Continue>>) -> Self {
        ResponseWriter {
            out: Outbox::new(stream, limit),
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

    pub(super) fn reset(&mut self) {
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.status(404).text("no such page");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
    /// ```
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.header("Cache-Control", "no-store").text("secret");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("Cache-Control: no-store\r\n"), "{answer}");
    /// ```
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     let from_elsewhere = "/\r\nSet-Cookie: evil=1";
    ///     if let Err(e) = w.try_header("Location", from_elsewhere) {
    ///         w.error(400, &e.to_string());
    ///     }
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("evil"), "{answer}");
    /// ```
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.append_header("Set-Cookie", "a=1").unwrap();
    ///     w.append_header("Set-Cookie", "b=2").unwrap();
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("a=1\r\nSet-Cookie: b=2"), "{answer}");
    /// ```
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
        if name.eq_ignore_ascii_case("connection") && value.trim_ascii().eq_ignore_ascii_case(b"close") {
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("Content-Type: text/plain; charset=utf-8\r\n") && answer.ends_with("hello"), "{answer}");
    /// ```
    pub fn text(&mut self, body: &str) {
        self.whole("text/plain; charset=utf-8", body.as_bytes());
    }

    /// A page, whole.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.html("<h1>hello</h1>");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("Content-Type: text/html; charset=utf-8\r\n") && answer.ends_with("<h1>hello</h1>"), "{answer}");
    /// ```
    pub fn html(&mut self, body: &str) {
        self.whole("text/html; charset=utf-8", body.as_bytes());
    }

    /// A body of JSON, whole; `body` is the text of it.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.json("[1, 2]");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("Content-Type: application/json\r\n") && answer.ends_with("[1, 2]"), "{answer}");
    /// ```
    pub fn json(&mut self, body: &str) {
        self.whole("application/json", body.as_bytes());
    }

    /// An error as plain text, in place of what was written so far and of what described that (`Content-Type` and its
    /// kin); other headers stay. Does nothing if something was sent.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.html("<p>the first half");
    ///     w.error(500, "and then the disk was gone");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("half"), "{answer}");
    /// ```
    pub fn error(&mut self, code: u16, message: &str) {
        if self.mode == Mode::Open {
            self.body.clear();
            self.length = None;
            for name in ["content-type", "content-encoding", "etag", "last-modified"] {
                self.headers.remove(name);
            }
            self.headers.push(b"Content-Type", b"text/plain; charset=utf-8");
            let _ = self.headers.set("X-Content-Type-Options", "nosniff");
            self.status(code);
            let _ = self.write(message.as_bytes()).and_then(|()| self.write(b"\n"));
        }
    }

    /// Sends the client elsewhere; a `to` that must not be in a header is an error 500.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.redirect(303, "/elsewhere");
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 303 ") && answer.contains("Location: /elsewhere\r\n"), "{answer}");
    /// ```
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     for line in ["one\n", "two\n"] {
    ///         if w.write(line.as_bytes()).is_err() {
    ///             return; // the client has gone
    ///         }
    ///     }
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.ends_with("one\ntwo\n"), "{answer}");
    /// ```
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
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.header("Content-Type", "text/event-stream");
    ///     for n in 1..=2 {
    ///         if w.write(format!("data: {n}\n\n").as_bytes()).and_then(|()| w.flush()).is_err() {
    ///             return;
    ///         }
    ///     }
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.contains("chunked") && answer.contains("data: 2\n\n"), "{answer}");
    /// ```
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        self.touched = true;
        if self.mode == Mode::Open {
            self.start()?;
        }
        self.end_chunk()?;
        self.out.send()
    }

    /// Gives the response up: the client sees the connection break, not a complete response. For who finds out in the
    /// middle of a body that the rest cannot be had.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.header("Content-Length", "1000");
    ///     let _ = w.write(b"the beginning").and_then(|()| w.flush());
    ///     w.abort(); // the rest cannot be had
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap_or("the beginning".into());
    /// assert!(answer.ends_with("the beginning"), "{answer}");
    /// ```
    pub fn abort(&mut self) {
        self.out.give_up();
        self.last = true;
    }

    fn check(&self) -> Result<(), Error> {
        self.out.failed().map_or(Ok(()), Err)
    }

    /// Gives back what an unusual response has taken.
    pub(super) fn shrink(&mut self) {
        self.out.shrink();
        if self.body.capacity() > BUFFERED {
            self.body = Vec::new();
        }
        self.headers.trim_to(BUFFERED);
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
