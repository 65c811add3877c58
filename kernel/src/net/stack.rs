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
use core::net::SocketAddr;

use hashbrown::HashMap;
use smoltcp::{
    iface::{SocketHandle, SocketSet, SocketStorage},
    socket::{AnySocket, dhcpv4, icmp, tcp, udp},
    time::Instant,
    wire::{IpAddress, IpCidr},
};

use super::{
    Error,
    alarm::Alarm,
    bell,
    deadlines::{Deadlines, Who},
    demux::Tuple,
    hash::Seeded,
    link::Loopback,
    listen::Listener,
    nic::Nic,
    poll::PollDesc,
    round::Wakes,
    stats::Opens,
    tcp_state::Connection,
    udp_state::Datagrams,
};
use crate::{
    lock::{PreemptGuard, Rank, SpinLock},
    sched,
    shim::{AtomicBool, Ordering},
    time::{Duration, Timer},
};

static STACK: SpinLock<Option<Box<Stack>>> = SpinLock::new(Rank::Net, None);

/// What a socket is.
pub(super) enum Kind {
    Tcp(Connection),
    Udp(Datagrams),
    Icmp,
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
    pub(super) dirty: bool,
    /// On this interface's list of those that wait for a neighbor.
    pub(super) asks: Option<usize>,
}

impl Sock {
    pub(super) fn tcp(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    pub(super) fn tcp_ref(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    pub(super) fn udp(&mut self) -> &mut udp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    pub(super) fn icmp(&mut self) -> &mut icmp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    pub(super) fn dhcp(&mut self) -> &mut dhcpv4::Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// See the file head.
pub(super) struct Stack {
    /// The time, as of when the lock was taken.
    pub(super) now: u64,
    pub(super) nics: Vec<Nic>,
    pub(super) socks: Vec<Option<Box<Sock>>>,
    pub(super) free: Vec<u32>,
    generation: u32,
    pub(super) tuples: HashMap<Tuple, u32, Seeded>,
    pub(super) listeners: HashMap<u16, Vec<u32>, Seeded>,
    pub(super) listening: Vec<Option<Listener>>,
    pub(super) udp: HashMap<u16, Vec<u32>, Seeded>,
    /// Who waits for the answer to an echo request, by its identifier.
    pub(super) pings: HashMap<u16, u32, Seeded>,
    pub(super) dirty: VecDeque<u32>,
    pub(super) deadlines: Deadlines,
    pub(super) alarm: &'static Alarm,
    /// What `alarm` is set to.
    pub(super) alarm_at: u64,
    pub(super) next_port: u16,
    pub(super) opens: Opens,
    /// Goroutines that the netpoller woke after interrupts.
    pub(super) interrupt_wakes: u64,
    /// Connections that are orphans.
    pub(super) orphans: usize,
    /// Orphans in TIME_WAIT, oldest first.
    pub(super) time_waits: VecDeque<Who>,
    /// Connections whose peers have hung up: timers to fire once the lock is released.
    hung_up: Vec<Timer>,
    /// Is there memory for one more connection, beside so many and with so many on their way in? A test may answer itself.
    pub(super) room: fn(usize, usize) -> bool,
    /// There was not: what is idle is to be given back, once the lock is released.
    short: bool,
    /// Shown to the interface with frames that no socket wants.
    pub(super) nobody: SocketSet<'static>,
}

/// The stack's clock.
pub(super) fn clock(now: u64) -> Instant {
    Instant::from_micros((now / 1000) as i64)
}

/// Rounds after which who polls leaves the rest to another: frames may come faster than they can be handled, and
/// neither a goroutine's `read` nor a core's g0 may be kept for that.
const ROUNDS: usize = 8;

/// Runs `f` on the stack, then polls it until nothing is left to do or others have waited long enough, and readies who
/// may go on. Not preempted until they are ready: "no lost G" in `poll`.
pub(super) fn with<R>(f: impl FnOnce(&mut Stack) -> R) -> R {
    let here = PreemptGuard::new();
    let mut wakes = Wakes::new();
    let (r, more) = {
        let mut guard = STACK.lock();
        let s = guard.get_or_insert_with(Stack::new);
        s.now = sched::now_ns();
        let r = f(s);
        (r, s.round(&mut wakes))
    };
    bell::ring();
    sched::ready_all(&wakes);
    do_later();
    drop(here);
    if more {
        poll_on(false);
    }
    r
}

/// Is there anything in `Stack::hung_up`, or is memory short? Set under the lock; a look costs a load, where taking an empty
/// list out under the lock costs each call some thirty instructions.
static LATER: AtomicBool = AtomicBool::new(false);

/// What must wait for the lock's release: starts the timers of those that watch connections whose peers have hung up, and
/// has idle memory given back. Who set the flag comes here next; that another may come first and do it for him is no harm
/// (the lock orders the list).
#[inline(always)]
fn do_later() {
    if LATER.load(Ordering::Relaxed) {
        later();
    }
}

#[cold]
fn later() {
    let (timers, short) = match &mut *STACK.lock() {
        Some(s) => {
            LATER.store(false, Ordering::Relaxed); // under the lock, as it is set
            (core::mem::take(&mut s.hung_up), core::mem::take(&mut s.short))
        }
        None => return,
    };
    for t in timers {
        t.reset(Duration::ZERO);
    }
    if short {
        sched::ask_for_memory();
    }
}

/// One more round, with the lock taken anew; after an interrupt, or not. `true`: there is more to do.
fn again(interrupted: bool) -> bool {
    let _here = PreemptGuard::new(); // as in `with`
    let mut wakes = Wakes::new();
    let more = match &mut *STACK.lock() {
        Some(s) => {
            s.now = sched::now_ns();
            let more = s.round(&mut wakes);
            s.interrupt_wakes += if interrupted { wakes.len() as u64 } else { 0 };
            more
        }
        None => false,
    };
    bell::ring();
    sched::ready_all(&wakes);
    do_later();
    more
}

/// The netpoller: takes what devices have received, and lets those go on who waited for it. On g0, after an interrupt.
pub(super) fn netpoll() {
    if again(true) {
        poll_on(true);
    }
}

/// The same at a socket's deadline.
fn on_alarm() {
    if again(false) {
        poll_on(false);
    }
}

#[cold]
fn poll_on(interrupted: bool) {
    // not a spin: ends with the work, or is taken over by the netpoller's next turn
    loop {
        for _ in 0..ROUNDS {
            if !again(interrupted) {
                return;
            }
        }
        if sched::poll_network_soon() {
            return;
        }
    }
}

impl Stack {
    pub(super) fn new() -> Box<Stack> {
        let seed = || u64::from(sched::rand32()) << 32 | u64::from(sched::rand32());
        let table = Seeded::new(seed());
        let mut s = Box::new(Stack {
            now: 0,
            nics: Vec::new(),
            socks: Vec::new(),
            free: Vec::new(),
            generation: 0,
            tuples: HashMap::with_hasher(table),
            listeners: HashMap::with_hasher(table),
            listening: Vec::new(),
            udp: HashMap::with_hasher(table),
            pings: HashMap::with_hasher(table),
            dirty: VecDeque::new(),
            deadlines: Deadlines::default(),
            alarm: Alarm::new(on_alarm),
            alarm_at: u64::MAX,
            next_port: (sched::rand32() % 16384) as u16,
            opens: Opens::default(),
            interrupt_wakes: 0,
            orphans: 0,
            time_waits: VecDeque::new(),
            hung_up: Vec::new(),
            room: crate::mem::room::for_one_more,
            short: false,
            nobody: SocketSet::new(Vec::new()),
        });
        s.add_nic("lo", Box::new(Loopback::default()));
        s.add_address(0, IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8));
        s.add_address(0, IpCidr::new(IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1), 128));
        s
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
        self.generation = self.generation.wrapping_add(1);
        let sock = Box::try_new(Sock {
            generation: self.generation,
            nic,
            set,
            handle,
            pd,
            kind,
            dirty: false,
            asks: None,
        })?;
        let index = match self.free.pop() {
            Some(i) => i as usize,
            None => {
                let n = self.socks.len() + 1;
                self.socks.try_reserve(1).map_err(no_memory)?;
                // Whoever goes finds room on the free list, and everybody on the dirty list and among the deadlines.
                self.free.try_reserve(n).map_err(no_memory)?;
                self.dirty
                    .try_reserve(n - self.dirty.len().min(n))
                    .map_err(no_memory)?;
                self.deadlines.make_room(n as u32 - 1).map_err(no_memory)?;
                self.socks.push(None);
                n - 1
            }
        };
        self.socks[index] = Some(sock);
        Ok(index as u32)
    }

    /// `t` is started as soon as the lock is released. Without memory for the list it is not.
    pub(super) fn fire_later(&mut self, t: Timer) {
        if self.hung_up.try_reserve(1).is_ok() {
            self.hung_up.push(t);
            LATER.store(true, Ordering::Relaxed);
        }
    }

    /// Memory that is idle is given back soon.
    pub(super) fn is_short(&mut self) {
        self.short = true;
        LATER.store(true, Ordering::Relaxed);
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

    /// Forgets a socket that is registered nowhere any more.
    pub(super) fn remove(&mut self, id: u32) {
        if let Some(gone) = self.socks[id as usize].take() {
            self.orphans -= usize::from(matches!(&gone.kind, Kind::Tcp(c) if c.orphan));
            self.deadlines.remove(id);
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

    /// Is `addr` one of this machine's, or every address?
    pub(super) fn is_local(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip();
        ip.is_unspecified() || self.route(ip).is_some_and(|n| self.nics[n].link.loops())
    }
}
