//! One request of the client on its way: put together, sent, answered, redirected.
//!
//! A server may close an idle connection at any time, also while a request is on its way to it. So only requests that
//! may be repeated (`GET`, `HEAD`, `PUT`, `DELETE`, `OPTIONS`, without a streamed body) take a connection from the pool;
//! they are repeated once, on a new connection, if that one ends before a whole head of a response. Everything else gets
//! a new connection.
#![forbid(unsafe_code)]

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use super::{
    BadHeader, Client, Error, Headers, Method,
    answer::{AnswerHead, Response},
    inbox::Body,
    pool::Conn,
    url::Url,
    wire::Stop,
};
use crate::{net::TcpStream, time::Instant};

/// Responses 1xx before the response, at most.
const INTERIM: usize = 8;
/// A redirect's body up to this size is read over.
const NOTICE: u64 = 2048;

/// Where a streamed body comes from.
type Source<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize, Error>;

enum Payload<'a> {
    Bytes(&'a [u8]),
    Stream(Option<u64>, Source<'a>),
}

/// A request that is being put together: [`Client::request`].
///
/// ```
/// use burrow::net::http::Client;
/// # use burrow::net::http::{Request, ResponseWriter, example::serve};
/// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { let body = r.read_to_end().unwrap(); _ = w.write(&body) });
/// # let url = server.url();
/// use burrow::net::http::Method;
/// let client = Client::new();
/// let request = client.request(Method::Put, url).header("Content-Type", "text/plain").body(b"hello");
/// assert_eq!(request.send().unwrap().text().unwrap(), "hello");
/// ```
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
    pub(super) fn new(client: &'a Client, method: Method, url: &'a str) -> Self {
        RequestBuilder {
            client,
            method,
            url,
            headers: Headers::new(),
            bad: None,
            payload: Payload::Bytes(b""),
            due: None,
        }
    }

    /// Sets a header. One that must not be sent makes `send` fail. Lengths and encodings are not the caller's.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| w.text(r.header("Accept").unwrap()));
    /// # let url = server.url();
    /// use burrow::net::http::{Error, Method};
    /// let client = Client::new();
    /// let mut answer = client.request(Method::Get, url).header("Accept", "text/html").send().unwrap();
    /// assert_eq!(answer.text().unwrap(), "text/html");
    /// assert_eq!(client.request(Method::Get, url).header("Accept", "a\nb").send().unwrap_err(), Error::BadHeader);
    /// ```
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
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { let body = r.read_to_end().unwrap(); _ = w.write(&body) });
    /// # let url = server.url();
    /// use burrow::net::http::Method;
    /// let mut answer = Client::new().request(Method::Patch, url).body(b"hello").send().unwrap();
    /// assert_eq!(answer.text().unwrap(), "hello");
    /// ```
    #[must_use]
    pub fn body(mut self, bytes: &'a [u8]) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }

    /// Streams the body from `read`, which is called until it returns 0: with its length, if that is known, else in
    /// chunks. Such a request is not repeated, and redirects that would have to are returned as they are.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { let body = r.read_to_end().unwrap(); _ = w.write(&body) });
    /// # let url = server.url();
    /// use burrow::net::http::Method;
    /// let mut left = 3;
    /// let mut source = |buf: &mut [u8]| {
    ///     left -= 1;
    ///     let piece: &[u8] = if left > 0 { b"piece " } else { b"" };
    ///     buf[..piece.len()].copy_from_slice(piece);
    ///     Ok(piece.len())
    /// };
    /// let mut answer = Client::new().request(Method::Post, url).body_from(None, &mut source).send().unwrap();
    /// assert_eq!(answer.text().unwrap(), "piece piece ");
    /// ```
    #[must_use]
    pub fn body_from(mut self, length: Option<u64>, read: Source<'a>) -> Self {
        self.payload = Payload::Stream(length, read);
        self
    }

    /// The whole exchange, reading the response's body included, ends by then with [`Error::TimedOut`].
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| _ = (w, r.context().done().recv()));
    /// # let url = server.url();
    /// use burrow::{net::http::{Error, Method}, time::{Duration, Instant}};
    /// let soon = Instant::now() + Duration::from_millis(10);
    /// let client = Client::new();
    /// assert_eq!(client.request(Method::Get, url).deadline(soon).send().unwrap_err(), Error::TimedOut);
    /// ```
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
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.error(500, "no") });
    /// # let url = server.url();
    /// use burrow::net::http::{Error, Method};
    /// let client = Client::new();
    /// assert_eq!(client.request(Method::Get, url).send().unwrap().status(), 500); // not an error
    /// assert!(client.request(Method::Get, "gopher://localhost").send().is_err());
    /// ```
    pub fn send(mut self) -> Result<Response, Error> {
        if let Some(e) = self.bad {
            return Err(e.into());
        }
        let mut url = Url::parse(self.url).ok_or(Error::BadUrl)?;
        let mut left = self.client.redirects;
        loop {
            let mut answer = self.once(&url)?;
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
            if answer.content_length().is_some_and(|n| n <= NOTICE) {
                let _ = answer.bytes(); // read over, the connection can be used again
            }
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
        let head = self.head(url);
        if self.is_repeatable()
            && let Some(conn) = self.client.pool.take(&address)
        {
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
        self.exchange(Conn::new(address, stream), &head)
    }

    /// May it be sent twice?
    fn is_repeatable(&self) -> bool {
        self.method.is_idempotent() && matches!(self.payload, Payload::Bytes(_))
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
        conn.begin(self.client.timeout, self.due);
        // A server may answer before it has taken everything, and close: its answer counts.
        let sent = self.transmit(&mut conn, head);
        if let Err(e @ (Error::Aborted | Error::TimedOut)) = sent {
            return Err(e);
        }
        let mut answer = AnswerHead::default();
        let mut interim = 0;
        loop {
            if conn.inbox.take_answer(&mut answer, self.method)? {
                match answer.status {
                    200.. => break,
                    101 => return Err(Error::Malformed("protocol switched unasked")),
                    _ if interim == INTERIM => return Err(Error::Malformed("too many interim responses")),
                    _ => interim += 1, // 100 and its like
                }
                continue;
            }
            match conn.fill() {
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
                    if n > room {
                        return Err(Error::Aborted); // more than it was given room for
                    }
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
