//! What the stack has done and has now, for figures and the console.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::{fmt, net::SocketAddr};

use smoltcp::socket::tcp::{self, State};

use super::{
    nic::Counters,
    stack::{Kind, with},
};
use crate::sched;

/// How connections began.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Opens {
    pub(super) active: u64,
    pub(super) passive: u64,
    pub(super) refused_backlog: u64,
    pub(super) refused_memory: u64,
    pub(super) forgotten: u64,
}

/// Counters since boot, and what there is now.
///
/// ```
/// let socket = burrow::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// let stats = burrow::net::stats();
/// assert!(stats.udp >= 1 && stats.sockets >= stats.udp);
/// println!("{stats}");
/// drop(socket);
/// ```
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Frames received, all interfaces.
    pub frames_in: u64,
    /// What the interfaces counted, together.
    pub counters: Counters,
    /// Connections opened by this side.
    pub active_opens: u64,
    /// Connections opened by others.
    pub passive_opens: u64,
    /// Connection requests dropped: backlog full, or no memory.
    pub refused_opens: u64,
    /// Of those, for lack of memory.
    pub refused_memory: u64,
    /// Half-open connections that gave way to others: a flood.
    pub forgotten_opens: u64,
    /// Interrupts of devices.
    pub interrupts: u64,
    /// Goroutines that were woken because of them.
    pub interrupt_wakes: u64,
    /// How often a core looked only 5 ms after an interrupt or later: sysmon had to send it, or the machine is very busy.
    pub late_polls: u64,
    /// Sockets now, connections that are being closed included.
    pub sockets: u64,
    /// Of those, UDP sockets.
    pub udp: u64,
    /// Listeners now.
    pub listeners: u64,
    /// Connections now, by state.
    pub states: [(&'static str, u64); 10],
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sockets={} listeners={} udp={} opened={} accepted={} refused={} (no memory {}) forgotten={}\ntcp:",
            self.sockets,
            self.listeners,
            self.udp,
            self.active_opens,
            self.passive_opens,
            self.refused_opens,
            self.refused_memory,
            self.forgotten_opens
        )?;
        let mut any = false;
        for (name, n) in self.states.iter().filter(|s| s.1 != 0) {
            any = true;
            write!(f, " {name} {n}")?;
        }
        if !any {
            f.write_str(" no connections")?;
        }
        write!(
            f,
            "\ninterrupts={} wakes={} late={}\nall: {}",
            self.interrupts, self.interrupt_wakes, self.late_polls, self.counters
        )
    }
}

/// In the order of `state_index`.
const STATES: [&str; 10] = [
    "syn-sent",
    "syn-received",
    "established",
    "fin-wait-1",
    "fin-wait-2",
    "close-wait",
    "closing",
    "last-ack",
    "time-wait",
    "closed",
];

fn state_index(state: State) -> usize {
    match state {
        State::SynSent => 0,
        State::Listen | State::SynReceived => 1, // the SYN is on its way in
        State::Established => 2,
        State::FinWait1 => 3,
        State::FinWait2 => 4,
        State::CloseWait => 5,
        State::Closing => 6,
        State::LastAck => 7,
        State::TimeWait => 8,
        State::Closed => 9,
    }
}

/// Counters now.
///
/// ```
/// let l = burrow::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// assert!(burrow::net::stats().listeners >= 1);
/// ```
pub fn stats() -> Stats {
    let (interrupts, late_polls) = sched::net_interrupts();
    with(|s| {
        let mut all = Stats {
            interrupts,
            interrupt_wakes: s.interrupt_wakes,
            late_polls,
            active_opens: s.opens.active,
            passive_opens: s.opens.passive,
            refused_opens: s.opens.refused_backlog + s.opens.refused_memory,
            refused_memory: s.opens.refused_memory,
            forgotten_opens: s.opens.forgotten,
            sockets: (s.socks.len() - s.free.len()) as u64,
            listeners: s.listening.iter().flatten().count() as u64,
            states: STATES.map(|name| (name, 0)),
            ..Stats::default()
        };
        for nic in &s.nics {
            all.counters += nic.counters;
        }
        all.frames_in = all.counters.frames_in;
        for sock in s.socks.iter().flatten() {
            match sock.kind {
                Kind::Tcp(_) => all.states[state_index(sock.tcp_ref().state())].1 += 1,
                Kind::Udp(_) => all.udp += 1,
                _ => {}
            }
        }
        all
    })
}

/// A connection, as `connections` lists it.
///
/// ```
/// use burrow::net::{TcpListener, TcpStream};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let conn = TcpStream::connect(l.local_addr()).unwrap();
/// let all = burrow::net::connections(1000);
/// let info = all.iter().find(|c| c.local == conn.local_addr()).unwrap();
/// assert_eq!((info.peer, info.state, info.unread), (l.local_addr(), "established", 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// This side.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
    /// `established`, `time-wait`, …
    pub state: &'static str,
    /// Bytes that arrived and were not read yet.
    pub unread: usize,
    /// Bytes written and not acknowledged yet.
    pub unsent: usize,
}

impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} {} unread {} unsent {}",
            self.local, self.peer, self.state, self.unread, self.unsent
        )
    }
}

/// The first `limit` connections that there are.
///
/// ```
/// use burrow::net::{TcpListener, TcpStream, connections};
/// let l = TcpListener::bind("127.0.0.1:0").unwrap();
/// let conn = TcpStream::connect(l.local_addr()).unwrap();
/// assert!(connections(1000).iter().any(|c| c.local == conn.local_addr() && c.state == "established"));
/// ```
pub fn connections(limit: usize) -> Vec<ConnectionInfo> {
    let mut list = Vec::with_capacity(limit.min(4096)); // before the lock
    with(|s| {
        for sock in s.socks.iter().flatten() {
            let Kind::Tcp(c) = &sock.kind else { continue };
            if list.len() == list.capacity() {
                break;
            }
            let t: &tcp::Socket<'_> = sock.tcp_ref();
            list.push(ConnectionInfo {
                local: c.tuple.local,
                peer: c.tuple.remote,
                state: STATES[state_index(t.state())],
                unread: t.recv_queue(),
                unsent: t.send_queue(),
            });
        }
    });
    list
}

/// Where somebody listens, and how many connections wait there to be accepted.
///
/// ```
/// let l = burrow::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// assert!(burrow::net::listeners().contains(&(l.local_addr(), 0)));
/// ```
pub fn listeners() -> Vec<(SocketAddr, usize)> {
    let mut list = Vec::with_capacity(with(|s| s.listening.len())); // before the lock
    with(|s| {
        let all = s.listening.iter().flatten().map(|l| (l.at(), l.waiting()));
        list.extend(all.take(list.capacity()));
    });
    list
}
