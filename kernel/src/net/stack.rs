//! The stack: interfaces, sockets, and one round of polling, behind one lock.
//!
//! TCP, UDP, ARP and the rest are smoltcp's. It would walk all its sockets for each packet and has no accept queue, so
//! here each socket is alone in a `SocketSet` and *we* choose which set a frame is shown to (`demux`), which sockets may
//! have something to send (`dirty`) and which must be looked at when (`deadlines`). A packet costs the same with 10,000
//! connections as with one.
//!
//! ```text
//!   frame ─▶ demux ─▶ its socket (or none: the interface answers) ─▶ settle: who may go on? ─▶ dirty?
//!   write, read, close ─▶ dirty          deadline ─▶ dirty           dirty ─▶ egress ─▶ frames ─▶ settle
//! ```
//! **Who polls**: whoever has the lock anyway. A goroutine that writes sends its own segments, and on the loopback link
//! also delivers them, in one go; frames of a device are taken by `netpoll` on g0 after its interrupt, by the alarm, or
//! by the next goroutine that calls. `round` handles at most `BUDGET` frames, because preemption is off under the lock;
//! `with` lets go of it between rounds.
//!
//! **Who wakes whom**: `settle` tells a socket's `PollDesc` that it is readable or writable and collects the goroutines
//! that waited; the caller readies them as one list after the lock is released.
//!
//! Lock: `Rank::Net`, above the heap's and the timers', below everything that parks. Memory is asked for fallibly under
//! it: a connection for which there is none is refused, those that live go on.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use smoltcp::{
    iface::{Config, Interface, PollResult, SocketHandle, SocketSet, SocketStorage},
    phy::Medium,
    socket::{AnySocket, dhcpv4, tcp, udp},
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr},
};

use super::{
    Error,
    alarm::Alarm,
    deadlines::{Deadlines, Who},
    demux::{Carries, Tuple, look},
    hash::Seeded,
    link::{Feed, Link, Loopback},
    listen::Listener,
    poll::{Mode, PollDesc},
    tcp_state::Connection,
};
use crate::{
    lock::{Rank, SpinLock},
    sched::{self, GPtr},
};

/// Frames and sockets handled before the lock is let go.
const BUDGET: usize = 48;
/// Goroutines one round may wake: each frame and each socket wakes two at most, and a listener's.
pub(super) type Wakes = heapless::Vec<GPtr, { 3 * BUDGET + 16 }>;

static STACK: SpinLock<Option<Box<Stack>>> = SpinLock::new(Rank::Net, None);

/// Counters for figures and the console.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Frames received, all links.
    pub frames_in: u64,
    /// Connections opened by this side.
    pub active_opens: u64,
    /// Connections opened by others.
    pub passive_opens: u64,
    /// Connection requests dropped: backlog full, or no memory.
    pub refused_opens: u64,
    /// Sockets now, connections that are being closed included.
    pub sockets: u64,
}

/// A link and what the stack knows about it.
pub(super) struct Nic {
    pub(super) iface: Interface,
    pub(super) link: Box<dyn Link>,
    /// Sockets that asked where a neighbor is.
    asking: Vec<u32>,
}

/// What a socket is.
pub(super) enum Kind {
    Tcp(Connection),
    Udp,
    Dhcp,
}

/// A socket.
pub(super) struct Sock {
    pub(super) generation: u32,
    pub(super) nic: usize,
    pub(super) set: SocketSet<'static>,
    pub(super) handle: SocketHandle,
    pub(super) pd: Arc<PollDesc>,
    pub(super) kind: Kind,
    /// On the dirty list.
    dirty: bool,
    /// The earliest entry of it among the deadlines.
    timer_at: u64,
}

impl Sock {
    pub(super) fn tcp(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    pub(super) fn udp(&mut self) -> &mut udp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    pub(super) fn dhcp(&mut self) -> &mut dhcpv4::Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// See the file head.
pub(super) struct Stack {
    pub(super) nics: Vec<Nic>,
    socks: Vec<Option<Box<Sock>>>,
    free: Vec<u32>,
    generation: u32,
    pub(super) tuples: HashMap<Tuple, u32, Seeded>,
    pub(super) listeners: HashMap<u16, Vec<u32>, Seeded>,
    pub(super) listening: Vec<Option<Listener>>,
    pub(super) udp: HashMap<u16, Vec<u32>, Seeded>,
    dirty: VecDeque<u32>,
    deadlines: Deadlines,
    alarm: &'static Alarm,
    /// What `alarm` is set to.
    alarm_at: u64,
    pub(super) next_port: u16,
    pub(super) stats: Stats,
    /// Orphans in TIME_WAIT, oldest first.
    pub(super) time_waits: VecDeque<Who>,
    /// Shown to the interface with frames that no socket wants.
    nobody: SocketSet<'static>,
}

/// The stack's clock.
pub(super) fn clock(now: u64) -> Instant {
    Instant::from_micros((now / 1000) as i64)
}

/// Runs `f` on the stack, then polls it until nothing is left to do, and readies who may go on.
pub(super) fn with<R>(f: impl FnOnce(&mut Stack) -> R) -> R {
    let mut wakes = Wakes::new();
    let (r, mut more) = {
        let mut guard = STACK.lock();
        let s = guard.get_or_insert_with(Stack::new);
        let r = f(s);
        (r, s.round(&mut wakes))
    };
    sched::ready_all(&wakes);
    while more {
        more = again();
    }
    r
}

/// One more round, with the lock taken anew. `true`: there is more to do.
fn again() -> bool {
    let mut wakes = Wakes::new();
    let more = match &mut *STACK.lock() {
        Some(s) => s.round(&mut wakes),
        None => false,
    };
    sched::ready_all(&wakes);
    more
}

/// The netpoller: takes what devices have received, and lets those go on who waited for it. On g0, or wherever
/// goroutines may be readied.
pub(super) fn netpoll() {
    while again() {}
}

/// Counters now.
pub fn stats() -> Stats {
    with(|s| {
        s.stats.sockets = (s.socks.len() - s.free.len()) as u64;
        s.stats
    })
}

/// The addresses of this machine's links, those of the loopback link included.
///
/// ```
/// assert!(burrow::net::local_addrs().contains(&core::net::Ipv4Addr::LOCALHOST.into()));
/// ```
pub fn local_addrs() -> Vec<IpAddr> {
    with(|s| {
        let all = s.nics.iter().flat_map(|n| n.iface.ip_addrs());
        all.map(|c| c.address().into()).collect()
    })
}

impl Stack {
    fn new() -> Box<Stack> {
        let seed = || u64::from(sched::rand32()) << 32 | u64::from(sched::rand32());
        let table = Seeded::new(seed());
        let mut s = Box::new(Stack {
            nics: Vec::new(),
            socks: Vec::new(),
            free: Vec::new(),
            generation: 0,
            tuples: HashMap::with_hasher(table),
            listeners: HashMap::with_hasher(table),
            listening: Vec::new(),
            udp: HashMap::with_hasher(table),
            dirty: VecDeque::new(),
            deadlines: Deadlines::default(),
            alarm: Alarm::new(netpoll),
            alarm_at: u64::MAX,
            next_port: (sched::rand32() % 16384) as u16,
            stats: Stats::default(),
            time_waits: VecDeque::new(),
            nobody: SocketSet::new(Vec::new()),
        });
        s.add_nic(Box::new(Loopback::default()));
        s.add_address(0, IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8));
        s.add_address(0, IpCidr::new(IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1), 128));
        s
    }

    /// Adds a link; returns its number.
    pub(super) fn add_nic(&mut self, mut link: Box<dyn Link>) -> usize {
        let hardware = match link.mac() {
            Some(mac) => HardwareAddress::Ethernet(EthernetAddress(mac)),
            None => HardwareAddress::Ip,
        };
        let mut config = Config::new(hardware);
        config.random_seed = u64::from(sched::rand32()) << 32 | u64::from(sched::rand32());
        let iface = Interface::new(config, &mut Feed::new(&mut *link, None), clock(sched::now_ns()));
        self.nics.push(Nic {
            iface,
            link,
            asking: Vec::new(),
        });
        self.nics.len() - 1
    }

    /// Gives a link an address.
    pub(super) fn add_address(&mut self, nic: usize, addr: IpCidr) {
        self.nics[nic].iface.update_ip_addrs(|list| {
            let _ = list.push(addr); // eight are enough
        });
    }

    /// The link by which `to` is reached.
    pub(super) fn route(&self, to: IpAddr) -> Option<usize> {
        let ours = |n: &Nic| n.iface.ip_addrs().iter().any(|c| IpAddr::from(c.address()) == to);
        if to.is_loopback() {
            return Some(0);
        }
        if let Some(n) = self.nics.iter().position(ours) {
            return Some(if self.nics[n].link.loops() { n } else { 0 });
        }
        self.nics.iter().position(|n| {
            let speaks = |c: &IpCidr| c.address().version() == IpAddress::from(to).version();
            !n.link.loops() && n.iface.ip_addrs().iter().any(speaks)
        })
    }

    /// Adds a socket; nothing of it is registered anywhere yet.
    pub(super) fn add<S: AnySocket<'static>>(
        &mut self,
        nic: usize,
        socket: S,
        kind: Kind,
        pd: Arc<PollDesc>,
    ) -> Result<u32, Error> {
        fn no_memory<E>(_: E) -> Error {
            Error::OutOfMemory
        }
        let mut storage = Vec::new();
        storage.try_reserve_exact(1).map_err(no_memory)?;
        storage.push(SocketStorage::EMPTY);
        let mut set = SocketSet::new(storage);
        let handle = set.add(socket);
        let index = match self.free.pop() {
            Some(i) => i,
            None => {
                self.socks.try_reserve(1).map_err(no_memory)?;
                self.socks.push(None);
                // Whoever goes finds room on the free list, and everybody on the dirty list.
                self.free.try_reserve(self.socks.len()).map_err(no_memory)?;
                (self.socks.len() - 1) as u32
            }
        };
        if self
            .dirty
            .try_reserve(self.socks.len() - self.dirty.len().min(self.socks.len()))
            .is_err()
        {
            self.free.push(index);
            return Err(Error::OutOfMemory);
        }
        self.generation = self.generation.wrapping_add(1);
        self.socks[index as usize] = Some(Box::new(Sock {
            generation: self.generation,
            nic,
            set,
            handle,
            pd,
            kind,
            dirty: false,
            timer_at: u64::MAX,
        }));
        Ok(index)
    }

    /// The socket with this number.
    pub(super) fn sock(&mut self, id: u32) -> &mut Sock {
        match self.socks.get_mut(id as usize) {
            Some(Some(s)) => s,
            _ => unreachable!("a socket that is gone is used"),
        }
    }

    pub(super) fn try_sock(&mut self, id: u32) -> Option<&mut Sock> {
        self.socks.get_mut(id as usize)?.as_deref_mut()
    }

    /// Every connection, with its number.
    pub(super) fn connections(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let all = self.socks.iter().enumerate();
        all.filter_map(|(i, s)| match &s.as_ref()?.kind {
            Kind::Tcp(c) => Some((i as u32, c)),
            _ => None,
        })
    }

    /// Forgets a socket that is registered nowhere any more.
    pub(super) fn remove(&mut self, id: u32) {
        if self.socks[id as usize].take().is_some() {
            self.free.push(id);
        }
    }

    /// The socket may have something to send.
    pub(super) fn mark(&mut self, id: u32) {
        let sock = self.sock(id);
        if !core::mem::replace(&mut sock.dirty, true) {
            self.dirty.push_back(id);
        }
    }

    /// One round: frames in, deadlines, frames out, until nothing is left or the budget is spent (`true`).
    fn round(&mut self, wakes: &mut Wakes) -> bool {
        let mut left = BUDGET;
        let now = sched::now_ns();
        if now >= self.alarm_at {
            self.alarm_at = u64::MAX;
        }
        loop {
            let before = left;
            for n in 0..self.nics.len() {
                // not a spin: ends with the link's frames, or the budget
                while left > 0 {
                    let Some(frame) = self.nics[n].link.receive() else {
                        break;
                    };
                    left -= 1;
                    self.stats.frames_in += 1;
                    self.ingress(n, &frame, now, wakes);
                    self.nics[n].link.recycle(frame);
                }
            }
            while left > 0
                && let Some(who) = self.deadlines.due(now)
            {
                left -= 1;
                self.deadline(who);
            }
            // Those marked meanwhile wait for the next turn of the outer loop, or a socket whose link is full would
            // keep us here.
            for _ in 0..self.dirty.len() {
                if left == 0 {
                    break;
                }
                let Some(id) = self.dirty.pop_front() else { break };
                left -= 1;
                self.egress(id, now, wakes);
            }
            if left == 0 || before == left {
                break;
            }
        }
        for nic in &mut self.nics {
            nic.link.flush();
        }
        if let Some(first) = self.deadlines.first()
            && first < self.alarm_at
        {
            self.alarm_at = first;
            self.alarm.set(first);
        }
        left == 0
    }

    fn ingress(&mut self, n: usize, frame: &[u8], now: u64, wakes: &mut Wakes) {
        let medium = self.nics[n].link.capabilities().medium;
        let mut resets = false;
        let to = match look(medium, frame) {
            Carries::Tcp {
                tuple,
                opens,
                resets: r,
            } => {
                resets = r;
                match self.segment_for(n, tuple, opens) {
                    Ok(to) => to,
                    Err(Dropped) => return,
                }
            }
            Carries::Udp(tuple) => self.datagram_for(tuple),
            Carries::Neighbor => {
                self.show(n, None, frame, now);
                for id in core::mem::take(&mut self.nics[n].asking) {
                    if self.try_sock(id).is_some() {
                        self.mark(id);
                    }
                }
                return;
            }
            Carries::Other => None,
        };
        self.show(n, to, frame, now);
        if let Some(id) = to {
            self.settle(id, resets, wakes);
            self.plan(id, now, true);
        }
    }

    /// Shows a frame to one socket, or to the interface alone.
    fn show(&mut self, n: usize, to: Option<u32>, frame: &[u8], now: u64) {
        let nic = &mut self.nics[n];
        let set = match to {
            Some(id) => match self.socks.get_mut(id as usize) {
                Some(Some(s)) => &mut s.set,
                _ => &mut self.nobody,
            },
            None => &mut self.nobody,
        };
        let mut feed = Feed::new(&mut *nic.link, Some(frame));
        nic.iface.poll_ingress_single(clock(now), &mut feed, set);
    }

    /// A deadline came up: is it still meant?
    fn deadline(&mut self, who: Who) {
        if let Some(s) = self.try_sock(who.index)
            && s.generation == who.generation
        {
            s.timer_at = u64::MAX;
            self.mark(who.index);
        }
    }

    /// Sends what the socket has to send.
    fn egress(&mut self, id: u32, now: u64, wakes: &mut Wakes) {
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return;
        };
        sock.dirty = false;
        let nic = &mut self.nics[sock.nic];
        let mut feed = Feed::new(&mut *nic.link, None);
        let mut sent = false;
        // not a spin: a socket's window and buffer are bounded
        while nic.iface.poll_egress(clock(now), &mut feed, &mut sock.set) != PollResult::None {
            sent = true;
        }
        if feed.asked && nic.asking.try_reserve(1).is_ok() {
            nic.asking.push(id);
        }
        self.settle(id, false, wakes);
        self.plan(id, now, sent);
    }

    /// When must the socket be looked at next? Without `progress` not at once, whatever it says.
    fn plan(&mut self, id: u32, now: u64, progress: bool) {
        let Some(Some(sock)) = self.socks.get_mut(id as usize) else {
            return;
        };
        let nic = &mut self.nics[sock.nic];
        let mut at = match nic.iface.poll_at(clock(now), &sock.set) {
            None => u64::MAX,
            Some(at) if at <= clock(now) => {
                if progress && nic.link.has_room() {
                    if !core::mem::replace(&mut sock.dirty, true) {
                        self.dirty.push_back(id);
                    }
                    return;
                }
                now + 1_000_000 // the link is full, or the packet has nowhere to go: soon
            }
            // Rounded up: the stack counts microseconds.
            Some(at) => at.total_micros() as u64 * 1000 + 999,
        };
        if let Kind::Tcp(c) = &sock.kind {
            at = at.min(c.expires);
        }
        if at < sock.timer_at {
            let who = Who {
                index: id,
                generation: sock.generation,
            };
            if self.deadlines.add(at, who) {
                sock.timer_at = at;
            }
        }
    }

    /// Tells the socket's goroutines what they can do now, and moves a connection along.
    pub(super) fn settle(&mut self, id: u32, reset: bool, wakes: &mut Wakes) {
        let sock = self.sock(id);
        let (readable, writable) = match &sock.kind {
            Kind::Tcp(_) => return self.settle_tcp(id, reset, wakes),
            Kind::Udp => {
                let s = sock.udp();
                (s.can_recv(), s.can_send())
            }
            Kind::Dhcp => return self.settle_dhcp(id),
        };
        wake(&sock.pd, readable, writable, wakes);
    }

    fn datagram_for(&self, tuple: Tuple) -> Option<u32> {
        let list = self.udp.get(&tuple.local.port())?;
        let mut best = None;
        for &id in list {
            let Some(Some(s)) = self.socks.get(id as usize) else {
                continue;
            };
            if matches!(s.kind, Kind::Dhcp) {
                return Some(id);
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

    /// Is `addr` one of this machine's, or every address?
    pub(super) fn is_local(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip();
        ip.is_unspecified() || self.route(ip).is_some_and(|n| self.nics[n].link.loops())
    }

    /// The medium of a link.
    pub(super) fn is_ethernet(&self, nic: usize) -> bool {
        self.nics[nic].link.capabilities().medium == Medium::Ethernet
    }
}

#[cfg(all(test, not(loom)))]
impl Stack {
    /// Shows every link `rounds` frames made by damaging a SYN, a datagram, an ICMP echo and a fragment.
    pub(super) fn fuzz(&mut self, rounds: u32) {
        let mut x = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as usize
        };
        for round in 0..rounds {
            let n = random() % self.nics.len();
            let mut frame = [0u8; 80];
            frame[..20].copy_from_slice(&[
                0x45,
                0,
                0,
                80,
                0,
                1,
                0,
                0,
                64,
                [6, 17, 1][round as usize % 3],
                0,
                0,
                127,
                0,
                0,
                1,
                127,
                0,
                0,
                1,
            ]);
            frame[20..24].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
            frame[32] = 0x50;
            frame[33] = 2;
            for _ in 0..random() % 12 {
                frame[random() % 80] = random() as u8;
            }
            let len = if random() % 4 == 0 { random() % 81 } else { 80 };
            let mut wakes = Wakes::new();
            self.ingress(n, &frame[..len], sched::now_ns(), &mut wakes);
            sched::ready_all(&wakes);
        }
    }
}

/// The frame is not for anybody, and not to be answered.
pub(super) struct Dropped;

/// Collects who may go on.
pub(super) fn wake(pd: &PollDesc, readable: bool, writable: bool, wakes: &mut Wakes) {
    for (is, mode) in [(readable, Mode::Read), (writable, Mode::Write)] {
        if is
            && let Some(g) = pd.ready(mode)
            && wakes.push(g).is_err()
        {
            unreachable!("more goroutines woken than a round may")
        }
    }
}

/// Something changes for a listener.
pub(super) fn wake_reader(pd: &PollDesc, wakes: &mut Wakes) {
    wake(pd, true, false, wakes);
}
