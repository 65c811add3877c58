//! A connection with deadlines that cost nothing until they matter.
//!
//! A request moves several deadlines (idle, head, body, write), and each move of the socket's takes two locks. So a
//! deadline that is later than the socket's is only remembered: when the socket's passes, whoever waits looks at what it
//! is now and goes on waiting until then. A connection in steady use touches its timers once per timeout, not per
//! request.
#![forbid(unsafe_code)]

use super::Error;
use crate::{
    net::{self, TcpStream},
    time::{Duration, Instant},
};

/// Why a read ended without data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The deadline passed.
    Late,
    /// The socket's deadline was earlier, or somebody moved it to have the reader look up (the server shuts down). It is
    /// `due` now: look around, and read again.
    Look,
    /// The connection failed.
    Failed(net::Error),
}

impl From<Stop> for Error {
    fn from(s: Stop) -> Error {
        match s {
            Stop::Late | Stop::Look => Error::TimedOut,
            Stop::Failed(e) => e.into(),
        }
    }
}

/// The reading side's deadline.
#[derive(Debug, Default)]
pub(super) struct ReadClock {
    /// What the socket's deadline is set to; `None`: never.
    armed: Option<Instant>,
    /// The last read timed out before that: a second one in a row means that the peer is dead.
    early: bool,
}

impl ReadClock {
    /// Makes sure that the socket's deadline is not later than `due`.
    pub(super) fn prepare(&mut self, s: &TcpStream, due: Option<Instant>) {
        if let Some(at) = due
            && self.armed.is_none_or(|armed| armed > at)
        {
            self.arm(s, due);
        }
    }

    /// Reads at least a byte by `due`; 0 at the end of the stream.
    pub(super) fn read(
        &mut self,
        s: &TcpStream,
        buf: &mut [u8],
        due: Option<Instant>,
    ) -> Result<usize, Stop> {
        self.prepare(s, due);
        match s.read(buf) {
            Ok(n) => {
                self.early = false;
                return Ok(n);
            }
            Err(net::Error::TimedOut) => {}
            Err(e) => return Err(Stop::Failed(e)),
        }
        let now = Instant::now();
        if due.is_some_and(|at| at <= now) {
            return Err(Stop::Late);
        }
        let early = self.armed.is_none_or(|armed| armed > now);
        self.arm(s, due);
        if early && core::mem::replace(&mut self.early, true) {
            return Err(Stop::Failed(net::Error::TimedOut));
        }
        Err(Stop::Look)
    }

    pub(super) fn arm(&mut self, s: &TcpStream, due: Option<Instant>) {
        s.set_read_deadline(due);
        self.armed = due;
    }
}

/// The writing side's deadline: how long a write may get nowhere.
#[derive(Debug)]
pub(super) struct WriteClock {
    armed: Option<Instant>,
    pub(super) limit: Duration,
    /// No write lasts longer than this, whether it gets anywhere or not.
    pub(super) until: Option<Instant>,
}

impl WriteClock {
    pub(super) fn new(limit: Duration) -> Self {
        WriteClock {
            armed: None,
            limit,
            until: None,
        }
    }

    fn due(&self) -> Instant {
        let at = Instant::now() + self.limit;
        self.until.map_or(at, |u| u.min(at))
    }

    /// Writes all of `buf`.
    pub(super) fn write_all(&mut self, s: &TcpStream, mut buf: &[u8]) -> Result<(), Error> {
        let mut due = self.due();
        if self.armed.is_none_or(|armed| armed > due) {
            self.arm(s, due);
        }
        while !buf.is_empty() {
            match s.write(buf) {
                Ok(n) => {
                    buf = &buf[n..];
                    if !buf.is_empty() {
                        due = self.due();
                    }
                }
                Err(net::Error::TimedOut) => {
                    let now = Instant::now();
                    if due <= now || self.armed.is_none_or(|armed| armed > now) {
                        return Err(Error::TimedOut); // late, or the peer is dead
                    }
                    self.arm(s, due);
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn arm(&mut self, s: &TcpStream, due: Instant) {
        s.set_write_deadline(Some(due));
        self.armed = Some(due);
    }
}
