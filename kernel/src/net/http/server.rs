//! The server: accepts, starts a goroutine per connection, and shuts down.
//!
//! **Shutting down** takes three steps. (S1) `closing` is set, (S2) the listeners are closed, (S3) the read deadline of
//! every connection is moved to now, which wakes those that wait. A connection looks at `closing` after it has set its
//! own deadline and before it waits: if that was before S1, S3 comes after and wakes it. One that has work goes on: a
//! deadline that came too early is set again. Its response says `Connection: close`.
//!
//! **Too many connections** are not accepted: they wait in the listener's backlog, and beyond that their SYNs are
//! dropped, so clients try again by themselves. A 503 would cost a goroutine for each of those one has too many of.
//!
//! | field of `State` | meaning |
//! | --- | --- |
//! | `conns` | the connections being served, in slots that are used again |
//! | `drained` | closed when closing and no connection is left |
#![forbid(unsafe_code)]

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{Builder, Error, Request, ResponseWriter, conn, limits::Limits};
use crate::{
    Chan,
    chan::chan,
    context::{self, CancelFn, Context},
    net::{self, TcpListener, TcpStream, ToAddr},
    sched, select,
    sync::{Mutex, Semaphore},
    time::{self, Instant},
};

/// What answers requests: a closure, a [`Router`](super::Router), or what wraps one of them.
///
/// ```
/// use burrow::net::http::{Handler, Request, ResponseWriter};
/// /// Middleware is a function from handler to handler.
/// fn logged(inner: impl Handler) -> impl Handler {
///     move |w: &mut ResponseWriter, r: &mut Request| {
///         println!("{} {}", r.method(), r.path());
///         inner.handle(w, r);
///     }
/// }
/// let _handler = logged(|w: &mut ResponseWriter, _r: &mut Request| w.text("hello"));
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Called on the connection's goroutine; a panic is a response 500 and a line in the log.
    ///
    /// ```
    /// use burrow::net::http::{Handler, Request, ResponseWriter};
    /// struct Greeter(&'static str);
    /// impl Handler for Greeter {
    ///     fn handle(&self, w: &mut ResponseWriter, _: &mut Request) {
    ///         w.text(self.0);
    ///     }
    /// }
    /// # let answer = burrow::net::http::example::ask(Greeter("hello"), "GET /", "").unwrap();
    /// assert!(answer.ends_with("hello"), "{answer}");
    /// ```
    fn handle(&self, w: &mut ResponseWriter, r: &mut Request);
}

impl<F: Fn(&mut ResponseWriter, &mut Request) + Send + Sync + 'static> Handler for F {
    fn handle(&self, w: &mut ResponseWriter, r: &mut Request) {
        self(w, r);
    }
}

pub(super) struct Inner {
    pub(super) limits: Arc<Limits>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) log: Arc<dyn Fn(&str) + Send + Sync>,
    /// Of all requests' contexts.
    pub(super) base: Context,
    cancel: CancelFn,
    closing: AtomicBool,
    slots: Semaphore,
    /// Closed by S1.
    closed: Chan<()>,
    drained: Chan<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bound: Option<TcpListener>,
    listeners: Vec<TcpListener>,
    conns: Vec<Option<TcpStream>>,
    free: Vec<usize>,
}

impl Inner {
    /// Pairs with S1.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// An HTTP/1.1 server. Clones are the same server.
///
/// ```
/// use burrow::{context::Context, net::http::{Client, Server}};
/// let server = Server::bind("127.0.0.1:0", |w: &mut _, r: &mut _| answer(w, r)).unwrap();
/// # use burrow::net::http::{Request, ResponseWriter};
/// fn answer(w: &mut ResponseWriter, r: &mut Request) {
///     w.text(r.path());
/// }
/// let url = format!("http://{}/hi", server.local_addr().unwrap());
/// let s = server.clone();
/// let running = burrow::spawn(move || s.run());
/// assert_eq!(Client::new().get(&url).unwrap().text().unwrap(), "/hi");
/// server.shutdown(&Context::background()).unwrap();
/// running.join().unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

pub(super) fn new(
    limits: Limits,
    log: Arc<dyn Fn(&str) + Send + Sync>,
    handler: Arc<dyn Handler>,
    bound: Option<TcpListener>,
) -> Server {
    let (base, cancel) = Context::background().with_cancel();
    let inner = Inner {
        slots: Semaphore::new(limits.connections),
        limits: Arc::new(limits),
        handler,
        log,
        base,
        cancel,
        closing: AtomicBool::new(false),
        closed: chan(0),
        drained: chan(0),
        state: Mutex::new(State {
            bound,
            ..State::default()
        }),
    };
    Server {
        inner: Arc::new(inner),
    }
}

impl Server {
    /// A server with default limits that listens at `at`; [`run`](Self::run) serves.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, Server};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let server = Server::bind("127.0.0.1:0", hello).unwrap();
    /// println!("http://{}/", server.local_addr().unwrap());
    /// ```
    pub fn bind(at: impl ToAddr, handler: impl Handler) -> Result<Server, net::Error> {
        let listener = TcpListener::bind(at)?;
        Ok(Server::new(handler).with_listener(listener))
    }

    /// A server with default limits; [`serve`](Self::serve) takes its listener.
    ///
    /// ```
    /// # use burrow::net::{TcpListener, http::{Request, ResponseWriter, Server}};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let server = Server::new(hello);
    /// assert_eq!(server.local_addr(), None); // `serve` takes the listener
    /// ```
    pub fn new(handler: impl Handler) -> Server {
        let log = Arc::new(|line: &str| crate::eprintln!("{line}"));
        new(Limits::default(), log, Arc::new(handler), None)
    }

    /// Settings first.
    ///
    /// ```
    /// # use burrow::net::http::{Request, ResponseWriter, Server};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let server = Server::builder().max_connections(100).bind("127.0.0.1:0", hello).unwrap();
    /// assert!(server.local_addr().is_some());
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn with_listener(self, l: TcpListener) -> Server {
        self.inner.state.lock().bound = Some(l);
        self
    }

    /// Where it was bound.
    ///
    /// ```
    /// let server = burrow::net::http::Server::bind("127.0.0.1:0", burrow::net::http::Router::new()).unwrap();
    /// assert!(server.local_addr().unwrap().ip().is_loopback());
    /// ```
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let s = self.inner.state.lock();
        s.bound
            .as_ref()
            .or(s.listeners.first())
            .map(TcpListener::local_addr)
    }

    /// Connections being served now.
    ///
    /// ```
    /// let server = burrow::net::http::Server::bind("127.0.0.1:0", burrow::net::http::Router::new()).unwrap();
    /// assert_eq!(server.connections(), 0);
    /// ```
    pub fn connections(&self) -> usize {
        let s = self.inner.state.lock();
        s.conns.len() - s.free.len()
    }

    /// Serves where it was bound, until `shutdown` or `close`. Blocks.
    ///
    /// # Errors
    /// [`net::Error::InvalidAddr`] if it was not bound, or runs already.
    ///
    /// ```
    /// # use burrow::net::http::{Client, Request, ResponseWriter, Server};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let server = Server::bind("127.0.0.1:0", hello).unwrap();
    /// let url = format!("http://{}/", server.local_addr().unwrap());
    /// let running = burrow::spawn({
    ///     let server = server.clone();
    ///     move || server.run()
    /// });
    /// assert_eq!(Client::new().get(&url).unwrap().text().unwrap(), "hello");
    /// server.close();
    /// running.join().unwrap().unwrap();
    /// ```
    pub fn run(&self) -> Result<(), net::Error> {
        if self.inner.is_closing() {
            return Ok(());
        }
        let bound = self.inner.state.lock().bound.take();
        self.serve(bound.ok_or(net::Error::InvalidAddr)?)
    }

    /// Serves the connections of `listener` until `shutdown` or `close`, which also close it. Blocks; several listeners
    /// can be served at a time.
    ///
    /// # Errors
    /// The listener's, if somebody else closes it.
    ///
    /// ```
    /// # use burrow::net::{TcpListener, http::{Client, Request, ResponseWriter, Server}};
    /// fn hello(w: &mut ResponseWriter, _: &mut Request) {
    ///     w.text("hello");
    /// }
    /// let server = Server::new(hello);
    /// let urls = ["127.0.0.1:0", "[::1]:0"].map(|at| {
    ///     let (server, listener) = (server.clone(), TcpListener::bind(at).unwrap());
    ///     let url = format!("http://{}/", listener.local_addr());
    ///     burrow::go(move || server.serve(listener).unwrap());
    ///     url
    /// });
    /// for url in urls {
    ///     assert_eq!(Client::new().get(&url).unwrap().text().unwrap(), "hello");
    /// }
    /// server.close();
    /// ```
    pub fn serve(&self, listener: TcpListener) -> Result<(), net::Error> {
        let inner = &self.inner;
        {
            let mut s = inner.state.lock();
            if inner.is_closing() {
                return Ok(());
            }
            s.listeners.push(listener.clone());
        }
        let closed = inner.closed.receiver();
        while inner.slots.acquire_unless(1, &closed) {
            match listener.accept() {
                Ok((stream, _)) => self.start(stream),
                Err(e) => {
                    inner.slots.release(1);
                    match e {
                        _ if inner.is_closing() => break,
                        net::Error::OutOfMemory => time::sleep(Duration::from_millis(10)),
                        e => return Err(e),
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts a connection's goroutine; without memory for one, the connection is closed.
    fn start(&self, stream: TcpStream) {
        let Some(slot) = Slot::take(&self.inner, &stream) else {
            self.inner.slots.release(1);
            return;
        };
        // There may be no memory even for the name or the line: a panic here drops the connection, not the server.
        let _ = crate::recover(|| {
            let serve = move || conn::serve(&slot.inner, stream);
            if let Err(e) = sched::Builder::new().name("http").spawn(serve) {
                (self.inner.log)(&alloc::format!("http: connection dropped: {e}"));
            }
        });
    }

    /// Stops gracefully: accepts nothing more, closes idle connections, waits for the others to finish their responses
    /// until `ctx` ends, then closes them. A request that has begun is served to its end.
    ///
    /// # Errors
    /// Why `ctx` ended, if connections had to be closed.
    ///
    /// ```
    /// use burrow::{context::Context, net::http::{Router, Server}, time::Duration};
    /// let server = Server::bind("127.0.0.1:0", Router::new()).unwrap();
    /// let running = burrow::spawn({
    ///     let server = server.clone();
    ///     move || server.run()
    /// });
    /// let (ctx, _cancel) = Context::background().with_timeout(Duration::from_secs(10));
    /// server.shutdown(&ctx).unwrap();
    /// running.join().unwrap().unwrap();
    /// ```
    pub fn shutdown(&self, ctx: &Context) -> Result<(), context::Error> {
        if self.begin_close() {
            // S1 and S2 were done here. Once: a second look-up in a row would mean that the client is gone.
            for c in self.streams() {
                c.set_read_deadline(Some(Instant::now())); // S3
            }
        }
        let drained = self.inner.drained.receiver();
        select! {
            recv(drained) => Ok(()),
            recv(ctx.done()) => {
                if drained.try_recv().is_err_and(|e| e == crate::TryRecvError::Closed) {
                    return Ok(());
                }
                self.close();
                Err(ctx.err().unwrap_or(context::Canceled))
            },
        }
    }

    /// Stops at once: closes listeners and connections, and cancels the contexts of requests.
    ///
    /// ```
    /// use burrow::net::http::{Router, Server};
    /// let server = Server::bind("127.0.0.1:0", Router::new()).unwrap();
    /// server.close();
    /// server.run().unwrap(); // returns at once
    /// ```
    pub fn close(&self) {
        self.begin_close();
        for c in self.streams() {
            let _ = c.close();
        }
        (self.inner.cancel)();
    }

    fn streams(&self) -> Vec<TcpStream> {
        let s = self.inner.state.lock();
        s.conns.iter().flatten().cloned().collect()
    }

    /// S1 and S2; was this the first time?
    fn begin_close(&self) -> bool {
        let mut s = self.inner.state.lock();
        let first = !self.inner.closing.swap(true, Ordering::AcqRel);
        if first {
            self.inner.closed.close();
            if s.conns.len() == s.free.len() {
                self.inner.drained.close();
            }
        }
        s.bound = None;
        for l in s.listeners.drain(..) {
            let _ = l.close();
        }
        first
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.inner.state.lock();
        let at: Vec<String> = s
            .listeners
            .iter()
            .map(|l| alloc::format!("{}", l.local_addr()))
            .collect();
        write!(f, "Server({at:?}, {} connections)", s.conns.len() - s.free.len())
    }
}

/// A connection's place in the server's list; gives it back, also when the connection's goroutine unwinds.
struct Slot {
    inner: Arc<Inner>,
    at: usize,
}

impl Slot {
    fn take(inner: &Arc<Inner>, stream: &TcpStream) -> Option<Slot> {
        let mut s = inner.state.lock();
        if inner.is_closing() {
            return None;
        }
        let at = match s.free.pop() {
            Some(at) => at,
            None => {
                s.conns.try_reserve(1).ok()?;
                let room = s.conns.len() + 1;
                let spare = room - s.free.len();
                s.free.try_reserve(spare).ok()?; // giving back needs no memory
                s.conns.push(None);
                s.conns.len() - 1
            }
        };
        s.conns[at] = Some(stream.clone());
        drop(s);
        Some(Slot {
            inner: inner.clone(),
            at,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut s = self.inner.state.lock();
        s.conns[self.at] = None;
        s.free.push(self.at);
        let last = s.conns.len() == s.free.len() && self.inner.is_closing();
        drop(s);
        self.inner.slots.release(1);
        if last {
            self.inner.drained.close();
        }
    }
}

impl From<Error> for net::Error {
    fn from(e: Error) -> net::Error {
        match e {
            Error::Net(e) => e,
            Error::TimedOut => net::Error::TimedOut,
            _ => net::Error::Reset,
        }
    }
}
