//! UDP for programs: [`UdpSocket`]. (`udp_state` has what the stack does for it.)
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{fmt, net::SocketAddr};

use super::{
    Error, ToAddr,
    addr::destination,
    listen::search,
    poll::{Mode, PollDesc},
    stack::{self, Stack},
    tcp::{TTL, at},
    turn::Turn,
    udp_state::{ROOM, Room, new_socket},
};
use crate::{
    shim::{AtomicBool, Ordering},
    time::Instant,
};

struct Inner {
    id: u32,
    pd: Arc<PollDesc>,
    at: SocketAddr,
    reading: Turn,
    writing: Turn,
    released: AtomicBool,
}

impl Inner {
    fn close(&self) -> Result<(), Error> {
        self.pd.close();
        stack::with(|s| {
            if self.released.swap(true, Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            s.unbind_udp(self.id, self.at.port());
            Ok(())
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// Sends and receives datagrams. Clones are the same socket; dropping the last one closes it.
///
/// ```
/// use burrow::net::UdpSocket;
/// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
/// a.send_to(b"ping", b.local_addr()).unwrap();
/// let mut buf = [0; 16];
/// assert_eq!(b.recv_from(&mut buf), Ok((4, a.local_addr())));
/// ```
#[derive(Clone)]
pub struct UdpSocket {
    inner: Arc<Inner>,
}

impl UdpSocket {
    /// A socket at `at`; port 0 is one that is free.
    ///
    /// # Errors
    /// [`Error::AddrInUse`], [`Error::AddrNotAvailable`], [`Error::InvalidAddr`], [`Error::OutOfMemory`].
    ///
    /// ```
    /// use burrow::net::{Error, UdpSocket};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// assert_eq!(UdpSocket::bind(s.local_addr()).unwrap_err(), Error::AddrInUse);
    /// ```
    pub fn bind(at: impl ToAddr) -> Result<UdpSocket, Error> {
        Self::bind_sized(at.to_addr()?, ROOM)
    }

    pub(super) fn bind_sized(at: SocketAddr, room: Room) -> Result<UdpSocket, Error> {
        let mut socket = Some(new_socket(room)?);
        let (id, pd, at) = search(|s| s.bind_udp(&mut socket, at))?;
        let inner = Inner {
            id,
            pd,
            at,
            reading: Turn::new(),
            writing: Turn::new(),
            released: AtomicBool::new(false),
        };
        // Without memory `inner` is dropped, which closes it.
        Ok(UdpSocket {
            inner: Arc::try_new(inner)?,
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut Stack, u32) -> Result<R, Error>) -> Result<R, Error> {
        stack::with(|s| match self.inner.released.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => f(s, self.inner.id),
        })
    }

    /// Sends one datagram; waits only for room in the socket's buffer. Whether it arrives is not known.
    ///
    /// # Errors
    /// [`Error::MessageTooLong`], [`Error::Unreachable`], [`Error::Closed`], [`Error::TimedOut`].
    ///
    /// ```
    /// use burrow::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// a.send_to(b"ping", b.local_addr()).unwrap();
    /// a.send_to(b"", b.local_addr()).unwrap(); // a datagram, too
    /// let mut buf = [0; 16];
    /// assert_eq!((b.recv_from(&mut buf).unwrap().0, b.recv_from(&mut buf).unwrap().0), (4, 0));
    /// ```
    pub fn send_to(&self, data: &[u8], to: impl ToAddr) -> Result<(), Error> {
        self.send_at(data, Some(destination(to.to_addr()?)))
    }

    fn send_at(&self, data: &[u8], to: Option<SocketAddr>) -> Result<(), Error> {
        let _turn = self.inner.writing.take();
        loop {
            self.inner.pd.check(Mode::Write)?;
            let sent = self.with(|s, id| {
                let to = to.or(s.datagrams(id).peer).ok_or(Error::NotConnected)?;
                s.send_to(id, data, to)
            })?;
            if let Some(()) = sent {
                return Ok(());
            }
            self.inner.pd.wait(Mode::Write)?;
        }
    }

    /// Waits for a datagram; what does not fit into `buf` is lost.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TimedOut`] once the read deadline has passed; [`Error::Refused`] on a connected socket.
    ///
    /// ```
    /// use burrow::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// a.send_to(b"ping", b.local_addr()).unwrap();
    /// assert_eq!(b.recv_from(&mut [0; 2]), Ok((2, a.local_addr()))); // the rest is lost
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.receive(buf, false)
    }

    /// As [`recv_from`](Self::recv_from), but the datagram stays the next to be received.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use burrow::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// a.send_to(b"ping", b.local_addr()).unwrap();
    /// assert_eq!(b.peek_from(&mut [0; 16]), Ok((4, a.local_addr())));
    /// assert_eq!(b.recv_from(&mut [0; 16]), Ok((4, a.local_addr())));
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.receive(buf, true)
    }

    fn receive(&self, buf: &mut [u8], keep: bool) -> Result<(usize, SocketAddr), Error> {
        let _turn = self.inner.reading.take();
        loop {
            self.inner.pd.check(Mode::Read)?;
            if let Some(got) = self.with(|s, id| s.recv_from(id, buf, keep))? {
                return Ok(got);
            }
            self.inner.pd.wait(Mode::Read)?;
        }
    }

    /// From now on this is the only peer: [`send`](Self::send) goes there, only what comes from there is received, and
    /// if nobody has that port the next call fails with [`Error::Refused`]. Nothing is sent by this.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::InvalidAddr`], [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Error, UdpSocket};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// s.connect("127.0.0.1:9").unwrap(); // nobody is there
    /// s.send(b"anybody?").unwrap();
    /// assert_eq!(s.recv(&mut [0; 8]), Err(Error::Refused));
    /// ```
    pub fn connect(&self, to: impl ToAddr) -> Result<(), Error> {
        let to = destination(to.to_addr()?);
        if to.port() == 0 {
            return Err(Error::InvalidAddr);
        }
        self.with(|s, id| {
            s.route(to.ip()).ok_or(Error::Unreachable)?;
            let d = s.datagrams(id);
            d.peer = Some(to);
            d.error = None;
            Ok(())
        })
    }

    /// Sends one datagram to the peer.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::Refused`]: nobody was there for the one before; else as
    /// [`send_to`](Self::send_to).
    ///
    /// ```
    /// use burrow::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// a.connect(b.local_addr()).unwrap();
    /// a.send(b"ping").unwrap();
    /// assert_eq!(b.recv_from(&mut [0; 16]), Ok((4, a.local_addr())));
    /// ```
    pub fn send(&self, data: &[u8]) -> Result<(), Error> {
        self.send_at(data, None)
    }

    /// Waits for a datagram from the peer.
    ///
    /// # Errors
    /// [`Error::NotConnected`], else as [`recv_from`](Self::recv_from).
    ///
    /// ```
    /// use burrow::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// b.connect(a.local_addr()).unwrap(); // hears nobody else
    /// a.send_to(b"ping", b.local_addr()).unwrap();
    /// assert_eq!(b.recv(&mut [0; 16]), Ok(4));
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.peer_addr()?;
        Ok(self.recv_from(buf)?.0)
    }

    /// The peer.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Error, UdpSocket};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// assert_eq!(s.peer_addr(), Err(Error::NotConnected));
    /// s.connect("127.0.0.1:9").unwrap();
    /// assert_eq!(s.peer_addr(), Ok("127.0.0.1:9".parse().unwrap()));
    /// ```
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        self.with(|s, id| s.datagrams(id).peer.ok_or(Error::NotConnected))
    }

    /// Takes the error that the next call would fail with, if there is one.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// let s = burrow::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    /// assert_eq!(s.take_error(), Ok(None));
    /// ```
    pub fn take_error(&self) -> Result<Option<Error>, Error> {
        self.with(|s, id| Ok(s.datagrams(id).error.take()))
    }

    /// How many routers a datagram may pass (64 at first).
    ///
    /// # Errors
    /// [`Error::InvalidAddr`] for 0, [`Error::Closed`].
    ///
    /// ```
    /// use burrow::net::{Error, UdpSocket};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// s.set_ttl(1).unwrap(); // not beyond this network
    /// assert_eq!(s.set_ttl(0), Err(Error::InvalidAddr));
    /// ```
    pub fn set_ttl(&self, ttl: u8) -> Result<(), Error> {
        if ttl == 0 {
            return Err(Error::InvalidAddr);
        }
        self.with(|s, id| {
            s.sock(id).udp().set_hop_limit(Some(ttl));
            Ok(())
        })
    }

    /// See [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// ```
    /// let s = burrow::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    /// assert_eq!((s.ttl(), s.set_ttl(1), s.ttl()), (Ok(64), Ok(()), Ok(1)));
    /// ```
    pub fn ttl(&self) -> Result<u8, Error> {
        self.with(|s, id| Ok(s.sock(id).udp().hop_limit().unwrap_or(TTL)))
    }

    /// `recv_from` fails with [`Error::TimedOut`] from `when` on.
    ///
    /// ```
    /// use burrow::{net::{Error, UdpSocket}, time::Instant};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// s.set_read_deadline(Some(Instant::now()));
    /// assert_eq!(s.recv_from(&mut [0; 16]), Err(Error::TimedOut));
    /// ```
    pub fn set_read_deadline(&self, when: Option<Instant>) {
        self.inner.pd.set_deadline(Mode::Read, at(when));
    }

    /// `send_to` fails with [`Error::TimedOut`] from `when` on.
    ///
    /// ```
    /// use burrow::{net::{Error, UdpSocket}, time::Instant};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// s.set_write_deadline(Some(Instant::now()));
    /// assert_eq!(s.send_to(b"x", s.local_addr()), Err(Error::TimedOut));
    /// ```
    pub fn set_write_deadline(&self, when: Option<Instant>) {
        self.inner.pd.set_deadline(Mode::Write, at(when));
    }

    /// Both deadlines.
    ///
    /// ```
    /// use burrow::{net::{Error, UdpSocket}, time::Instant};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// s.set_deadline(Some(Instant::now()));
    /// assert_eq!(s.recv_from(&mut [0; 16]), Err(Error::TimedOut));
    /// assert_eq!(s.send_to(b"x", s.local_addr()), Err(Error::TimedOut));
    /// ```
    pub fn set_deadline(&self, when: Option<Instant>) {
        self.set_read_deadline(when);
        self.set_write_deadline(when);
    }

    /// Its address.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.at
    }

    /// Closes it for all handles.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed.
    ///
    /// ```
    /// use burrow::net::{Error, UdpSocket};
    /// let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// let other = s.clone();
    /// let h = burrow::spawn(move || other.recv_from(&mut [0; 16]));
    /// s.close().unwrap();
    /// assert_eq!(h.join().unwrap(), Err(Error::Closed));
    /// ```
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.inner.at)
    }
}
