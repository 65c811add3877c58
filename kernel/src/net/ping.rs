//! `ping`: one echo request and the time until its answer.
//!
//! A socket per ping, known by a random identifier (`Stack::pings`), so that answers find it without a walk. Who is asked
//! *by others* answers in the interface, without any socket.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::net::IpAddr;

use smoltcp::{
    phy::ChecksumCapabilities,
    socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, Socket},
    wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress},
};

use super::{
    Error,
    buffers::filled,
    poll::{Mode, PollDesc},
    stack::{self, Kind, Stack},
};
use crate::{
    sched,
    time::{Duration, Instant, deadline},
};

const DATA: &[u8] = b"is anybody there? 0123456789abcdefghijklmnopqrstuvwxyz..";
const ROOM: usize = 256;
const PACKETS: usize = 4;

/// Is somebody at `to`? Sends an echo request and waits for the answer, for at most `limit`; returns how long it took.
///
/// # Errors
/// [`Error::TimedOut`], [`Error::Unreachable`], [`Error::OutOfMemory`].
///
/// ```
/// use burrow::{net, time::Duration};
/// let took = net::ping(core::net::Ipv4Addr::LOCALHOST.into(), Duration::from_secs(5)).unwrap();
/// assert!(took < Duration::from_secs(5));
/// ```
pub fn ping(to: IpAddr, limit: Duration) -> Result<Duration, Error> {
    let socket = Socket::new(room()?, room()?);
    let (id, ident, pd) = stack::with(|s| s.start_ping(socket, to))?;
    let asker = Asker { id, ident, pd };
    asker.pd.set_deadline(Mode::Read, Some(deadline(limit)));
    let begin = Instant::now();
    stack::with(|s| s.send_ping(id, ident, to))?;
    loop {
        asker.pd.check(Mode::Read)?;
        if stack::with(|s| s.answered(id, ident)) {
            return Ok(begin.elapsed());
        }
        asker.pd.wait(Mode::Read)?;
    }
}

/// A buffer for one request, or what may come as an answer.
fn room() -> Result<PacketBuffer<'static>, Error> {
    let packets = filled(PACKETS, PacketMetadata::EMPTY)?;
    Ok(PacketBuffer::new(packets, filled(ROOM, 0)?))
}

/// Gives the socket back, also when the waiting goroutine is unwound.
struct Asker {
    id: u32,
    ident: u16,
    pd: Arc<PollDesc>,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.pd.close();
        stack::with(|s| {
            s.pings.remove(&self.ident);
            s.remove(self.id);
        });
    }
}

impl Stack {
    fn start_ping(
        &mut self,
        mut socket: Socket<'static>,
        to: IpAddr,
    ) -> Result<(u32, u16, Arc<PollDesc>), Error> {
        let nic = self.route(to).ok_or(Error::Unreachable)?;
        let ident = (0..100)
            .map(|_| sched::rand32() as u16)
            .find(|i| !self.pings.contains_key(i))
            .ok_or(Error::AddrNotAvailable)?;
        socket
            .bind(Endpoint::Ident(ident))
            .map_err(|_| Error::InvalidAddr)?;
        let pd = PollDesc::try_new()?;
        self.pings.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let id = self.add(nic, socket, Kind::Icmp, pd.clone())?;
        self.pings.insert(ident, id);
        Ok((id, ident, pd))
    }

    fn send_ping(&mut self, id: u32, ident: u16, to: IpAddr) -> Result<(), Error> {
        let nic = self.sock(id).nic;
        let from = self.nics[nic].iface.get_source_address(&IpAddress::from(to));
        let from = from.ok_or(Error::Unreachable)?;
        let sums = ChecksumCapabilities::default();
        let (seq_no, data) = (1, DATA);
        let s = self.sock(id).icmp();
        match (from, to) {
            (IpAddress::Ipv6(from), IpAddr::V6(ip)) => {
                let ask = Icmpv6Repr::EchoRequest { ident, seq_no, data };
                let room = s
                    .send(ask.buffer_len(), to.into())
                    .map_err(|_| Error::Unreachable)?;
                ask.emit(&from, &ip, &mut Icmpv6Packet::new_unchecked(room), &sums);
            }
            _ => {
                let ask = Icmpv4Repr::EchoRequest { ident, seq_no, data };
                let room = s
                    .send(ask.buffer_len(), to.into())
                    .map_err(|_| Error::Unreachable)?;
                ask.emit(&mut Icmpv4Packet::new_unchecked(room), &sums);
            }
        }
        self.mark(id);
        Ok(())
    }

    /// Has the answer come? Our own request, which comes by as well on a link that loops, is none.
    fn answered(&mut self, id: u32, ident: u16) -> bool {
        let s = self.sock(id).icmp();
        while let Ok((packet, from)) = s.recv() {
            let sums = ChecksumCapabilities::ignored();
            let answer = match from {
                IpAddress::Ipv4(_) => Icmpv4Packet::new_checked(packet).and_then(|p| {
                    Icmpv4Repr::parse(&p, &sums).map(|r| match r {
                        Icmpv4Repr::EchoReply { ident: i, data, .. } => i == ident && data == DATA,
                        _ => false,
                    })
                }),
                IpAddress::Ipv6(ip) => Icmpv6Packet::new_checked(packet).and_then(|p| {
                    Icmpv6Repr::parse(&ip, &ip, &p, &sums).map(|r| match r {
                        Icmpv6Repr::EchoReply { ident: i, data, .. } => i == ident && data == DATA,
                        _ => false,
                    })
                }),
            };
            if answer == Ok(true) {
                return true;
            }
        }
        false
    }
}
