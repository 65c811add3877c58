//! The client's connections: one in use, and those that wait for the next request.
//!
//! A connection whose response was read to its end goes into the pool, with the server's address as its key. It leaves
//! when a request takes it, when `most` are there and it is the one that was idle longest, or after `idle_for`: a timer
//! sees to that, also if no request ever comes; a program that is deadlocked does not wait for it. One that the server has
//! closed meanwhile, or on which it has said something unasked (the next request would take that for its response), is not
//! handed out, as far as that is known here.
#![forbid(unsafe_code)]

use alloc::{string::String, sync::Arc, vec::Vec};

use super::{
    Error,
    inbox::Inbox,
    wire::{ReadClock, Stop, WriteClock},
};
use crate::{
    net::TcpStream,
    sync::Mutex,
    time::{self, Duration, Instant, Timer},
};

/// No connection is kept longer.
pub(super) const LONGEST: Duration = Duration::from_secs(1 << 30);

/// A connection to a server.
pub(super) struct Conn {
    address: String,
    stream: TcpStream,
    read_clock: ReadClock,
    write_clock: WriteClock,
    pub(super) inbox: Inbox,
    silence: Duration,
    due: Option<Instant>,
    since: Instant,
}

impl Conn {
    pub(super) fn new(address: String, stream: TcpStream) -> Conn {
        Conn {
            address,
            stream,
            read_clock: ReadClock::default(),
            write_clock: WriteClock::new(Duration::ZERO),
            inbox: Inbox::new(),
            silence: Duration::ZERO,
            due: None,
            since: Instant::at(0),
        }
    }

    /// A request begins, which ends at `due`, or when the server is silent for so long.
    pub(super) fn begin(&mut self, silence: Duration, due: Option<Instant>) {
        self.silence = silence;
        self.due = due;
        self.write_clock.limit = silence;
        self.write_clock.until = due;
    }

    /// Reads what comes, before the request's deadline and within the limit on silence.
    pub(super) fn fill(&mut self) -> Result<usize, Stop> {
        let silent = Instant::now() + self.silence;
        let at = self.due.map_or(silent, |d| d.min(silent));
        let n = self.read_clock.read(&self.stream, self.inbox.room(), Some(at))?;
        self.inbox.arrived(n);
        Ok(n)
    }

    pub(super) fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        self.write_clock.write_all(&self.stream, data)
    }
}

/// See the file head.
pub(super) struct Pool(Mutex<State>);

pub(super) struct Limits {
    pub(super) most: usize,
    pub(super) idle_for: Duration,
}

struct State {
    limits: Limits,
    /// The latest last.
    idle: Vec<Conn>,
    /// Runs while there are any.
    sweep: Option<Timer>,
}

impl State {
    /// Lets those go whose time is over, and sets the timer for the next.
    fn sweep(&mut self) {
        let (now, idle_for) = (Instant::now(), self.limits.idle_for);
        self.idle.retain(|c| now - c.since < idle_for);
        if let (Some(first), Some(t)) = (self.idle.first(), &self.sweep) {
            t.reset((first.since + idle_for).saturating_duration_since(now));
        }
    }
}

impl Pool {
    pub(super) fn new() -> Arc<Pool> {
        Arc::new(Pool(Mutex::new(State {
            limits: Limits {
                most: 32,
                idle_for: Duration::from_secs(60),
            },
            idle: Vec::new(),
            sweep: None,
        })))
    }

    /// Changes the limits; what is there beyond them goes.
    pub(super) fn set(&self, f: impl FnOnce(&mut Limits)) {
        let mut s = self.0.lock();
        f(&mut s.limits);
        let beyond = s.idle.len().saturating_sub(s.limits.most);
        s.idle.drain(..beyond);
        s.sweep();
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().idle.len()
    }

    pub(super) fn put(self: &Arc<Self>, mut c: Conn) {
        if !c.inbox.is_empty() {
            return; // it says more than it was asked
        }
        c.inbox.shrink();
        c.since = Instant::now();
        let mut s = self.0.lock();
        if s.limits.most == 0 {
            return;
        }
        if s.idle.len() == s.limits.most {
            s.idle.remove(0);
        }
        s.idle.push(c);
        if s.idle.len() > 1 {
            return; // the timer runs for the first
        }
        if s.sweep.is_none() {
            let weak = Arc::downgrade(self);
            let sweep = move || {
                if let Some(p) = weak.upgrade() {
                    p.0.lock().sweep();
                }
            };
            s.sweep = Some(time::system_func(sweep));
        }
        if let Some(t) = &s.sweep {
            t.reset(s.limits.idle_for);
        }
    }

    /// A connection to this address on which nothing has come, not even its end, as far as we know.
    pub(super) fn take(&self, address: &str) -> Option<Conn> {
        let now = Instant::now();
        let mut s = self.0.lock();
        let idle_for = s.limits.idle_for;
        s.idle
            .retain(|c| now - c.since < idle_for && !(c.address == address && !c.stream.is_idle()));
        let at = s.idle.iter().rposition(|c| c.address == address);
        let conn = at.map(|at| s.idle.remove(at));
        if s.idle.is_empty()
            && let Some(t) = &s.sweep
        {
            t.stop();
        }
        conn
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(t) = &self.sweep {
            t.stop();
        }
    }
}
