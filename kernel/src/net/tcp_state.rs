//! TCP connections inside the stack: how one begins, what its goroutines learn, and how it goes away.
//!
//! | | found by frames (`tuples`) | held by | goes when |
//! | --- | --- | --- | --- |
//! | connecting, open | yes | a `TcpStream` | the handle is dropped: orphan |
//! | half open (SYN came) | yes | its listener's count | open: moves to the accept queue; 10 s; reset |
//! | in the accept queue | yes | its listener | accepted; the listener goes: reset |
//! | orphan | until dead | nobody | the FINs are through, TIME_WAIT is over, reset, or after a minute |
//! | dead, handle lives | no | a `TcpStream`, which learns why | the handle is dropped |
//!
//! Dropping a stream never blocks: what was written is still sent, then the FIN. If the peer sends data that nobody will
//! read, the connection is reset, as elsewhere. At most `TIME_WAITS` orphans linger in TIME_WAIT; the oldest goes first.
//! There are at most `ORPHANS`: peers that never answer the FIN must not use up the memory.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    socket::tcp::{RecvError, Socket, SocketBuffer, State},
    time::Duration,
    wire::{IpAddress, IpEndpoint, IpListenEndpoint},
};

use super::{
    Error,
    buffers::{BUFFERS, Share},
    deadlines::Who,
    demux::Tuple,
    listen::TRIES,
    poll::PollDesc,
    reset::Expected,
    round::{Dropped, Wakes, wake},
    stack::{Kind, Stack},
};
use crate::time::Timer;

/// A peer that answers nothing for so long is gone; silent connections are asked this often.
const GONE_AFTER: Duration = Duration::from_secs(180);
const ASK_EVERY: Duration = Duration::from_secs(60);
const SECOND: u64 = 1_000_000_000;
const HALF_OPEN_FOR: u64 = 10 * SECOND;
const ORPHAN_FOR: u64 = 60 * SECOND;
/// For so long a reset may wait to be sent: its peer may be out of reach for good.
const FAREWELL_FOR: u64 = 2 * SECOND;
/// Orphans at most; beyond that dropping a stream resets it.
pub(super) const ORPHANS: usize = 8192;
pub(super) const TIME_WAITS: usize = 1024;

/// What the stack knows of a connection beside its socket.
pub(super) struct Connection {
    pub(super) tuple: Tuple,
    /// Of the memory for large buffers.
    _share: Share,
    registered: bool,
    /// Half open, on behalf of this listener.
    listener: Option<u32>,
    /// No handle any more.
    pub(super) orphan: bool,
    /// Why it ended, if not in peace.
    pub(super) error: Option<Error>,
    was: State,
    /// See `reset`.
    pub(super) expected: Expected,
    /// Bytes taken since the peer was last offered a larger window.
    taken: usize,
    /// It is reset at this time (ns).
    pub(super) expires: u64,
    /// Fires when the peer has hung up: see `hang_up`.
    watch: Option<Timer>,
}

fn new_socket([rx, tx]: [SocketBuffer<'static>; 2]) -> Socket<'static> {
    let mut s = Socket::new(rx, tx);
    s.set_nagle_enabled(false); // Go's default, and what request and answer want
    s.set_timeout(Some(GONE_AFTER));
    s.set_keep_alive(Some(ASK_EVERY));
    s
}

/// `core`'s address as the stack's.
pub(super) fn endpoint(a: SocketAddr) -> IpEndpoint {
    IpEndpoint::new(IpAddress::from(a.ip()), a.port())
}

impl Stack {
    pub(super) fn connection(&mut self, id: u32) -> &mut Connection {
        match &mut self.sock(id).kind {
            Kind::Tcp(c) => c,
            _ => unreachable!("not a connection"),
        }
    }

    fn register(&mut self, id: u32, tuple: Tuple) -> Result<(), Error> {
        self.tuples.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        self.tuples.insert(tuple, id);
        self.connection(id).registered = true;
        Ok(())
    }

    fn unregister(&mut self, id: u32) {
        let c = self.connection(id);
        if core::mem::take(&mut c.registered) {
            let tuple = c.tuple;
            self.tuples.remove(&tuple);
        }
    }

    fn add_tcp(
        &mut self,
        nic: usize,
        tuple: Tuple,
        s: Socket<'static>,
        share: Share,
        listener: Option<u32>,
    ) -> Result<u32, Error> {
        let c = Connection {
            tuple,
            _share: share,
            registered: false,
            listener,
            orphan: false,
            error: None,
            was: s.state(),
            expected: Expected::default(),
            taken: 0,
            expires: u64::MAX,
            watch: None,
        };
        let id = self.add(nic, s, Kind::Tcp(c), PollDesc::try_new()?)?;
        if let Err(e) = self.register(id, tuple) {
            self.remove(id);
            return Err(e);
        }
        Ok(id)
    }

    /// Begins a connection to `to`, from one of the next `TRIES` ports that is free; it opens when the answer comes.
    pub(super) fn connect(&mut self, to: SocketAddr) -> Result<(u32, Arc<PollDesc>, Tuple), Error> {
        self.make(|s| s.open_active(to))
    }

    fn open_active(&mut self, to: SocketAddr) -> Result<(u32, Arc<PollDesc>, Tuple), Error> {
        let nic = self.route(to.ip()).ok_or(Error::Unreachable)?;
        let from: IpAddr = if self.nics[nic].link.loops() {
            to.ip()
        } else {
            let remote = IpAddress::from(to.ip());
            let src = self.nics[nic].iface.get_source_address(&remote);
            src.ok_or(Error::Unreachable)?.into()
        };
        let free = (0..TRIES).find_map(|_| {
            let local = self.ephemeral(from);
            let tuple = Tuple { local, remote: to };
            // Not itself: it would answer its own request.
            let taken =
                local == to || self.tuples.contains_key(&tuple) || self.listeners.contains_key(&local.port());
            (!taken).then_some(tuple)
        });
        let tuple = free.ok_or(Error::AddrNotAvailable)?;
        let (pair, share) = BUFFERS.pair()?;
        let mut s = new_socket(pair);
        s.connect(
            self.nics[nic].iface.context(),
            endpoint(to),
            endpoint(tuple.local),
        )
        .map_err(|_| Error::InvalidAddr)?;
        let id = self.add_tcp(nic, tuple, s, share, None)?;
        self.opens.active += 1;
        self.mark(id);
        Ok((id, self.sock(id).pd.clone(), tuple))
    }

    /// The connection of an incoming segment; a new one if it asks for that and somebody listens.
    pub(super) fn segment_for(
        &mut self,
        nic: usize,
        tuple: Tuple,
        opens: bool,
    ) -> Result<Option<u32>, Dropped> {
        if let Some(&id) = self.tuples.get(&tuple) {
            if !(opens && self.connection(id).orphan && self.sock(id).tcp().state() == State::TimeWait) {
                return Ok(Some(id));
            }
            // The peer uses its port again: what is left of the old connection gives way.
            self.unregister(id);
            self.remove(id);
        }
        let ours = |s: &Stack| {
            let to = IpAddress::from(tuple.local.ip());
            s.nics[nic].iface.ip_addrs().iter().any(|c| c.address() == to)
        };
        if !opens || !ours(self) {
            return Ok(None);
        }
        let Some(l) = self.listener_for(tuple.local) else {
            return Ok(None);
        };
        if !self.may_queue(l) {
            self.opens.refused_backlog += 1;
            return Err(Dropped);
        }
        let id = match self.has_room(l) {
            true => self.make(|s| s.open_passive(nic, tuple, l)).ok(),
            false => None,
        };
        if id.is_none() {
            self.opens.refused_memory += 1;
            self.is_short();
        }
        id.map(Some).ok_or(Dropped)
    }

    fn open_passive(&mut self, nic: usize, tuple: Tuple, listener: u32) -> Result<u32, Error> {
        let (pair, share) = BUFFERS.pair()?;
        let mut s = new_socket(pair);
        let at = IpListenEndpoint {
            addr: Some(tuple.local.ip().into()),
            port: tuple.local.port(),
        };
        s.listen(at).map_err(|_| Error::InvalidAddr)?;
        let id = self.add_tcp(nic, tuple, s, share, Some(listener))?;
        let until = self.now + HALF_OPEN_FOR;
        self.connection(id).expires = until;
        let generation = self.sock(id).generation;
        if let Err(e) = self.begun(
            listener,
            Who {
                index: id,
                generation,
            },
        ) {
            self.unregister(id);
            self.remove(id);
            return Err(e);
        }
        Ok(id)
    }

    /// Is it still this listener's?
    pub(super) fn is_half_open(&mut self, l: u32, who: Who) -> bool {
        match self.try_sock(who.index) {
            Some(s) if s.generation == who.generation => {
                matches!(&s.kind, Kind::Tcp(c) if c.listener == Some(l))
            }
            _ => false,
        }
    }

    /// A half-open connection gives way, without a word to its peer.
    pub(super) fn forget_half_open(&mut self, l: u32, who: Who) {
        if self.is_half_open(l, who) {
            self.listener(l).half_open -= 1;
            self.opens.forgotten += 1;
            self.unregister(who.index);
            self.remove(who.index);
        }
    }

    /// After anything may have changed: see the table in the file head.
    pub(super) fn settle_tcp(&mut self, id: u32, reset: bool, wakes: &mut Wakes) {
        let now = self.now;
        let s = self.sock(id).tcp();
        let mut state = s.state();
        let unread = s.can_recv();
        let c = self.connection(id);
        let was = c.was;
        let overdue = c.expires <= now;
        // Its reset has had its time: nobody says where the peer is.
        let mute = overdue && state == State::Closed;
        if state != State::Closed && (overdue || c.orphan && unread) {
            c.expires = now + FAREWELL_FOR;
            self.sock(id).tcp().abort();
            state = State::Closed;
        }
        let s = self.sock(id).tcp();
        let farewell = s.remote_endpoint().is_some() && !mute; // a reset still to be sent
        let c = self.connection(id);
        c.was = state;
        let dead = matches!(state, State::Closed | State::Listen) && !farewell;
        if state == State::Closed && was != State::Closed && c.error.is_none() {
            c.error = match was {
                State::LastAck | State::TimeWait | State::Closing => None,
                State::SynSent if reset => Some(Error::Refused),
                _ if reset => Some(Error::Reset),
                _ => Some(Error::TimedOut),
            };
        }
        if dead {
            self.unregister(id);
        }
        let c = self.connection(id);
        if let Some(l) = c.listener {
            if dead {
                self.listener(l).half_open -= 1;
                return self.remove(id);
            }
            if !matches!(state, State::Listen | State::SynReceived | State::Closed) {
                c.listener = None;
                c.expires = u64::MAX;
                self.opens.passive += 1;
                self.opened(l, id, wakes);
            }
            return;
        }
        if c.orphan {
            if dead {
                return self.remove(id);
            }
            if state == State::TimeWait && was != state {
                self.linger(id);
            }
            return;
        }
        if matches!(state, State::SynSent | State::SynReceived) {
            return;
        }
        let sock = self.sock(id);
        let s = sock.tcp();
        let ended = !s.may_recv();
        let readable = s.can_recv() || ended;
        let writable = s.can_send() || !s.may_send();
        wake(&sock.pd, readable, writable, wakes);
        if ended || state == State::Closed {
            self.hang_up(id);
        }
    }

    /// The peer has ended the connection, and all it said was read (or it broke off): whoever watches hears of it. His
    /// timer is started after the lock is released: timers that start goroutines have locks of a lower rank. Without
    /// memory for the list he does not hear of it.
    #[cold]
    fn hang_up(&mut self, id: u32) {
        if let Some(t) = self.connection(id).watch.take() {
            self.fire_later(t);
        }
    }

    /// `t` fires when the peer hangs up, or soon if it has.
    pub(super) fn watch(&mut self, id: u32, t: Timer) {
        self.connection(id).watch = Some(t);
        let s = self.sock(id).tcp();
        if !s.may_recv() || s.state() == State::Closed {
            self.hang_up(id);
        }
    }

    /// Makes a connection. Without memory orphans in TIME_WAIT give theirs, the oldest first.
    fn make<R>(&mut self, make: impl Fn(&mut Self) -> Result<R, Error>) -> Result<R, Error> {
        loop {
            match make(self) {
                Err(Error::OutOfMemory) if self.forget_time_wait() => {}
                r => return r,
            }
        }
    }

    /// The oldest orphan in TIME_WAIT goes; `false`: there is none.
    pub(super) fn forget_time_wait(&mut self) -> bool {
        let Some(old) = self.time_waits.pop_front() else {
            return false;
        };
        if let Some(s) = self.try_sock(old.index)
            && s.generation == old.generation
        {
            self.unregister(old.index);
            self.remove(old.index);
        }
        true
    }

    /// An orphan is in TIME_WAIT; too many of them are forgotten.
    fn linger(&mut self, id: u32) {
        let generation = self.sock(id).generation;
        if self.time_waits.len() >= TIME_WAITS || self.time_waits.try_reserve(1).is_err() {
            self.forget_time_wait();
        }
        if self.time_waits.try_reserve(1).is_ok() {
            self.time_waits.push_back(Who {
                index: id,
                generation,
            });
        }
    }

    /// Has the connection opened? `None`: not yet.
    pub(super) fn connected(&mut self, id: u32) -> Option<Result<(), Error>> {
        match self.sock(id).tcp().state() {
            State::SynSent | State::SynReceived => None,
            State::Closed => Some(Err(self.connection(id).error.unwrap_or(Error::Refused))),
            _ => Some(Ok(())),
        }
    }

    /// Takes what has arrived. `Ok(None)`: nothing yet; `Ok(Some(0))`: the end.
    pub(super) fn recv(&mut self, id: u32, buf: &mut [u8]) -> Result<Option<usize>, Error> {
        let s = self.sock(id).tcp();
        let (queued, half) = (s.recv_queue(), s.recv_capacity() / 2);
        match s.recv_slice(buf) {
            Ok(0) => Ok(None),
            Ok(n) => {
                // The peer hears of the larger window only when it has doubled, which takes half a buffer: for less
                // there is nothing to send, and nothing to ask.
                let ended = !s.may_recv();
                let c = self.connection(id);
                c.taken += n;
                c.expected.take(n);
                if c.taken >= half || queued >= half {
                    c.taken = 0;
                    self.mark(id);
                }
                if ended {
                    self.hang_up(id);
                }
                Ok(Some(n))
            }
            Err(RecvError::Finished) => Ok(Some(0)),
            Err(RecvError::InvalidState) => match self.connection(id).error {
                Some(e) => Err(e),
                None => Ok(Some(0)),
            },
        }
    }

    /// As `recv`, but takes nothing.
    pub(super) fn peek(&mut self, id: u32, buf: &mut [u8]) -> Result<Option<usize>, Error> {
        let s = self.sock(id).tcp();
        match s.can_recv() {
            true => s.peek_slice(buf).map(Some).map_err(|_| Error::Closed),
            false => self.recv(id, &mut []),
        }
    }

    /// Hands over what fits. `Ok(None)`: nothing does now.
    pub(super) fn send(&mut self, id: u32, buf: &[u8]) -> Result<Option<usize>, Error> {
        match self.sock(id).tcp().send_slice(buf) {
            Ok(0) => Ok(None),
            Ok(n) => {
                self.mark(id);
                Ok(Some(n))
            }
            Err(_) => Err(self.connection(id).error.unwrap_or(Error::BrokenPipe)),
        }
    }

    /// See `TcpStream::set_keepalive`.
    pub(super) fn keep_alive(&mut self, id: u32, every: Option<core::time::Duration>) {
        let s = self.sock(id).tcp();
        let every = every.map(|d| Duration::from_micros(d.as_micros().clamp(1_000, 1 << 50) as u64));
        s.set_keep_alive(every);
        s.set_timeout(every.map(|e| GONE_AFTER.max(e * 3)));
        self.mark(id);
    }

    /// Sends a FIN after what was written.
    pub(super) fn finish(&mut self, id: u32) {
        self.sock(id).tcp().close();
        self.mark(id);
    }

    /// The handle goes: see the file head.
    pub(super) fn release(&mut self, id: u32) {
        let (now, crowd) = (self.now, self.orphans >= ORPHANS);
        let s = self.sock(id).tcp();
        if s.can_recv() || crowd {
            s.abort();
        } else {
            s.close();
        }
        let lasts = match s.state() {
            State::Closed => FAREWELL_FOR,
            _ => ORPHAN_FOR,
        };
        self.orphan(id, now + lasts);
    }

    /// It has no handle any more; at `expires` it goes.
    fn orphan(&mut self, id: u32, expires: u64) {
        let c = self.connection(id);
        debug_assert!(!c.orphan, "a connection is released twice");
        c.orphan = true;
        c.expires = expires;
        let lingers = c.was == State::TimeWait; // came there while it had a handle
        self.orphans += 1;
        self.mark(id);
        if lingers {
            self.linger(id);
        }
    }

    /// Nobody will accept it.
    pub(super) fn reset(&mut self, id: u32) {
        let until = self.now + FAREWELL_FOR;
        self.sock(id).tcp().abort();
        self.connection(id).listener = None;
        self.orphan(id, until);
    }
}
