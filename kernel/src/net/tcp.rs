//! TCP for programs: [`TcpStream`]. (`conn` has where its calls block, `listener` who accepts, `halves` its two halves.)
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::net::SocketAddr;

use super::{Error, ReadHalf, ToAddr, WriteHalf, conn::Conn, poll::Mode, stack::Stack};
use crate::time::{Duration, Instant, Timer, deadline};

/// Of packets, unless told otherwise.
pub(super) const TTL: u8 = 64;

/// Which half to shut down.
///
/// ```
/// use burrow::net::{Error, Shutdown, TcpListener, TcpStream};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let a = TcpStream::connect(l.local_addr()).unwrap();
/// a.shutdown(Shutdown::Both).unwrap();
/// assert_eq!(a.read(&mut [0]), Ok(0));
/// assert_eq!(a.write(b"x"), Err(Error::BrokenPipe));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Reads return 0 from now on.
    Read,
    /// The peer reads to the end of what was written, then 0.
    Write,
    /// Both.
    Both,
}

/// A deadline as the descriptor wants it.
pub(super) fn at(when: Option<Instant>) -> Option<u64> {
    when.map(Instant::as_nanos)
}

/// A TCP connection. Reads and writes block the goroutine, nothing else. Clones are the same connection; dropping the
/// last one closes it without blocking: what was written is still sent.
///
/// ```
/// use burrow::net::{TcpListener, TcpStream};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let addr = l.local_addr();
/// burrow::go(move || {
///     let (conn, _peer) = l.accept().unwrap();
///     conn.write_all(b"hello").unwrap();
/// });
/// let conn = TcpStream::connect(addr).unwrap();
/// let mut text = Vec::new();
/// conn.read_to_end(&mut text).unwrap();
/// assert_eq!(text, b"hello");
/// ```
#[derive(Clone, Debug)]
pub struct TcpStream {
    conn: Arc<Conn>,
}

impl TcpStream {
    pub(super) fn new(conn: Arc<Conn>) -> Self {
        Self { conn }
    }

    /// Opens a connection; waits until it is open or refused. The addresses of a host are tried in turn.
    ///
    /// # Errors
    /// [`Error::Refused`] if nobody listens there, [`Error::Unreachable`], [`Error::TimedOut`] after two minutes,
    /// [`Error::OutOfMemory`], …
    ///
    /// ```
    /// use burrow::net::{Error, TcpStream};
    /// assert_eq!(TcpStream::connect("127.0.0.1:1").unwrap_err(), Error::Refused);
    /// ```
    pub fn connect(to: impl ToAddr) -> Result<TcpStream, Error> {
        Self::connect_any(&to.to_addrs()?, None)
    }

    /// As [`connect`](Self::connect), for at most `limit`, looking up the name included.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or as there.
    ///
    /// ```
    /// use burrow::{net::{TcpListener, TcpStream}, time::Duration};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// TcpStream::connect_timeout(l.local_addr(), Duration::from_secs(10)).unwrap();
    /// ```
    pub fn connect_timeout(to: impl ToAddr, limit: Duration) -> Result<TcpStream, Error> {
        let until = deadline(limit);
        Self::connect_any(&to.to_addrs_within(limit)?, Some(until))
    }

    /// Tries the addresses of a host in turn; what the first said counts if none is right.
    fn connect_any(all: &[SocketAddr], until: Option<u64>) -> Result<TcpStream, Error> {
        let mut why = None;
        for &to in all {
            match Conn::open(to, until) {
                Err(e) => _ = why.get_or_insert(e),
                Ok(conn) => return Ok(TcpStream { conn }),
            }
        }
        Err(why.unwrap_or(Error::NoSuchHost))
    }

    /// Reads what is there, at least one byte; 0 is the end of the stream (or an empty `buf`).
    ///
    /// # Errors
    /// [`Error::TimedOut`] once the read deadline has passed, [`Error::Reset`], [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// a.write_all(b"hello").unwrap();
    /// assert_eq!(b.read(&mut [0; 2]), Ok(2));
    /// assert_eq!(b.read(&mut [0; 16]), Ok(3));
    /// drop(a);
    /// assert_eq!(b.read(&mut [0; 16]), Ok(0)); // the end
    /// ```
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.conn.read(buf)
    }

    /// As [`read`](Self::read), but what was read stays the next to be read.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// conn.write_all(b"GET /").unwrap();
    /// let (server, _) = l.accept().unwrap();
    /// let mut word = [0; 3];
    /// assert_eq!((server.peek(&mut word), &word), (Ok(3), b"GET"));
    /// let mut all = [0; 8];
    /// assert_eq!(server.read(&mut all), Ok(5));
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.conn.receive(buf, Stack::peek)
    }

    /// Reads until `buf` is full or the stream ends; returns how much there was.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// a.write_all(b"length").unwrap();
    /// a.write_all(b"+body").unwrap();
    /// drop(a);
    /// assert_eq!(b.read_full(&mut [0; 8]), Ok(8));
    /// assert_eq!(b.read_full(&mut [0; 8]), Ok(3)); // that was all
    /// ```
    pub fn read_full(&self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut n = 0;
        while n < buf.len() {
            match self.conn.read(&mut buf[n..])? {
                0 => break,
                more => n += more,
            }
        }
        Ok(n)
    }

    /// Appends everything up to the end of the stream to `out`.
    ///
    /// # Errors
    /// As [`read`](Self::read), or [`Error::OutOfMemory`]; what was read before is in `out`.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// a.write_all(b"hello").unwrap();
    /// drop(a);
    /// let mut text = b"> ".to_vec();
    /// assert_eq!(b.read_to_end(&mut text), Ok(5));
    /// assert_eq!(text, b"> hello");
    /// ```
    pub fn read_to_end(&self, out: &mut alloc::vec::Vec<u8>) -> Result<usize, Error> {
        let mut buf = [0; 1024];
        let begin = out.len();
        loop {
            out.try_reserve(buf.len()).map_err(|_| Error::OutOfMemory)?;
            match self.conn.read(&mut buf)? {
                0 => return Ok(out.len() - begin),
                n => out.extend_from_slice(&buf[..n]),
            }
        }
    }

    /// Writes some of `buf`, at least one byte.
    ///
    /// # Errors
    /// [`Error::TimedOut`] once the write deadline has passed, [`Error::BrokenPipe`] after `shutdown`, [`Error::Reset`].
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// let sent = a.write(&[0; 100_000]).unwrap(); // as much as the buffer takes
    /// assert!((1..100_000).contains(&sent));
    /// drop(b);
    /// ```
    pub fn write(&self, buf: &[u8]) -> Result<usize, Error> {
        self.conn.write(buf)
    }

    /// Writes all of `buf`; nobody else's write comes in between.
    ///
    /// # Errors
    /// As [`write`](Self::write); some of it may have been written.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// let reader = burrow::spawn(move || b.read_to_end(&mut Vec::new()));
    /// a.write_all(&[0; 100_000]).unwrap();
    /// drop(a);
    /// assert_eq!(reader.join().unwrap(), Ok(100_000));
    /// ```
    pub fn write_all(&self, buf: &[u8]) -> Result<(), Error> {
        self.conn.write_all(buf)
    }

    /// Shuts down one half or both; the handle stays.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Shutdown, TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// a.shutdown(Shutdown::Write).unwrap(); // that was the question
    /// assert_eq!(b.read(&mut [0]), Ok(0));
    /// b.write_all(b"answer").unwrap();
    /// assert_eq!(a.read(&mut [0; 16]), Ok(6));
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        self.conn.shutdown(how)
    }

    /// Closes the connection for all handles: their calls, also those that wait, fail with [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed.
    ///
    /// ```
    /// use burrow::net::{Error, TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let reading = a.clone();
    /// let h = burrow::spawn(move || reading.read(&mut [0]));
    /// a.close().unwrap();
    /// assert_eq!(h.join().unwrap(), Err(Error::Closed));
    /// ```
    pub fn close(&self) -> Result<(), Error> {
        self.conn.close()
    }

    /// As [`close`](Self::close), but the peer sees the connection break, whatever was written before.
    pub(super) fn abort(&self) {
        self.conn.abort();
    }

    /// `t`, a timer that starts a goroutine, fires when the peer has ended the connection and nothing of what it sent is
    /// unread, or when the connection breaks; soon, if that is so now. Nobody needs to read for that. Must hold nothing
    /// whose drop takes a lock: the connection may outlive its handles.
    pub(super) fn watch(&self, t: Timer) {
        let _ = self.conn.with(|s, id| {
            s.watch(id, t);
            Ok(())
        });
    }

    /// Open, with nothing to read.
    pub(super) fn is_idle(&self) -> bool {
        self.conn
            .with(|s, id| Ok(s.sock(id).tcp().may_recv() && !s.sock(id).tcp().can_recv()))
            .unwrap_or(false)
    }

    /// Reads fail with [`Error::TimedOut`] from `when` on; those that wait are woken. `None`: never.
    ///
    /// ```
    /// use burrow::{net::{Error, TcpListener, TcpStream}, time::Instant};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// a.set_read_deadline(Some(Instant::now()));
    /// assert_eq!(a.read(&mut [0]), Err(Error::TimedOut));
    /// assert_eq!(a.write(b"x"), Ok(1)); // writes have their own
    /// ```
    pub fn set_read_deadline(&self, when: Option<Instant>) {
        self.conn.pd.set_deadline(Mode::Read, at(when));
    }

    /// The same for writes.
    ///
    /// ```
    /// use burrow::{net::{Error, TcpListener, TcpStream}, time::Instant};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// a.set_write_deadline(Some(Instant::now()));
    /// assert_eq!(a.write(b"x"), Err(Error::TimedOut));
    /// a.set_write_deadline(None);
    /// assert_eq!(a.write(b"x"), Ok(1));
    /// ```
    pub fn set_write_deadline(&self, when: Option<Instant>) {
        self.conn.pd.set_deadline(Mode::Write, at(when));
    }

    /// Both deadlines.
    ///
    /// ```
    /// use burrow::{net::{Error, TcpListener, TcpStream}, time::Instant};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// a.set_deadline(Some(Instant::now()));
    /// assert_eq!(a.read(&mut [0]), Err(Error::TimedOut));
    /// assert_eq!(a.write(b"x"), Err(Error::TimedOut));
    /// ```
    pub fn set_deadline(&self, when: Option<Instant>) {
        self.set_read_deadline(when);
        self.set_write_deadline(when);
    }

    /// `true` (as it is at first): small writes are sent at once. `false`: they wait for the answer to those before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// a.set_nodelay(false).unwrap(); // few large segments instead of many small ones
    /// a.write_all(b"x").unwrap();
    /// assert_eq!(b.read(&mut [0; 16]), Ok(1));
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> Result<(), Error> {
        self.conn.with(|s, id| {
            s.sock(id).tcp().set_nagle_enabled(!nodelay);
            Ok(())
        })
    }

    /// Asks a silent peer every so often whether it is still there (at first every minute); after three minutes without
    /// an answer the connection fails with [`Error::TimedOut`]. `None`: silence is fine for ever.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// use burrow::{net::{TcpListener, TcpStream}, time::Duration};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// a.set_keepalive(Some(Duration::from_secs(30))).unwrap();
    /// a.set_keepalive(None).unwrap();
    /// ```
    pub fn set_keepalive(&self, every: Option<Duration>) -> Result<(), Error> {
        self.conn.with(|s, id| {
            s.keep_alive(id, every);
            Ok(())
        })
    }

    /// How many routers a packet may pass (64 at first).
    ///
    /// # Errors
    /// [`Error::InvalidAddr`] for 0, [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Error, TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// assert_eq!((conn.ttl(), conn.set_ttl(3), conn.ttl()), (Ok(64), Ok(()), Ok(3)));
    /// assert_eq!(conn.set_ttl(0), Err(Error::InvalidAddr));
    /// ```
    pub fn set_ttl(&self, ttl: u8) -> Result<(), Error> {
        if ttl == 0 {
            return Err(Error::InvalidAddr);
        }
        self.conn.with(|s, id| {
            s.sock(id).tcp().set_hop_limit(Some(ttl));
            Ok(())
        })
    }

    /// See [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Error, TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// assert_eq!(conn.ttl(), Ok(64));
    /// conn.close().unwrap();
    /// assert_eq!(conn.ttl(), Err(Error::Closed));
    /// ```
    pub fn ttl(&self) -> Result<u8, Error> {
        self.conn
            .with(|s, id| Ok(s.sock(id).tcp().hop_limit().unwrap_or(TTL)))
    }

    /// Why the connection failed, if it did: what writes say, and reads once all is read. It stays so.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let conn = TcpStream::connect(l.local_addr()).unwrap();
    /// assert_eq!(conn.take_error(), Ok(None));
    /// ```
    pub fn take_error(&self) -> Result<Option<Error>, Error> {
        self.conn.with(|s, id| Ok(s.connection(id).error))
    }

    /// This side's address.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// assert_eq!(a.local_addr(), b.peer_addr());
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.conn.local
    }

    /// The other side's address.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let a = TcpStream::connect(l.local_addr()).unwrap();
    /// let (b, _) = l.accept().unwrap();
    /// assert_eq!(a.peer_addr(), l.local_addr());
    /// drop(b);
    /// ```
    pub fn peer_addr(&self) -> SocketAddr {
        self.conn.peer
    }

    /// Two halves for two goroutines. Dropping the writing half shuts writing down.
    ///
    /// ```
    /// use burrow::net::{TcpListener, TcpStream};
    /// let l = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (r, w) = TcpStream::connect(l.local_addr()).unwrap().into_split();
    /// let (peer, _) = l.accept().unwrap();
    /// drop(w);
    /// assert_eq!(peer.read(&mut [0]), Ok(0));
    /// peer.write_all(b"still open").unwrap();
    /// assert_eq!(r.read(&mut [0; 16]), Ok(10));
    /// ```
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf(self.clone()), WriteHalf(self))
    }
}
