//! UDP sockets inside the stack: who has which port, and whom a datagram is for.
//!
//! A port belongs to one socket per address. A *connected* socket has one peer: what others send to it is refused as if
//! nobody were there, and "nobody has that port", which a peer's machine answers by ICMP, is an error of the next call.
//! (Of a socket without a peer nobody could tell which datagram was meant.)
//!
//! One socket may talk over several links; its packets leave by the link of the last destination, so a send to another
//! link waits until those before have left.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    socket::{
        Socket as AnySocketKind,
        udp::{self, PacketBuffer, PacketMetadata, RecvError, SendError, Socket, UdpMetadata},
    },
    wire::{IpAddress, IpListenEndpoint},
};

use super::{
    Error,
    buffers::filled,
    demux::Tuple,
    link::Nowhere,
    listen::{TRIES, overlap, push_at},
    poll::PollDesc,
    round::{Wakes, wake_reader},
    stack::{Kind, Stack, clock},
    tcp_state::endpoint,
};

/// Bytes and datagrams that may wait, each way.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) packets: usize,
}

/// How long a datagram waits to learn where its receiver is, if no other waits behind it. smoltcp asks once a second,
/// and not at all if it has just asked for another neighbor.
const PATIENCE: u64 = 2_500_000_000;
/// And else; a neighbor in a local network answers within that. Senders may be forged, and a server that answers them
/// must not stand still for each: at most a tenth of the time, for a socket that has kept others waiting does not do so
/// again for `REST`.
const HURRY: u64 = 10_000_000;
const REST: u64 = 10 * HURRY;

/// What sockets get.
pub(super) const ROOM: Room = Room {
    bytes: 65536,
    packets: 64,
};

/// What the stack knows of a socket beside smoltcp's.
pub(super) struct Datagrams {
    /// It is connected to this.
    pub(super) peer: Option<SocketAddr>,
    /// To be told by the next call.
    pub(super) error: Option<Error>,
    /// Its first datagram waits to learn where its receiver is, and is dropped at this time (ns).
    pub(super) stuck_until: u64,
    /// Until then (ns) none waits with others behind it.
    rested_at: u64,
    /// Datagrams that were not sent yet.
    queued: u32,
}

impl Datagrams {
    pub(super) const NEW: Datagrams = Datagrams {
        peer: None,
        error: None,
        stuck_until: u64::MAX,
        rested_at: 0,
        queued: 0,
    };
}

fn buffer(room: Room) -> Result<PacketBuffer<'static>, Error> {
    let meta = filled(room.packets, PacketMetadata::EMPTY)?;
    Ok(PacketBuffer::new(meta, filled(room.bytes, 0)?))
}

/// A socket, bound to nothing yet. Not under the stack's lock: its buffers are large.
pub(super) fn new_socket(room: Room) -> Result<Socket<'static>, Error> {
    Ok(Socket::new(buffer(room)?, buffer(room)?))
}

impl Stack {
    /// Adds a socket at `addr`; port 0 is one of the next `TRIES` that is free. Takes it if it finds one.
    pub(super) fn bind_udp(
        &mut self,
        socket: &mut Option<Socket<'static>>,
        addr: SocketAddr,
    ) -> Result<(u32, Arc<PollDesc>, SocketAddr), Error> {
        if !self.is_local(addr) {
            return Err(Error::AddrNotAvailable);
        }
        let mut bound = addr;
        if addr.port() == 0 {
            let free = (0..TRIES).find_map(|_| {
                let next = self.ephemeral(addr.ip());
                (!self.udp_taken(next)).then_some(next)
            });
            bound = free.ok_or(Error::AddrNotAvailable)?;
        }
        if self.udp_taken(bound) {
            return Err(Error::AddrInUse);
        }
        let mut s = socket.take().ok_or(Error::Closed)?;
        let ip = bound.ip();
        let listen = IpListenEndpoint {
            addr: (!ip.is_unspecified()).then(|| ip.into()),
            port: bound.port(),
        };
        s.bind(listen).map_err(|_| Error::InvalidAddr)?;
        let id = self.add(0, s, Kind::Udp(Datagrams::NEW), PollDesc::try_new()?)?;
        if let Err(e) = push_at(&mut self.udp, bound.port(), id) {
            self.remove(id);
            return Err(e);
        }
        Ok((id, self.sock(id).pd.clone(), bound))
    }

    fn udp_taken(&self, at: SocketAddr) -> bool {
        let ids = self.udp.get(&at.port()).into_iter().flatten();
        let mut all = ids.filter_map(|&id| self.socks.get(id as usize)?.as_deref());
        all.any(|sock| match sock.kind {
            Kind::Udp(_) => match sock.set.get::<Socket<'_>>(sock.handle).endpoint().addr {
                Some(a) => overlap(a.into(), at.ip()),
                None => true,
            },
            _ => true,
        })
    }

    pub(super) fn datagrams(&mut self, id: u32) -> &mut Datagrams {
        match &mut self.sock(id).kind {
            Kind::Udp(d) => d,
            _ => unreachable!("not a UDP socket"),
        }
    }

    /// The error that waits to be told.
    pub(super) fn udp_error(&mut self, id: u32) -> Result<(), Error> {
        match self.datagrams(id).error.take() {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    /// `Ok(None)`: there is no room now.
    pub(super) fn send_to(&mut self, id: u32, data: &[u8], to: SocketAddr) -> Result<Option<()>, Error> {
        self.udp_error(id)?;
        let nic = self.route(to.ip()).ok_or(Error::Unreachable)?;
        let mtu = self.nics[nic].link.capabilities().max_transmission_unit;
        let headers = if to.is_ipv4() { 28 } else { 48 } + if self.is_ethernet(nic) { 14 } else { 0 };
        let loops = self.nics[nic].link.loops();
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return Err(Error::Closed);
        };
        if data.len() + headers > mtu || data.len() > sock.udp().payload_send_capacity() {
            return Err(Error::MessageTooLong);
        }
        if sock.nic != nic {
            let before = &mut self.nics[sock.nic].iface;
            if before.poll_at(clock(self.now), &sock.set).is_some() {
                return Ok(None); // also empty ones count
            }
            sock.nic = nic;
        }
        let mut meta = UdpMetadata::from(endpoint(to));
        if loops && sock.udp().endpoint().addr.is_none() {
            meta.local_address = Some(IpAddress::from(to.ip()));
        }
        match sock.udp().send_slice(data, meta) {
            Ok(()) => {
                self.datagrams(id).queued += 1;
                self.mark(id);
                Ok(Some(()))
            }
            Err(SendError::BufferFull) => Ok(None),
            Err(_) => Err(Error::InvalidAddr),
        }
    }

    /// `Ok(None)`: nothing has arrived.
    pub(super) fn recv_from(
        &mut self,
        id: u32,
        buf: &mut [u8],
        keep: bool,
    ) -> Result<Option<(usize, SocketAddr)>, Error> {
        self.udp_error(id)?;
        let s = self.sock(id).udp();
        let got = if keep {
            s.peek().map(|(d, m)| (d, *m))
        } else {
            s.recv()
        };
        match got {
            Ok((data, meta)) => {
                let n = data.len().min(buf.len());
                buf[..n].copy_from_slice(&data[..n]);
                let from = meta.endpoint;
                Ok(Some((n, SocketAddr::new(from.addr.into(), from.port))))
            }
            Err(RecvError::Exhausted | RecvError::Truncated) => Ok(None),
        }
    }

    /// After an attempt to send. If nothing could be sent, though something was to be and the link has room, its
    /// receiver does not say where it is. smoltcp keeps that datagram, before all others, until it does, maybe for ever;
    /// so it is dropped after a while; sooner if others wait behind it.
    pub(super) fn unblock(&mut self, id: u32, sent: u32) {
        let now = self.now;
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return;
        };
        let Kind::Udp(d) = &mut sock.kind else { return };
        d.queued = d.queued.saturating_sub(sent);
        if sent > 0 {
            d.stuck_until = u64::MAX;
            return;
        }
        let nic = &mut self.nics[sock.nic];
        if !nic.link.has_room() || nic.iface.poll_at(clock(now), &sock.set).is_none() {
            d.stuck_until = u64::MAX;
            return;
        }
        if d.stuck_until == u64::MAX {
            d.stuck_until = now + PATIENCE;
        }
        if d.queued > 1 {
            let patience = if d.rested_at > now { 0 } else { HURRY };
            d.stuck_until = d.stuck_until.min(now + patience);
        }
        if d.stuck_until <= now {
            d.stuck_until = u64::MAX;
            if d.rested_at <= now {
                d.rested_at = now + REST;
            }
            d.queued = d.queued.saturating_sub(1);
            // In a new place the socket waits for nobody, and on a link without neighbors it need not.
            if let AnySocketKind::Udp(s) = sock.set.remove(sock.handle) {
                sock.handle = sock.set.add(s);
            }
            let mut nowhere = Nowhere { room: 1 };
            self.nics[0]
                .iface
                .poll_egress(clock(now), &mut nowhere, &mut sock.set);
            self.nics[sock.nic].counters.no_neighbor += 1;
            self.mark(id);
        }
    }

    pub(super) fn unbind_udp(&mut self, id: u32, port: u16) {
        if let Some(list) = self.udp.get_mut(&port) {
            list.retain(|&x| x != id);
            if list.is_empty() {
                self.udp.remove(&port);
            }
        }
        self.remove(id);
    }

    /// Whose is a datagram that arrived at interface `nic`? Of one bound to the address and one bound to all: the first.
    pub(super) fn datagram_for(&self, nic: usize, tuple: Tuple) -> Option<u32> {
        let list = self.udp.get(&tuple.local.port())?;
        let mut best = None;
        for &id in list {
            let Some(Some(s)) = self.socks.get(id as usize) else {
                continue;
            };
            let peer = match &s.kind {
                Kind::Dhcp if s.nic == nic => return Some(id),
                Kind::Udp(d) => d.peer,
                _ => continue,
            };
            if peer.is_some_and(|p| p != tuple.remote) {
                continue;
            }
            let bound = s.set.get::<udp::Socket<'_>>(s.handle).endpoint().addr;
            match bound {
                Some(a) if IpAddr::from(a) == tuple.local.ip() => return Some(id),
                Some(_) => {}
                None => best = Some(id),
            }
        }
        best
    }

    /// A datagram of ours came to a port that nobody has.
    pub(super) fn refused_datagram(&mut self, tuple: Tuple, wakes: &mut Wakes) {
        let list = self.udp.get(&tuple.local.port()).map_or(&[][..], |l| l);
        let sent_it = |id: &u32| match self.socks.get(*id as usize) {
            Some(Some(s)) => matches!(&s.kind, Kind::Udp(d) if d.peer == Some(tuple.remote)),
            _ => false,
        };
        if let Some(&id) = list.iter().find(|id| sent_it(id)) {
            self.datagrams(id).error = Some(Error::Refused);
            wake_reader(&self.sock(id).pd, wakes);
        }
    }
}
