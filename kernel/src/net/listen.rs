//! Listeners inside the stack: who listens where, the accept queue, and what is half open, each bounded.
//!
//! A flood of requests that nobody means to complete fills `HALF_OPEN`; from then on each new one takes the place of the
//! oldest. Who means it answers within a round trip, long before its turn to go comes, and gets in. (SYN cookies would
//! need no memory at all, but a sequence number of our choice, which smoltcp's sockets have not.)
//!
//! Those who come from outside leave some memory to those who live (`mem::room`): without it each connection's next request
//! might be the one that fails. So a request is not answered while there is too little, and the peer asks again.
#![forbid(unsafe_code)]

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use super::{
    Error,
    deadlines::Who,
    demux::Tuple,
    hash::Seeded,
    poll::PollDesc,
    round::{Wakes, wake_reader},
    stack::{Kind, Stack, with},
};

/// Connections that wait to be accepted; what comes beyond is not answered, so the peer asks again a second later.
const BACKLOG: usize = 4096;
/// Connections half open.
pub(super) const HALF_OPEN: usize = 1024;

/// So many half-open ones at least are a flood when memory is short: a few may be honest, and just slower than memory.
const FLOOD: usize = 64;
/// So many make room for one newcomer at most.
const AT_ONCE: usize = 16;

/// See the file head.
pub(super) struct Listener {
    at: SocketAddr,
    queue: VecDeque<u32>,
    pub(super) half_open: usize,
    /// Those that began half open, oldest first; some are not any more.
    begun: VecDeque<Who>,
    pub(super) pd: Arc<PollDesc>,
}

impl Listener {
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Connections that wait to be accepted.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Do two bound addresses of one port overlap? The unspecified IPv6 address is every address of both families.
pub(super) fn overlap(a: IpAddr, b: IpAddr) -> bool {
    covers(a, b) || covers(b, a)
}

fn covers(bound: IpAddr, to: IpAddr) -> bool {
    match bound {
        IpAddr::V6(a) if a.is_unspecified() => true,
        IpAddr::V4(a) if a.is_unspecified() => to.is_ipv4(),
        _ => bound == to,
    }
}

/// Ports of those nobody asks for by number: how many there are, and how many are tried before the lock is let go. All may
/// be taken, and a search through all of them would keep everybody else waiting.
pub(super) const EPHEMERAL: u16 = 16384;
pub(super) const TRIES: u16 = 256;

/// Runs `f`, which tries `TRIES` ports, on the stack until it has found one or all were tried.
pub(super) fn search<R>(mut f: impl FnMut(&mut Stack) -> Result<R, Error>) -> Result<R, Error> {
    for _ in 1..EPHEMERAL / TRIES {
        match with(&mut f) {
            Err(Error::AddrNotAvailable) => {}
            r => return r,
        }
    }
    with(f)
}

/// Adds `id` to those at `port`.
pub(super) fn push_at(table: &mut HashMap<u16, Vec<u32>, Seeded>, port: u16, id: u32) -> Result<(), Error> {
    table.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
    let list = table.entry(port).or_default();
    let room = list.try_reserve(1);
    if room.is_ok() {
        list.push(id);
    } else if list.is_empty() {
        table.remove(&port);
    }
    room.map_err(|_| Error::OutOfMemory)
}

impl Stack {
    pub(super) fn listener(&mut self, l: u32) -> &mut Listener {
        match self.listening.get_mut(l as usize) {
            Some(Some(l)) => l,
            _ => unreachable!("a listener that is gone is used"),
        }
    }

    /// Begins to listen; port 0 is one of the next `TRIES` that is free.
    pub(super) fn listen(&mut self, at: SocketAddr) -> Result<(u32, Arc<PollDesc>, SocketAddr), Error> {
        if !self.is_local(at) {
            return Err(Error::AddrNotAvailable);
        }
        let taken = |s: &Stack, at: SocketAddr| {
            let list = s.listeners.get(&at.port());
            let mut all = list
                .into_iter()
                .flatten()
                .filter_map(|&l| s.listening[l as usize].as_ref());
            all.any(|l| overlap(l.at.ip(), at.ip()))
        };
        let at = if at.port() == 0 {
            let free = (0..TRIES).find_map(|_| {
                let next = self.ephemeral(at.ip());
                (!taken(self, next)).then_some(next)
            });
            free.ok_or(Error::AddrNotAvailable)?
        } else {
            at
        };
        if taken(self, at) {
            return Err(Error::AddrInUse);
        }
        let pd = PollDesc::try_new()?;
        let mut queue = VecDeque::new();
        queue
            .try_reserve(BACKLOG + HALF_OPEN)
            .map_err(|_| Error::OutOfMemory)?;
        let new = Listener {
            at,
            queue,
            half_open: 0,
            begun: VecDeque::new(),
            pd: pd.clone(),
        };
        let l = match self.listening.iter().position(Option::is_none) {
            Some(i) => i,
            None => {
                self.listening.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
                self.listening.push(None);
                self.listening.len() - 1
            }
        };
        push_at(&mut self.listeners, at.port(), l as u32)?;
        self.listening[l] = Some(new);
        Ok((l as u32, pd, at))
    }

    /// The next port of those nobody asks for by number.
    pub(super) fn ephemeral(&mut self, ip: IpAddr) -> SocketAddr {
        self.next_port = self.next_port.wrapping_add(1) % EPHEMERAL;
        SocketAddr::new(ip, 49152 + self.next_port)
    }

    /// Who listens at `to`: the one bound to the address itself before the one bound to all.
    pub(super) fn listener_for(&self, to: SocketAddr) -> Option<u32> {
        let list = self.listeners.get(&to.port())?;
        let at = |l: &u32| self.listening[*l as usize].as_ref().map(|l| l.at.ip());
        let exact = list.iter().find(|l| at(l) == Some(to.ip()));
        exact
            .or_else(|| list.iter().find(|l| at(l).is_some_and(|a| covers(a, to.ip()))))
            .copied()
    }

    /// May one more connection begin? Makes room for it.
    pub(super) fn may_queue(&mut self, l: u32) -> bool {
        while self.listener(l).half_open >= HALF_OPEN && self.forget_oldest(l) {}
        self.listener(l).queue.len() < BACKLOG
    }

    /// The oldest of those that began half open gives way, if it still is; `false`: there is none.
    fn forget_oldest(&mut self, l: u32) -> bool {
        let Some(old) = self.listener(l).begun.pop_front() else {
            return false;
        };
        self.forget_half_open(l, old);
        true
    }

    /// Is there memory for one more connection, beside what those need that live and those that are on their way in? What
    /// has no use any more makes room: the oldest orphans, and of a flood the oldest that is half open, a few at a time.
    pub(super) fn has_room(&mut self, l: u32) -> bool {
        for _ in 0..AT_ONCE {
            let list = self.listener(l);
            let (half_open, on_the_way) = (list.half_open, list.half_open + list.queue.len());
            let live = self.tuples.len().saturating_sub(self.orphans + on_the_way);
            if (self.room)(live, on_the_way) {
                return true;
            }
            if !self.forget_time_wait() && !(half_open >= FLOOD && self.forget_oldest(l)) {
                break;
            }
        }
        false
    }

    /// A connection has begun.
    pub(super) fn begun(&mut self, l: u32, who: Who) -> Result<(), Error> {
        let now_open = |s: &mut Stack, who: Who| !s.is_half_open(l, who);
        // Those at the front that are done make room; without memory for the list the connection is refused.
        while let Some(&first) = self.listener(l).begun.front()
            && now_open(self, first)
        {
            self.listener(l).begun.pop_front();
        }
        let list = self.listener(l);
        list.begun.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        list.begun.push_back(who);
        list.half_open += 1;
        Ok(())
    }

    /// A half-open connection has opened.
    pub(super) fn opened(&mut self, l: u32, id: u32, wakes: &mut Wakes) {
        let l = self.listener(l);
        l.half_open -= 1;
        l.queue.push_back(id); // the room was reserved
        wake_reader(&l.pd, wakes);
    }

    /// Takes the oldest connection that waits.
    pub(super) fn accept(&mut self, l: u32) -> Option<(u32, Arc<PollDesc>, Tuple)> {
        let id = self.listener(l).queue.pop_front()?;
        let sock = self.sock(id);
        match &sock.kind {
            Kind::Tcp(c) => Some((id, sock.pd.clone(), c.tuple)),
            _ => unreachable!("not a connection"),
        }
    }

    /// Stops listening; who waits in the queue is reset.
    pub(super) fn unlisten(&mut self, l: u32) {
        let port = self.listener(l).at.port();
        while let Some(id) = self.listener(l).queue.pop_front() {
            self.reset(id);
        }
        while let Some(who) = self.listener(l).begun.pop_front() {
            if self.is_half_open(l, who) {
                self.reset(who.index);
            }
        }
        if let Some(list) = self.listeners.get_mut(&port) {
            list.retain(|&x| x != l);
            if list.is_empty() {
                self.listeners.remove(&port);
            }
        }
        self.listening[l as usize] = None;
    }
}
