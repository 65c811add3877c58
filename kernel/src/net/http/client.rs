//! The client: requests, connections that are used again, redirects.
//!
//! A connection whose response was read to its end goes into the pool, with the server's address as its key. The server
//! may close it at any time, also while the next request is on its way. So only requests that may be repeated
//! (`GET`, `HEAD`, `PUT`, `DELETE`, `OPTIONS`, without a streamed body) take one from the pool; they are repeated once,
//! on a new connection, if that one ends before a byte of a response. Everything else gets a new connection.
#![forbid(unsafe_code)]

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use super::{
    BadHeader, Error, Headers, Method,
    answer::{AnswerHead, Response},
    inbox::{Body, Inbox},
    url::Url,
    wire::{ReadClock, Stop, WriteClock},
};
use crate::{net::TcpStream, sync::Mutex, time::Instant};

/// Idle connections kept, at most, and for how long.
const IDLE: usize = 32;
const IDLE_FOR: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 64 << 10;

/// A connection to a server.
pub(super) struct Conn {
    address: String,
    stream: TcpStream,
    read_clock: ReadClock,
    write_clock: WriteClock,
    pub(super) inbox: Inbox,
    silence: Duration,
    since: Instant,
}

impl Conn {
    /// Reads what comes, before the request's deadline and within the limit on silence.
    pub(super) fn fill(&mut self, due: Option<Instant>) -> Result<usize, Stop> {
        let silent = Instant::now() + self.silence;
        let at = due.map_or(silent, |d| d.min(silent));
        let n = self.read_clock.read(&self.stream, self.inbox.room(), Some(at))?;
        self.inbox.arrived(n);
        Ok(n)
    }

    fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        self.write_clock.write_all(&self.stream, data)
    }
}

/// Idle connections, the latest last.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Conn>>);

impl Pool {
    pub(super) fn put(&self, mut c: Conn) {
        if !c.inbox.is_empty() {
            return; // it says more than it was asked
        }
        c.inbox.shrink();
        c.since = Instant::now();
        let mut idle = self.0.lock();
        if idle.len() == IDLE {
            idle.remove(0);
        }
        idle.push(c);
    }

    fn take(&self, address: &str) -> Option<Conn> {
        let now = Instant::now();
        let mut idle = self.0.lock();
        idle.retain(|c| now - c.since < IDLE_FOR);
        let at = idle.iter().rposition(|c| c.address == address)?;
        Some(idle.remove(at))
    }
}

/// An HTTP/1.1 client. Clones share their idle connections.
///
/// ```
/// # use burrow::net::http::{Client, Method, Server, Request, ResponseWriter};
/// # let server = Server::bind("127.0.0.1:0", |w: &mut ResponseWriter, r: &mut Request| {
/// #     let body = r.read_to_end().unwrap();
/// #     w.status(201).text(&format!("{} bytes of {}", body.len(), r.header("content-type").unwrap()));
/// # }).unwrap();
/// # let (s, url) = (server.clone(), format!("http://{}/", server.local_addr().unwrap()));
/// # burrow::go(move || s.run().unwrap());
/// let client = Client::new();
/// let mut answer = client.post(&url, "text/plain", b"hello").unwrap();
/// assert_eq!(answer.status(), 201);
/// assert_eq!(answer.text().unwrap(), "5 bytes of text/plain");
///
/// let answer = client.request(Method::Put, &url).header("Content-Type", "x/y").body(b"1").send();
/// assert_eq!(answer.unwrap().text().unwrap(), "1 bytes of x/y");
/// # server.close();
/// ```
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    timeout: Duration,
    redirects: usize,
    max_body: u64,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            pool: Arc::default(),
            timeout: Duration::from_secs(30),
            redirects: 10,
            max_body: 16 << 20,
        }
    }
}

impl Client {
    /// A client with the defaults given at the setters.
    pub fn new() -> Client {
        Client::default()
    }

    /// How long the server may be silent: while connecting, before its response, within it, and in taking the request
    /// (30 s). [`RequestBuilder::deadline`] limits the whole.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Client {
        self.timeout = limit.max(Duration::from_millis(1));
        self
    }

    /// How many redirects are followed (10). With 0 the redirect itself is the response.
    #[must_use]
    pub fn redirects(mut self, most: usize) -> Client {
        self.redirects = most;
        self
    }

    /// What [`Response::bytes`] and [`Response::text`] read at most (16 MiB).
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Client {
        self.max_body = bytes;
        self
    }

    /// `GET url`.
    ///
    /// # Errors
    /// See [`RequestBuilder::send`].
    pub fn get(&self, url: &str) -> Result<Response, Error> {
        self.request(Method::Get, url).send()
    }

    /// `POST url` with a body of this type.
    ///
    /// # Errors
    /// See [`RequestBuilder::send`].
    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        self.request(Method::Post, url)
            .header("Content-Type", content_type)
            .body(body)
            .send()
    }

    /// Any request; `url` is `http://host[:port]/path?query`.
    pub fn request<'a>(&'a self, method: Method, url: &'a str) -> RequestBuilder<'a> {
        RequestBuilder {
            client: self,
            method,
            url,
            headers: Headers::new(),
            bad: None,
            payload: Payload::Bytes(b""),
            due: None,
        }
    }

    /// Idle connections now.
    pub fn idle_connections(&self) -> usize {
        self.pool.0.lock().len()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} idle connections)", self.idle_connections())
    }
}

/// Where a streamed body comes from.
type Source<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize, Error>;

enum Payload<'a> {
    Bytes(&'a [u8]),
    Stream(Option<u64>, Source<'a>),
}

/// A request that is being put together: [`Client::request`].
pub struct RequestBuilder<'a> {
    client: &'a Client,
    method: Method,
    url: &'a str,
    headers: Headers,
    bad: Option<BadHeader>,
    payload: Payload<'a>,
    due: Option<Instant>,
}

impl<'a> RequestBuilder<'a> {
    /// Sets a header. One that must not be sent makes `send` fail. Lengths and encodings are not the caller's.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let ours = ["content-length", "transfer-encoding"];
        let r = match ours.iter().any(|o| name.eq_ignore_ascii_case(o)) {
            true => Err(BadHeader),
            false => self.headers.append(name, value),
        };
        self.bad = self.bad.or(r.err());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, bytes: &'a [u8]) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }

    /// Streams the body from `read`, which is called until it returns 0: with its length, if that is known, else in
    /// chunks. Such a request is not repeated, and redirects that would have to are returned as they are.
    #[must_use]
    pub fn body_from(mut self, length: Option<u64>, read: Source<'a>) -> Self {
        self.payload = Payload::Stream(length, read);
        self
    }

    /// The whole exchange, reading the response's body included, ends by then with [`Error::TimedOut`].
    #[must_use]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.due = Some(at);
        self
    }

    /// Sends the request, follows redirects, and returns the response with its body unread. Any status is a response,
    /// not an error.
    ///
    /// # Errors
    /// [`Error::BadUrl`], [`Error::BadHeader`], [`Error::TimedOut`], [`Error::TooManyRedirects`], [`Error::Malformed`],
    /// or the connection's failure.
    pub fn send(mut self) -> Result<Response, Error> {
        if let Some(e) = self.bad {
            return Err(e.into());
        }
        let mut url = Url::parse(self.url).ok_or(Error::BadUrl)?;
        let mut left = self.client.redirects;
        loop {
            let answer = self.once(&url)?;
            let again = match answer.status() {
                301..=303 => true,
                307 | 308 => matches!(self.payload, Payload::Bytes(_)),
                _ => false,
            };
            let Some(to) = answer
                .header("location")
                .filter(|_| again && self.client.redirects > 0)
            else {
                return Ok(answer);
            };
            if left == 0 {
                return Err(Error::TooManyRedirects);
            }
            left -= 1;
            let to = url.join(to).ok_or(Error::BadUrl)?;
            if to.authority != url.authority {
                for secret in ["authorization", "cookie", "host"] {
                    self.headers.remove(secret);
                }
            }
            url = to;
            if answer.status() <= 303 && self.method != Method::Head {
                self.method = Method::Get;
                self.payload = Payload::Bytes(b"");
                self.headers.remove("content-type");
            }
        }
    }

    /// One exchange.
    fn once(&mut self, url: &Url) -> Result<Response, Error> {
        let address = url.address();
        let repeatable = self.method.is_idempotent() && matches!(self.payload, Payload::Bytes(_));
        let head = self.head(url);
        if repeatable && let Some(conn) = self.client.pool.take(&address) {
            match self.exchange(conn, &head) {
                Err(Error::UnexpectedEnd | Error::Net(_)) => {} // it was closed meanwhile
                r => return r,
            }
        }
        let limit = match self.due {
            Some(at) => self
                .client
                .timeout
                .min(at.saturating_duration_since(Instant::now())),
            None => self.client.timeout,
        };
        let stream = TcpStream::connect_timeout(&address, limit)?;
        let conn = Conn {
            address,
            stream,
            read_clock: ReadClock::default(),
            write_clock: WriteClock::new(self.client.timeout),
            inbox: Inbox::new(),
            silence: self.client.timeout,
            since: Instant::now(),
        };
        self.exchange(conn, &head)
    }

    fn head(&self, url: &Url) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, url.target).into_bytes();
        if !self.headers.contains("host") {
            out.extend_from_slice(format!("Host: {}\r\n", url.authority).as_bytes());
        }
        self.headers.write_to(&mut out);
        let line = match &self.payload {
            Payload::Bytes(b"") if !matches!(self.method, Method::Post | Method::Put | Method::Patch) => {
                String::new()
            }
            Payload::Bytes(b) => format!("Content-Length: {}\r\n", b.len()),
            Payload::Stream(Some(n), _) => format!("Content-Length: {n}\r\n"),
            Payload::Stream(None, _) => "Transfer-Encoding: chunked\r\n".into(),
        };
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
        out
    }

    fn exchange(&mut self, mut conn: Conn, head: &[u8]) -> Result<Response, Error> {
        // A server may answer before it has taken everything, and close: its answer counts.
        let sent = self.transmit(&mut conn, head);
        if let Err(e @ (Error::Aborted | Error::TimedOut)) = sent {
            return Err(e);
        }
        let mut answer = AnswerHead::default();
        loop {
            let bytes = conn.inbox.bytes();
            if !bytes.is_empty()
                && let Some(n) = answer.parse(bytes, self.method)?
            {
                conn.inbox.consume(n);
                if answer.status >= 200 {
                    break;
                }
                continue; // 100 and its like
            }
            if conn.inbox.bytes().len() > HEAD_BYTES {
                return Err(Error::HeadTooLarge);
            }
            match conn.fill(self.due) {
                Ok(0) if conn.inbox.is_empty() => return Err(sent.err().unwrap_or(Error::UnexpectedEnd)),
                Ok(0) => return Err(Error::Malformed("response head")),
                Ok(_) | Err(Stop::Look) => {}
                Err(e) => return Err(sent.err().unwrap_or(e.into())),
            }
        }
        answer.keep_alive &= sent.is_ok() && !self.headers.has_word("connection", "close");
        let mut response = Response {
            body: Body::new(answer.framing),
            head: answer,
            conn: Some(conn),
            pool: self.client.pool.clone(),
            due: self.due,
            max_body: self.client.max_body,
        };
        if response.body.is_done() {
            response.read(&mut [])?; // the connection goes back
        }
        Ok(response)
    }

    fn transmit(&mut self, conn: &mut Conn, head: &[u8]) -> Result<(), Error> {
        match &mut self.payload {
            Payload::Bytes(b"") => conn.send(head),
            Payload::Bytes(b) if b.len() <= 4096 => conn.send(&[head, b].concat()),
            Payload::Bytes(b) => {
                conn.send(head)?;
                conn.send(b)
            }
            Payload::Stream(length, read) => {
                conn.send(head)?;
                let mut buf = [0; 4096];
                let mut left = *length;
                loop {
                    let room = left.map_or(buf.len(), |l| l.min(buf.len() as u64) as usize);
                    // A source that fails leaves the request incomplete; the connection goes with it.
                    let n = if room == 0 {
                        0
                    } else {
                        read(&mut buf[..room]).map_err(|_| Error::Aborted)?
                    };
                    match &mut left {
                        Some(0) => return Ok(()),
                        Some(_) if n == 0 => return Err(Error::Aborted),
                        Some(left) => {
                            *left -= n as u64;
                            conn.send(&buf[..n])?;
                        }
                        None if n == 0 => return conn.send(b"0\r\n\r\n"),
                        None => {
                            let mut chunk = format!("{n:x}\r\n").into_bytes();
                            chunk.extend_from_slice(&buf[..n]);
                            chunk.extend_from_slice(b"\r\n");
                            conn.send(&chunk)?;
                        }
                    }
                }
            }
        }
    }
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}
