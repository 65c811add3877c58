//! UDP for programs: [`UdpSocket`].
//!
//! One socket may talk over several links; its packets leave by the link of the last destination, so a send to another
//! link waits until those before have left.
#![forbid(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, net::SocketAddr};

use smoltcp::{
    socket::udp::{PacketBuffer, PacketMetadata, RecvError, SendError, Socket, UdpMetadata},
    wire::{IpAddress, IpListenEndpoint},
};

use super::{
    Error, ToAddr,
    addr::destination,
    listen::overlap,
    poll::{Mode, PollDesc},
    stack::{self, Kind, Stack},
    tcp::at,
    tcp_state::endpoint,
    turn::Turn,
};
use crate::{
    shim::{AtomicBool, Ordering},
    time::Instant,
};

/// Bytes and datagrams that wait, each way.
const BYTES: usize = 65536;
const PACKETS: usize = 64;

fn buffer() -> Result<PacketBuffer<'static>, Error> {
    let (mut meta, mut bytes) = (Vec::new(), Vec::new());
    meta.try_reserve_exact(PACKETS).map_err(|_| Error::OutOfMemory)?;
    bytes.try_reserve_exact(BYTES).map_err(|_| Error::OutOfMemory)?;
    meta.resize(PACKETS, PacketMetadata::EMPTY);
    bytes.resize(BYTES, 0);
    Ok(PacketBuffer::new(meta, bytes))
}

impl Stack {
    fn bind_udp(&mut self, addr: SocketAddr) -> Result<(u32, Arc<PollDesc>, SocketAddr), Error> {
        if !self.is_local(addr) {
            return Err(Error::AddrNotAvailable);
        }
        let mut bound = addr;
        for _ in 0..16384 {
            if addr.port() != 0 {
                break;
            }
            bound = self.ephemeral(addr.ip());
            if !self.udp_taken(bound) {
                break;
            }
        }
        if self.udp_taken(bound) {
            return Err(Error::AddrInUse);
        }
        let mut s = Socket::new(buffer()?, buffer()?);
        let ip = bound.ip();
        let listen = IpListenEndpoint {
            addr: (!ip.is_unspecified()).then(|| ip.into()),
            port: bound.port(),
        };
        s.bind(listen).map_err(|_| Error::InvalidAddr)?;
        let id = self.add(0, s, Kind::Udp, PollDesc::new())?;
        self.udp.entry(bound.port()).or_default().push(id);
        Ok((id, self.sock(id).pd.clone(), bound))
    }

    fn udp_taken(&mut self, at: SocketAddr) -> bool {
        let ids = self.udp.get(&at.port()).cloned().unwrap_or_default();
        ids.into_iter().any(|id| {
            let sock = self.sock(id);
            match sock.kind {
                Kind::Udp => match sock.udp().endpoint().addr {
                    Some(a) => overlap(a.into(), at.ip()),
                    None => true,
                },
                _ => true,
            }
        })
    }

    fn send_to(&mut self, id: u32, data: &[u8], to: SocketAddr) -> Result<Option<()>, Error> {
        let nic = self.route(to.ip()).ok_or(Error::Unreachable)?;
        let mtu = self.nics[nic].link.capabilities().max_transmission_unit;
        let headers = if to.is_ipv4() { 28 } else { 48 } + if self.is_ethernet(nic) { 14 } else { 0 };
        if data.len() + headers > mtu || data.len() > BYTES {
            return Err(Error::MessageTooLong);
        }
        let loops = self.nics[nic].link.loops();
        let sock = self.sock(id);
        if sock.nic != nic {
            if sock.udp().send_queue() != 0 {
                return Ok(None);
            }
            sock.nic = nic;
        }
        let mut meta = UdpMetadata::from(endpoint(to));
        if loops && sock.udp().endpoint().addr.is_none() {
            meta.local_address = Some(IpAddress::from(to.ip()));
        }
        match sock.udp().send_slice(data, meta) {
            Ok(()) => {
                self.mark(id);
                Ok(Some(()))
            }
            Err(SendError::BufferFull) => Ok(None),
            Err(_) => Err(Error::InvalidAddr),
        }
    }

    fn recv_from(&mut self, id: u32, buf: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self.sock(id).udp().recv() {
            Ok((data, meta)) => {
                let n = data.len().min(buf.len());
                buf[..n].copy_from_slice(&data[..n]);
                let from = meta.endpoint;
                Some((n, SocketAddr::new(from.addr.into(), from.port)))
            }
            Err(RecvError::Exhausted | RecvError::Truncated) => None,
        }
    }

    fn unbind_udp(&mut self, id: u32, port: u16) {
        if let Some(list) = self.udp.get_mut(&port) {
            list.retain(|&x| x != id);
            if list.is_empty() {
                self.udp.remove(&port);
            }
        }
        self.remove(id);
    }
}

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
    /// [`Error::AddrInUse`], [`Error::AddrNotAvailable`], [`Error::InvalidAddr`].
    pub fn bind(at: impl ToAddr) -> Result<UdpSocket, Error> {
        let (id, pd, at) = stack::with(|s| s.bind_udp(at.to_addr()?))?;
        let inner = Inner {
            id,
            pd,
            at,
            reading: Turn::new(),
            writing: Turn::new(),
            released: AtomicBool::new(false),
        };
        Ok(UdpSocket {
            inner: Arc::new(inner),
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
    pub fn send_to(&self, data: &[u8], to: impl ToAddr) -> Result<(), Error> {
        let to = destination(to.to_addr()?);
        let _turn = self.inner.writing.take();
        loop {
            self.inner.pd.check(Mode::Write)?;
            if let Some(()) = self.with(|s, id| s.send_to(id, data, to))? {
                return Ok(());
            }
            self.inner.pd.wait(Mode::Write)?;
        }
    }

    /// Waits for a datagram; what does not fit into `buf` is lost.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TimedOut`] once the read deadline has passed.
    pub fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let _turn = self.inner.reading.take();
        loop {
            self.inner.pd.check(Mode::Read)?;
            if let Some(got) = self.with(|s, id| Ok(s.recv_from(id, buf)))? {
                return Ok(got);
            }
            self.inner.pd.wait(Mode::Read)?;
        }
    }

    /// `recv_from` fails with [`Error::TimedOut`] from `when` on.
    pub fn set_read_deadline(&self, when: Option<Instant>) {
        self.inner.pd.set_deadline(Mode::Read, at(when));
    }

    /// `send_to` fails with [`Error::TimedOut`] from `when` on.
    pub fn set_write_deadline(&self, when: Option<Instant>) {
        self.inner.pd.set_deadline(Mode::Write, at(when));
    }

    /// Its address.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.at
    }

    /// Closes it for all handles.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.inner.at)
    }
}
