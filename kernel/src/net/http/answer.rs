//! What a client gets: status, headers, and a body that is read from the socket as it is asked for.
#![forbid(unsafe_code)]

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, mem::MaybeUninit};

use super::{
    Error, Headers, Method,
    head::{Framing, MAX_HEADERS, decimal},
    inbox::Body,
    pool::{Conn, Pool},
    status,
    wire::Stop,
};

/// A response's head.
#[derive(Debug, Default)]
pub(super) struct AnswerHead {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

impl AnswerHead {
    /// Reads a head at the beginning of `buf`: its length, or `None` if it is not all there.
    #[inline(never)] // its array of headers is not on the stack of a goroutine that waits
    pub(super) fn parse(&mut self, buf: &[u8], method: Method) -> Result<Option<usize>, Error> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            buf,
            &mut headers,
        );
        let len = match parsed {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Error::HeadTooLarge),
            Err(_) => return Err(Error::Malformed("response head")),
        };
        self.status = response.code.unwrap_or(0);
        let minor = response.version.unwrap_or(0);
        self.headers.clear();
        let mut length = None;
        for h in response.headers.iter() {
            let value = h.value.trim_ascii();
            self.headers.push(h.name.as_bytes(), value);
            if h.name.eq_ignore_ascii_case("content-length") {
                let n = decimal(value).ok_or(Error::Malformed("Content-Length"))?;
                if length.replace(n).is_some_and(|before| before != n) {
                    return Err(Error::Malformed("contradicting Content-Length"));
                }
            }
        }
        let mut encodings = self.headers.get_all("transfer-encoding");
        let (encoding, several) = (encodings.next(), encodings.next().is_some());
        self.framing = if method == Method::Head || status::is_bodyless(self.status) {
            Framing::Empty
        } else if let Some(e) = encoding {
            if length.is_some() || several || !e.eq_ignore_ascii_case("chunked") {
                return Err(Error::Malformed("Transfer-Encoding"));
            }
            Framing::Chunked
        } else {
            length.map_or(Framing::Close, Framing::Length)
        };
        let says = |word| self.headers.has_word("connection", word);
        self.keep_alive =
            !says("close") && (minor == 1 || says("keep-alive")) && self.framing != Framing::Close;
        Ok(Some(len))
    }
}

/// A response, as [`Client`](super::Client) returns it: the head is here, the body is read on demand. When it was read
/// to its end, the connection is used again; dropping the response before closes it.
///
/// ```
/// # use burrow::net::http::{Client, Server, Request, ResponseWriter};
/// # let server = Server::bind("127.0.0.1:0", |w: &mut ResponseWriter, _: &mut Request| w.text("12345")).unwrap();
/// # let (s, url) = (server.clone(), format!("http://{}/", server.local_addr().unwrap()));
/// # burrow::go(move || s.run().unwrap());
/// let mut answer = Client::new().get(&url).unwrap();
/// assert_eq!(answer.header("Content-Length"), Some("5"));
/// let mut buf = [0; 3];
/// assert_eq!((answer.read(&mut buf), &buf), (Ok(3), b"123"));
/// assert_eq!(answer.text().unwrap(), "45");
/// # server.close();
/// ```
pub struct Response {
    pub(super) head: AnswerHead,
    pub(super) body: Body,
    pub(super) conn: Option<Conn>,
    pub(super) pool: Arc<Pool>,
    pub(super) max_body: u64,
}

impl Response {
    /// The status code.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let answer = Client::new().get(url).unwrap();
    /// assert_eq!(answer.status(), 200);
    /// ```
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Is the status 200 to 299?
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let answer = Client::new().get(url).unwrap();
    /// assert!(answer.is_success());
    /// ```
    pub fn is_success(&self) -> bool {
        self.head.status / 100 == 2
    }

    /// The first value of a header.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let answer = Client::new().get(url).unwrap();
    /// assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)
    }

    /// All headers.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let answer = Client::new().get(url).unwrap();
    /// assert!(answer.headers().contains("date"));
    /// ```
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// Bytes of the body, if the server said.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let answer = Client::new().get(url).unwrap();
    /// assert_eq!(answer.content_length(), Some(5));
    /// ```
    pub fn content_length(&self) -> Option<u64> {
        match self.head.framing {
            Framing::Empty => Some(0),
            Framing::Length(n) => Some(n),
            _ => None,
        }
    }

    /// Reads some of the body, at least a byte; 0 at its end. Blocks.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::UnexpectedEnd`], [`Error::Malformed`], or the connection's failure.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let mut answer = Client::new().get(url).unwrap();
    /// let (mut buf, mut sum) = ([0; 2], 0);
    /// loop {
    ///     match answer.read(&mut buf).unwrap() {
    ///         0 => break,
    ///         n => sum += n,
    ///     }
    /// }
    /// assert_eq!(sum, 5);
    /// ```
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let r = self.read_some(buf);
        if r.is_err() {
            self.conn = None;
        }
        if self.body.is_done()
            && let Some(conn) = self.conn.take()
            && self.head.keep_alive
        {
            self.pool.put(conn);
        }
        r
    }

    fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.body.is_done() || buf.is_empty() {
                return Ok(0);
            }
            let c = self.conn.as_mut().ok_or(Error::UnexpectedEnd)?;
            let n = c.inbox.take_body(&mut self.body, buf)?;
            if n > 0 || self.body.is_done() {
                return Ok(n);
            }
            c.inbox.enlarge();
            match c.fill() {
                Ok(0) if matches!(self.body, Body::Close) => self.body = Body::Done,
                Ok(0) => return Err(Error::UnexpectedEnd),
                Ok(_) | Err(Stop::Look) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// What is left of the body.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`] beyond the client's `max_body`, else as [`read`](Self::read).
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let mut answer = Client::new().get(url).unwrap();
    /// assert_eq!(answer.read(&mut [0; 2]), Ok(2));
    /// assert_eq!(answer.bytes().unwrap(), b"llo");
    /// ```
    pub fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        if matches!(self.body, Body::Length(n) if n > self.max_body) {
            self.conn = None;
            return Err(Error::BodyTooLarge);
        }
        let mut out = Vec::new();
        let mut buf = [0; 2048];
        loop {
            match self.read(&mut buf)? {
                0 => return Ok(out),
                n if (out.len() + n) as u64 > self.max_body => {
                    self.conn = None; // what follows would be taken for the next response
                    return Err(Error::BodyTooLarge);
                }
                n => {
                    out.try_reserve(n).map_err(|_| Error::BodyTooLarge)?;
                    out.extend_from_slice(&buf[..n]);
                }
            }
        }
    }

    /// What is left of the body, as text.
    ///
    /// # Errors
    /// [`Error::NotText`], else as [`bytes`](Self::bytes).
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; _ = w.write(b"J\xfcrgen") });
    /// # let url = server.url();
    /// let mut answer = Client::new().get(url).unwrap();
    /// assert_eq!(answer.text(), Err(burrow::net::http::Error::NotText)); // Latin-1
    /// ```
    pub fn text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?).map_err(|_| Error::NotText)
    }
}

impl embedded_io::ErrorType for Response {
    type Error = Error;
}

impl embedded_io::Read for Response {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        Response::read(self, buf)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status(), self.head.headers)
    }
}
