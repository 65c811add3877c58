//! The client: its settings, and where requests begin. (`exchange` sends them, `pool` keeps connections.)
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{fmt, time::Duration};

use super::{
    Error, Method, Response,
    exchange::RequestBuilder,
    pool::{self, Pool},
};

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
    pub(super) pool: Arc<Pool>,
    pub(super) timeout: Duration,
    pub(super) redirects: usize,
    pub(super) max_body: u64,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            pool: Pool::new(),
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

    /// How many idle connections are kept for later requests (32); beyond that the one that was idle longest goes. 0: every
    /// request has a connection of its own. Holds for all clones.
    #[must_use]
    pub fn max_idle(self, connections: usize) -> Client {
        self.pool.set(|l| l.most = connections);
        self
    }

    /// How long an idle connection is kept (60 s). Holds for all clones.
    #[must_use]
    pub fn idle_timeout(self, limit: Duration) -> Client {
        self.pool.set(|l| l.idle_for = limit.min(pool::LONGEST));
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
        RequestBuilder::new(self, method, url)
    }

    /// Idle connections now.
    pub fn idle_connections(&self) -> usize {
        self.pool.len()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} idle connections)", self.idle_connections())
    }
}
