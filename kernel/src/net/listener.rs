//! TCP for servers: [`TcpListener`].
//!
//! Accepting waits like reading does: a try under the stack's lock, then the listener's `PollDesc`. One goroutine
//! accepts at a time; others queue on `accepting`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{fmt, net::SocketAddr};

use super::{
    Error, ToAddr,
    conn::Conn,
    listen::search,
    poll::{Mode, PollDesc},
    stack,
    tcp::{TcpStream, at},
    turn::Turn,
};
use crate::{
    shim::{AtomicBool, Ordering},
    time::Instant,
};

/// What the handles of one listener share.
struct Listening {
    l: u32,
    pd: Arc<PollDesc>,
    at: SocketAddr,
    accepting: Turn,
    released: AtomicBool,
}

impl Listening {
    fn close(&self) -> Result<(), Error> {
        self.pd.close();
        stack::with(|s| {
            if self.released.swap(true, Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            s.unlisten(self.l);
            Ok(())
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// Accepts TCP connections. Clones are the same listener; dropping the last one closes it.
///
/// ```
/// use burrow::net::{Error, TcpListener};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let other = l.clone();
/// let h = burrow::spawn(move || other.accept().map(|_| ()));
/// l.close().unwrap();
/// assert_eq!(h.join().unwrap(), Err(Error::Closed));
/// ```
#[derive(Clone)]
pub struct TcpListener {
    inner: Arc<Listening>,
}

impl TcpListener {
    /// Listens at `at`; port 0 is one that is free, `":80"` all addresses.
    ///
    /// # Errors
    /// [`Error::AddrInUse`], [`Error::AddrNotAvailable`], [`Error::InvalidAddr`], [`Error::OutOfMemory`].
    ///
    /// ```
    /// use burrow::net::{Error, TcpListener};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// assert_ne!(l.local_addr().port(), 0);
    /// assert_eq!(TcpListener::bind(l.local_addr()).unwrap_err(), Error::AddrInUse);
    /// ```
    pub fn bind(at: impl ToAddr) -> Result<TcpListener, Error> {
        let at = at.to_addr()?; // may ask a name server
        let (l, pd, at) = search(|s| s.listen(at))?;
        let inner = Listening {
            l,
            pd,
            at,
            accepting: Turn::new(),
            released: AtomicBool::new(false),
        };
        // Without memory `inner` is dropped, which closes it.
        Ok(TcpListener {
            inner: Arc::try_new(inner)?,
        })
    }

    /// Waits for a connection; returns it and who opened it.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TimedOut`] once the deadline has passed; [`Error::OutOfMemory`]: a connection came and
    /// was closed, the next may do.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// let (served, peer) = l.accept().unwrap();
    /// assert_eq!((peer, served.local_addr()), (conn.local_addr(), l.local_addr()));
    /// ```
    pub fn accept(&self) -> Result<(TcpStream, SocketAddr), Error> {
        let _turn = self.inner.accepting.take();
        loop {
            self.inner.pd.check(Mode::Read)?;
            let got = stack::with(|s| match self.inner.released.load(Ordering::Relaxed) {
                true => Err(Error::Closed),
                false => Ok(s.accept(self.inner.l)),
            })?;
            if let Some((id, pd, tuple)) = got {
                return Ok((TcpStream::new(Conn::new(id, pd, tuple)?), tuple.remote));
            }
            self.inner.pd.wait(Mode::Read)?;
        }
    }

    /// The connections, one after the other, until the listener is closed or its deadline passes. One for which there is
    /// no memory is closed, and the next is waited for.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let server = l.clone();
    /// let h = burrow::spawn(move || {
    ///     for conn in server.incoming() {
    ///         burrow::go(move || conn.write_all(b"hello").unwrap());
    ///     }
    /// });
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// assert_eq!(conn.read_full(&mut [0; 5]), Ok(5));
    /// l.close().unwrap();
    /// h.join().unwrap();
    /// ```
    pub fn incoming(&self) -> impl Iterator<Item = TcpStream> + '_ {
        core::iter::from_fn(|| {
            loop {
                match self.accept() {
                    Ok((conn, _)) => return Some(conn),
                    Err(Error::OutOfMemory) => {} // that connection is gone
                    Err(_) => return None,
                }
            }
        })
    }

    /// `accept` fails with [`Error::TimedOut`] from `when` on.
    ///
    /// ```
    /// use burrow::{net::{Error, TcpListener}, time::Instant};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// l.set_deadline(Some(Instant::now()));
    /// assert_eq!(l.accept().unwrap_err(), Error::TimedOut);
    /// l.set_deadline(None);
    /// ```
    pub fn set_deadline(&self, when: Option<Instant>) {
        self.inner.pd.set_deadline(Mode::Read, at(when));
    }

    /// Where it listens.
    ///
    /// ```
    /// let l = burrow::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// assert!(l.local_addr().ip().is_loopback() && l.local_addr().port() != 0);
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.at
    }

    /// Stops listening: waiting calls fail with [`Error::Closed`], connections not accepted yet are reset.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({})", self.inner.at)
    }
}
