//! A request, as a handler sees it.
//!
//! One of these lives as long as its connection and is filled again for each request, so that the vectors in it are
//! allocated once. Its body is read from the socket when the handler asks for it, not before.
#![forbid(unsafe_code)]

use alloc::{borrow::Cow, string::String, sync::Arc, vec::Vec};
use core::{fmt, net::SocketAddr};

use super::{
    Error, Headers, Method,
    head::{Framing, Head},
    inbox::{Body, Inbox},
    limits::Limits,
    pattern::Pattern,
    url,
    watch::Watch,
    wire::{ReadClock, Stop},
};
use crate::{context::Context, net::TcpStream, sync::Mutex, time::Instant};

/// The client waits for a go-ahead before it sends the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Continue {
    /// It waits.
    Waits,
    /// It was told to go ahead, or did not ask.
    Sent,
    /// The response came first: the body may never come.
    Never,
}

/// A request on its way through a [`Handler`](super::Handler).
///
/// ```
/// # use burrow::net::http::{Request, ResponseWriter, example::ask};
/// fn handler(w: &mut ResponseWriter, r: &mut Request) {
///     assert_eq!((r.path(), r.query(), r.target()), ("/a b", "x=1&y=2", "/a%20b?x=1&y=2"));
///     assert_eq!(r.query_pairs().map(|(_, value)| value).collect::<Vec<_>>(), ["1", "2"]);
///     assert_eq!((r.host(), r.minor_version(), r.headers().len()), ("example.com", 1, 3));
///     assert_eq!((r.content_length(), r.pattern()), (Some(5), None));
///     println!("{} asks {} at {}", r.peer_addr(), r.method(), r.local_addr());
///     w.text("fine");
/// }
/// # let answer = ask(handler, "POST /a%20b?x=1&y=2", "hello").unwrap();
/// assert!(answer.ends_with("fine"), "{answer}");
/// ```
pub struct Request {
    pub(super) stream: TcpStream,
    pub(super) limits: Arc<Limits>,
    pub(super) clock: ReadClock,
    pub(super) inbox: Inbox,
    pub(super) head: Head,
    pub(super) body: Body,
    body_limit: u64,
    body_read: u64,
    body_due: Instant,
    pub(super) body_error: Option<Error>,
    /// Shared with the response: who comes first.
    pub(super) go_ahead: Arc<Mutex<Continue>>,
    base: Context,
    ctx: Option<Context>,
    watch: Option<Arc<Watch>>,
    pub(super) route: Option<Arc<Pattern>>,
    /// Values of the route's names, one after the other, and where each ends.
    pub(super) values: (String, Vec<usize>),
}

impl Request {
    pub(super) fn new(stream: TcpStream, limits: Arc<Limits>, base: Context) -> Self {
        Request {
            stream,
            limits,
            clock: ReadClock::default(),
            inbox: Inbox::new(),
            head: Head::new(),
            body: Body::Done,
            body_limit: 0,
            body_read: 0,
            body_due: Instant::at(0),
            body_error: None,
            go_ahead: Arc::new(Mutex::new(Continue::Sent)),
            base,
            ctx: None,
            watch: None,
            route: None,
            values: Default::default(),
        }
    }

    /// A head was read: the rest follows from it.
    pub(super) fn begin(&mut self, now: Instant) {
        self.body = Body::new(self.head.framing);
        self.body_read = 0;
        self.body_error = None;
        if !self.body.is_done() {
            self.body_limit = self.limits.body;
            self.body_due = now + self.limits.body_timeout;
        }
        if self.head.expects_continue {
            *self.go_ahead.lock() = Continue::Waits;
        }
        if self.route.is_some() {
            self.route = None;
            self.values.0.clear();
            self.values.1.clear();
        }
    }

    /// The response is complete.
    pub(super) fn end(&mut self) {
        if self.ctx.take().is_some()
            && let Some(w) = &self.watch
        {
            w.end();
        }
    }

    /// `GET`, `POST`, …
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The path, decoded. Begins with `/` (or is `*`).
    pub fn path(&self) -> &str {
        self.head
            .decoded
            .as_deref()
            .unwrap_or_else(|| self.head.raw_path())
    }

    /// Path and query as sent.
    pub fn target(&self) -> &str {
        &self.head.target
    }

    /// The query as sent, without the question mark.
    pub fn query(&self) -> &str {
        self.head.query()
    }

    /// The first value of `name` in the query, decoded.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, r: &mut Request) {
    ///     assert_eq!(r.query_value("page").as_deref(), Some("2"));
    ///     assert_eq!(r.query_value("size"), None);
    ///     w.text(&r.query_value("q").unwrap());
    /// }
    /// # let answer = ask(handler, "GET /search?q=a+b&page=2", "").unwrap();
    /// assert!(answer.ends_with("a b"), "{answer}");
    /// ```
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// All names and values of the query, decoded, in order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        url::pairs(self.query())
    }

    /// What the route's `{name}` stands for, decoded. It may contain anything a path can, also an escaped slash.
    ///
    /// ```
    /// use burrow::net::http::Router;
    /// # use burrow::net::http::example::ask;
    /// let mut router = Router::new();
    /// router.on("/users/{id}/{rest...}", |w, r| {
    ///     assert_eq!(r.path_value("nobody"), None);
    ///     w.text(&format!("{} of {}", r.path_value("rest").unwrap(), r.path_value("id").unwrap()));
    /// }).unwrap();
    /// # let answer = ask(router, "GET /users/7/a/b", "").unwrap();
    /// assert!(answer.ends_with("a/b of 7"), "{answer}");
    /// ```
    pub fn path_value(&self, name: &str) -> Option<&str> {
        let at = self.route.as_ref()?.position(name)?;
        let end = *self.values.1.get(at)?;
        let begin = if at == 0 { 0 } else { self.values.1[at - 1] };
        self.values.0.get(begin..end)
    }

    /// The pattern that led here.
    pub fn pattern(&self) -> Option<&str> {
        self.route.as_ref().map(|p| p.text())
    }

    /// The first value of a header.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, r: &mut Request) {
    ///     assert_eq!(r.header("no-such-header"), None);
    ///     w.text(r.header("Host").unwrap());
    /// }
    /// # let answer = ask(handler, "GET /", "").unwrap();
    /// assert!(answer.ends_with("example.com"), "{answer}");
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The host that the client wants, and the port if it is not 80.
    pub fn host(&self) -> &str {
        self.head.host.as_deref().unwrap_or("")
    }

    /// HTTP/1.`this`: 1, or 0 for old clients.
    pub fn minor_version(&self) -> u8 {
        self.head.minor
    }

    /// Who asks.
    pub fn peer_addr(&self) -> SocketAddr {
        self.stream.peer_addr()
    }

    /// Where it was asked.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr()
    }

    /// Bytes of the body, if the client said.
    pub fn content_length(&self) -> Option<u64> {
        match self.head.framing {
            Framing::Empty => Some(0),
            Framing::Length(n) => Some(n),
            _ => None,
        }
    }

    /// Lowers the limit on this request's body; more than the server's `max_body` it cannot become. What is read beyond
    /// it fails with [`Error::BodyTooLarge`].
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, r: &mut Request) {
    ///     r.limit_body(3);
    ///     match r.read_to_end() {
    ///         Ok(_) => w.text("short enough"),
    ///         Err(e) => w.error(413, &e.to_string()),
    ///     }
    /// }
    /// # let answer = ask(handler, "POST /", "hello").unwrap();
    /// assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    /// ```
    pub fn limit_body(&mut self, bytes: u64) {
        self.body_limit = bytes.min(self.limits.body);
    }

    /// A context for work on behalf of this request. It is cancelled when the client hangs up (closes the connection, or
    /// its writing side, or is found to be gone), when the handler has returned, and when the server gives up waiting
    /// for it (`close`, or the end of `shutdown`).
    ///
    /// A client that still sends (the body, or requests beyond this one) has not hung up: the end counts once what is
    /// before it was read.
    ///
    /// ```
    /// # use burrow::{net::http::{Request, ResponseWriter}, select, time::{self, Duration}};
    /// fn slow(w: &mut ResponseWriter, r: &mut Request) {
    ///     select! {
    ///         recv(r.context().done()) => {} // nobody waits for the answer any more
    ///         recv(time::after(Duration::from_secs(1))) => w.text("at last"),
    ///     }
    /// }
    /// ```
    pub fn context(&mut self) -> Context {
        let (base, stream) = (&self.base, &self.stream);
        let watch = self.watch.get_or_insert_with(|| Watch::start(stream));
        self.ctx
            .get_or_insert_with(|| {
                let (ctx, cancel) = base.with_cancel();
                watch.begin(cancel);
                ctx
            })
            .clone()
    }

    /// Reads some of the body, at least a byte; 0 at its end. Blocks.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`], [`Error::TimedOut`], [`Error::Malformed`], [`Error::UnexpectedEnd`]. The handler may
    /// answer as it likes; if it does not, the client gets 413, 408 or 400. The connection ends afterwards.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, r: &mut Request) {
    ///     let (mut buf, mut sum) = ([0; 2], 0);
    ///     loop {
    ///         match r.read(&mut buf) {
    ///             Ok(0) => break,
    ///             Ok(n) => sum += n,
    ///             Err(_) => return, // the client hears why
    ///         }
    ///     }
    ///     w.text(&format!("{sum} bytes"));
    /// }
    /// # let answer = ask(handler, "POST /", "hello").unwrap();
    /// assert!(answer.ends_with("5 bytes"), "{answer}");
    /// ```
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if let Some(e) = self.body_error {
            return Err(e);
        }
        let r = self.read_some(buf);
        if let Err(e) = r {
            self.body_error = Some(e);
        }
        r
    }

    fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.body.is_done() || buf.is_empty() {
                return Ok(0);
            }
            let declared = matches!(self.head.framing, Framing::Length(n) if n > self.body_limit);
            if declared || self.body_read > self.body_limit {
                return Err(Error::BodyTooLarge);
            }
            let n = match &mut self.body {
                // A large piece goes where it is wanted, not through the inbox.
                Body::Length(left) if self.inbox.is_empty() && buf.len() >= 512 => {
                    let most = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let n = self.wait(|clock, s, _, due| clock.read(s, &mut buf[..most], due))?;
                    if let Body::Length(left) = &mut self.body {
                        *left -= n as u64;
                        if *left == 0 {
                            self.body = Body::Done;
                        }
                    }
                    n
                }
                body => self.inbox.take_body(body, buf)?,
            };
            if n > 0 {
                self.body_read += n as u64;
                if self.body_read > self.body_limit {
                    return Err(Error::BodyTooLarge);
                }
                return Ok(n);
            }
            if self.body.is_done() {
                return Ok(0);
            }
            self.inbox.enlarge();
            let n = self.wait(|clock, s, inbox, due| clock.read(s, inbox.room(), due))?;
            self.inbox.arrived(n);
        }
    }

    /// Reads from the socket; the end of the stream is too early.
    fn wait(
        &mut self,
        mut read: impl FnMut(&mut ReadClock, &TcpStream, &mut Inbox, Option<Instant>) -> Result<usize, Stop>,
    ) -> Result<usize, Error> {
        if self.head.expects_continue {
            let mut go_ahead = self.go_ahead.lock();
            if *go_ahead == Continue::Waits {
                *go_ahead = Continue::Sent;
                // The deadline of the writes before may have passed. This one is later: see `WriteClock`.
                let due = Instant::now() + self.limits.write_timeout;
                self.stream.set_write_deadline(Some(due));
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
        }
        loop {
            match read(
                &mut self.clock,
                &self.stream,
                &mut self.inbox,
                Some(self.body_due),
            ) {
                Ok(0) => return Err(Error::UnexpectedEnd),
                Err(Stop::Look) => {}
                r => return Ok(r?),
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`read`](Self::read); the limit on the body bounds the memory.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, example::ask};
    /// fn handler(w: &mut ResponseWriter, r: &mut Request) {
    ///     if let Ok(body) = r.read_to_end() {
    ///         w.text(&format!("{} bytes", body.len()));
    ///     }
    /// }
    /// # let answer = ask(handler, "POST /", "hello").unwrap();
    /// assert!(answer.ends_with("5 bytes"), "{answer}");
    /// ```
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let mut filled = 0;
        loop {
            if out.len() - filled < 512 {
                let more = (out.len() * 2).clamp(1024, 64 << 10);
                out.try_reserve(more).map_err(|_| Error::BodyTooLarge)?;
                out.resize(filled + more, 0);
            }
            match self.read(&mut out[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        out.truncate(filled);
        Ok(out)
    }

    /// Reads over at most `most` bytes of what is left of the body; is it at its end?
    pub(super) fn drain(&mut self, most: usize) -> bool {
        let mut buf = [0; 512];
        let mut left = most;
        while !self.body.is_done() {
            match self.read(&mut buf) {
                Ok(n) if n <= left => left -= n,
                _ => return false,
            }
        }
        true
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.end(); // also when the connection's goroutine unwinds
    }
}

impl embedded_io::ErrorType for Request {
    type Error = Error;
}

impl embedded_io::Read for Request {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        Request::read(self, buf)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {}", self.method(), self.target(), self.peer_addr())
    }
}
