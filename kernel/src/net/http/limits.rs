//! The limits of a server: each has a default that suits the open network, and a setter.
//!
//! | limit | default | what a client sees beyond it |
//! | --- | --- | --- |
//! | `header_bytes` | 16 KiB | 431 |
//! | `max_headers` | 100 | 431 |
//! | `max_uri` | 8 KiB | 414 |
//! | `max_body` | 16 MiB | 413 |
//! | `header_timeout` | 10 s from the first byte (or the connection) to the whole head | 408; without a byte, the end |
//! | `body_timeout` | 300 s from the head to the end of the body | 408 |
//! | `idle_timeout` | 120 s between requests | the end |
//! | `write_timeout` | 30 s without taking a byte of the response | reset |
//! | `max_connections` | 16,384 | it waits to be accepted (the listener's backlog) |
#![forbid(unsafe_code)]

use alloc::{string::String, sync::Arc};
use core::{fmt, time::Duration};

use super::{Handler, Server, head::MAX_HEADERS, server};
use crate::net::{self, TcpListener, ToAddr};

/// See the file head.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) header_bytes: usize,
    pub(super) headers: usize,
    pub(super) uri: usize,
    pub(super) body: u64,
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 16 << 10,
            headers: 100,
            uri: 8 << 10,
            body: 16 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            connections: 16_384,
        }
    }
}

/// A setting that makes no sense; says which.
///
/// ```
/// use burrow::net::http::Server;
/// let e = Server::builder().max_connections(0).build(|_w, _r| {}).unwrap_err();
/// assert_eq!(e.to_string(), "http: max_connections: at least 1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError(&'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http: {}", self.0)
    }
}

impl core::error::Error for ConfigError {}

type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Settings of a [`Server`]: begins at [`Server::builder`].
///
/// ```
/// use burrow::{net::http::Server, time::Duration};
/// let server = Server::builder()
///     .max_body(1 << 20)
///     .idle_timeout(Duration::from_secs(30))
///     .build(|w, _r| w.text("hello"))
///     .unwrap();
/// assert!(Server::builder().max_headers(1000).build(|_w, _r| {}).is_err());
/// # drop(server);
/// ```
#[derive(Default)]
pub struct Builder {
    limits: Limits,
    log: Option<Log>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident: $t:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, value: $t) -> Self {
            self.limits.$field = value;
            self
        }
    )*};
}

impl Builder {
    setters! {
        /// Bytes of a request's line and headers together (64 to 1 MiB; 16 KiB).
        ///
        /// ```
        /// use burrow::net::http::Server;
        /// assert!(Server::builder().header_bytes(4096).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().header_bytes(1).build(|_w, _r| {}).is_err());
        /// ```
        header_bytes: header_bytes: usize;
        /// Headers of a request (1 to 128; 100).
        ///
        /// ```
        /// use burrow::net::http::Server;
        /// assert!(Server::builder().max_headers(20).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().max_headers(1000).build(|_w, _r| {}).is_err());
        /// ```
        max_headers: headers: usize;
        /// Bytes of a request's target (16 to 1 MiB; 8 KiB).
        ///
        /// ```
        /// use burrow::net::http::Server;
        /// assert!(Server::builder().max_uri(1024).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().max_uri(1).build(|_w, _r| {}).is_err());
        /// ```
        max_uri: uri: usize;
        /// Bytes of a request's body (16 MiB). [`Request::limit_body`](super::Request::limit_body) lowers it for one.
        ///
        /// ```
        /// use burrow::net::http::Server;
        /// assert!(Server::builder().max_body(1 << 20).build(|_w, _r| {}).is_ok());
        /// ```
        max_body: body: u64;
        /// From a request's first byte, or a new connection, to the end of its headers (10 s).
        ///
        /// ```
        /// use burrow::{net::http::Server, time::Duration};
        /// assert!(Server::builder().header_timeout(Duration::from_secs(5)).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().header_timeout(Duration::ZERO).build(|_w, _r| {}).is_err());
        /// ```
        header_timeout: header_timeout: Duration;
        /// From the end of the headers to the end of the body (300 s).
        ///
        /// ```
        /// use burrow::{net::http::Server, time::Duration};
        /// assert!(Server::builder().body_timeout(Duration::from_secs(60)).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().body_timeout(Duration::ZERO).build(|_w, _r| {}).is_err());
        /// ```
        body_timeout: body_timeout: Duration;
        /// Between requests (120 s).
        ///
        /// ```
        /// use burrow::{net::http::Server, time::Duration};
        /// assert!(Server::builder().idle_timeout(Duration::from_secs(30)).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().idle_timeout(Duration::ZERO).build(|_w, _r| {}).is_err());
        /// ```
        idle_timeout: idle_timeout: Duration;
        /// How long a client may not take a byte of the response (30 s).
        ///
        /// ```
        /// use burrow::{net::http::Server, time::Duration};
        /// assert!(Server::builder().write_timeout(Duration::from_secs(10)).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().write_timeout(Duration::ZERO).build(|_w, _r| {}).is_err());
        /// ```
        write_timeout: write_timeout: Duration;
        /// Connections at a time; more wait in the listener's backlog (16,384).
        ///
        /// ```
        /// use burrow::net::http::Server;
        /// assert!(Server::builder().max_connections(1000).build(|_w, _r| {}).is_ok());
        /// assert!(Server::builder().max_connections(0).build(|_w, _r| {}).is_err());
        /// ```
        max_connections: connections: usize;
    }

    /// Where the server reports panics of handlers; the console if not set. Called on the connection's goroutine.
    ///
    /// ```
    /// use burrow::net::http::Server;
    /// let server = Server::builder().log(|line| println!("my server: {line}")).build(|w, _r| w.text("hello"));
    /// assert!(server.is_ok());
    /// ```
    #[must_use]
    pub fn log(mut self, f: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(f));
        self
    }

    /// A server without a listener: [`Server::serve`] takes one.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting makes no sense.
    ///
    /// ```
    /// use burrow::net::http::Server;
    /// let server = Server::builder().build(|w, r| w.text(r.path())).unwrap();
    /// assert_eq!(server.local_addr(), None);
    /// ```
    pub fn build<H: Fn(&mut super::ResponseWriter, &mut super::Request) + Send + Sync + 'static>(
        self,
        handler: H,
    ) -> Result<Server, ConfigError> {
        self.build_handler(handler)
    }

    /// As [`build`](Self::build), for a [`Handler`] that is no closure, such as a [`Router`](super::Router).
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::http::{Router, Server};
    /// assert!(Server::builder().build_handler(Router::new()).is_ok());
    /// ```
    pub fn build_handler(self, handler: impl Handler) -> Result<Server, ConfigError> {
        self.check()?;
        let log = self
            .log
            .unwrap_or_else(|| Arc::new(|line| crate::eprintln!("{line}")));
        Ok(server::new(self.limits, log, Arc::new(handler), None))
    }

    /// A server that listens at `at`: [`Server::run`] serves there.
    ///
    /// # Errors
    /// What is wrong with a setting, or with `at`.
    ///
    /// ```
    /// use burrow::net::http::{Router, Server};
    /// let server = Server::builder().bind("127.0.0.1:0", Router::new()).unwrap();
    /// assert!(server.local_addr().is_some());
    /// assert!(Server::builder().max_connections(0).bind("127.0.0.1:0", Router::new()).is_err());
    /// ```
    pub fn bind(self, at: impl ToAddr, handler: impl Handler) -> Result<Server, String> {
        let text = |e: &dyn fmt::Display| alloc::format!("{e}");
        let server = self.build_handler(handler).map_err(|e| text(&e))?;
        let listener = TcpListener::bind(at).map_err(|e: net::Error| text(&e))?;
        Ok(server.with_listener(listener))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let l = &self.limits;
        let times = [l.header_timeout, l.body_timeout, l.idle_timeout, l.write_timeout];
        let e = if !(64..=1 << 20).contains(&l.header_bytes) {
            "header_bytes: 64 to 1048576"
        } else if !(1..=MAX_HEADERS).contains(&l.headers) {
            "max_headers: 1 to 128"
        } else if !(16..=1 << 20).contains(&l.uri) {
            "max_uri: 16 to 1048576"
        } else if l.connections == 0 {
            "max_connections: at least 1"
        } else if times
            .iter()
            .any(|t| t.is_zero() || *t > Duration::from_secs(1 << 32))
        {
            "a timeout: more than zero, less than a century"
        } else {
            return Ok(());
        };
        Err(ConfigError(e))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limits.fmt(f)
    }
}
