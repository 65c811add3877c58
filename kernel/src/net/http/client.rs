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
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| w.text(r.path()));
    /// # let url = server.url();
    /// let client = Client::new(); // one for many requests
    /// assert_eq!(client.get(url).unwrap().text().unwrap(), "/");
    /// assert_eq!(client.idle_connections(), 1); // for the next one
    /// ```
    pub fn new() -> Client {
        Client::default()
    }

    /// How long the server may be silent: while connecting, before its response, within it, and in taking the request
    /// (30 s). [`RequestBuilder::deadline`] limits the whole.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| _ = (w, r.context().done().recv()));
    /// # let url = server.url();
    /// use burrow::{net::http::Error, time::Duration};
    /// let client = Client::new().timeout(Duration::from_millis(10));
    /// assert_eq!(client.get(url).unwrap_err(), Error::TimedOut); // this server says nothing
    /// ```
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Client {
        self.timeout = limit.max(Duration::from_millis(1));
        self
    }

    /// How many redirects are followed (10). With 0 the redirect itself is the response.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| match r.path() { "/" => w.redirect(303, "/there"), path => w.text(path) });
    /// # let url = server.url();
    /// assert_eq!(Client::new().get(url).unwrap().text().unwrap(), "/there");
    /// assert_eq!(Client::new().redirects(0).get(url).unwrap().status(), 303);
    /// ```
    #[must_use]
    pub fn redirects(mut self, most: usize) -> Client {
        self.redirects = most;
        self
    }

    /// What [`Response::bytes`] and [`Response::text`] read at most (16 MiB).
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// use burrow::net::http::Error;
    /// assert_eq!(Client::new().max_body(3).get(url).unwrap().text(), Err(Error::BodyTooLarge));
    /// ```
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Client {
        self.max_body = bytes;
        self
    }

    /// How many idle connections are kept for later requests (32); beyond that the one that was idle longest goes. 0: every
    /// request has a connection of its own. Holds for all clones.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { _ = r; w.text("hello") });
    /// # let url = server.url();
    /// let client = Client::new().max_idle(0);
    /// client.get(url).unwrap().text().unwrap();
    /// assert_eq!(client.idle_connections(), 0);
    /// ```
    #[must_use]
    pub fn max_idle(self, connections: usize) -> Client {
        self.pool.set(|l| l.most = connections);
        self
    }

    /// How long an idle connection is kept (60 s). Holds for all clones.
    ///
    /// ```
    /// use burrow::{net::http::Client, time::Duration};
    /// let client = Client::new().idle_timeout(Duration::from_secs(5)); // less than the servers'
    /// assert_eq!(client.idle_connections(), 0);
    /// ```
    #[must_use]
    pub fn idle_timeout(self, limit: Duration) -> Client {
        self.pool.set(|l| l.idle_for = limit.min(pool::LONGEST));
        self
    }

    /// `GET url`.
    ///
    /// # Errors
    /// See [`RequestBuilder::send`].
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| w.status(404).text(r.path()));
    /// # let url = server.url();
    /// let mut answer = Client::new().get(&format!("{url}/nowhere")).unwrap();
    /// assert_eq!((answer.status(), answer.text().unwrap().as_str()), (404, "/nowhere"));
    /// ```
    pub fn get(&self, url: &str) -> Result<Response, Error> {
        self.request(Method::Get, url).send()
    }

    /// `POST url` with a body of this type.
    ///
    /// # Errors
    /// See [`RequestBuilder::send`].
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| { let body = r.read_to_end().unwrap(); _ = w.write(&body) });
    /// # let url = server.url();
    /// let mut answer = Client::new().post(url, "application/json", b"[1]").unwrap();
    /// assert_eq!(answer.bytes().unwrap(), b"[1]");
    /// ```
    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        self.request(Method::Post, url)
            .header("Content-Type", content_type)
            .body(body)
            .send()
    }

    /// Any request; `url` is `http://host[:port]/path?query`.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| w.text(r.method().as_str()));
    /// # let url = server.url();
    /// use burrow::net::http::Method;
    /// let mut answer = Client::new().request(Method::Delete, url).send().unwrap();
    /// assert_eq!(answer.text().unwrap(), "DELETE");
    /// ```
    pub fn request<'a>(&'a self, method: Method, url: &'a str) -> RequestBuilder<'a> {
        RequestBuilder::new(self, method, url)
    }

    /// Idle connections now.
    ///
    /// ```
    /// use burrow::net::http::Client;
    /// # use burrow::net::http::{Request, ResponseWriter, example::serve};
    /// # let server = serve(|w: &mut ResponseWriter, r: &mut Request| w.text(r.path()));
    /// # let url = server.url();
    /// let client = Client::new();
    /// client.get(url).unwrap().text().unwrap(); // read to its end
    /// assert_eq!(client.idle_connections(), 1);
    /// ```
    pub fn idle_connections(&self) -> usize {
        self.pool.len()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} idle connections)", self.idle_connections())
    }
}
