//! A TCP connection as its handles share it: where calls block.
//!
//! Each call tries under the stack's lock and, if there is nothing to be had, waits on the socket's `PollDesc`. A direction is
//! used by one goroutine at a time; others queue on `reading` or `writing`. Closing ends all waits at once; the last handle
//! to go closes.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{fmt, net::SocketAddr};

use super::{
    Error, Shutdown,
    addr::destination,
    demux::Tuple,
    listen::search,
    poll::{Mode, PollDesc},
    stack::{self, Stack},
    turn::Turn,
};
use crate::shim::{AtomicBool, Ordering};

/// See the file head.
pub(super) struct Conn {
    pub(super) id: u32,
    pub(super) pd: Arc<PollDesc>,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    reading: Turn,
    writing: Turn,
    /// Given back to the stack: `id` is no longer ours. Changed under the stack's lock.
    released: AtomicBool,
    /// `shutdown(Read)`. Changed and looked at under the stack's lock: see `poll`.
    deaf: AtomicBool,
}

impl Conn {
    /// Takes over connection `id` of the stack; without memory for that it is closed.
    pub(super) fn new(id: u32, pd: Arc<PollDesc>, t: Tuple) -> Result<Arc<Conn>, Error> {
        // Without memory what was to be shared is dropped, and gives `id` back.
        Ok(Arc::try_new(Conn {
            id,
            pd,
            local: t.local,
            peer: t.remote,
            reading: Turn::new(),
            writing: Turn::new(),
            released: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        })?)
    }

    /// Opens one; waits until it is open, refused, or `until`.
    pub(super) fn open(to: SocketAddr, until: Option<u64>) -> Result<Arc<Conn>, Error> {
        if to.port() == 0 {
            return Err(Error::InvalidAddr);
        }
        let to = destination(to);
        let (id, pd, tuple) = search(|s| s.connect(to))?;
        let conn = Conn::new(id, pd, tuple)?;
        if until.is_some() {
            conn.pd.set_deadline(Mode::Write, until);
        }
        loop {
            if let Some(done) = conn.with(|s, id| Ok(s.connected(id)))? {
                done?;
                break;
            }
            conn.pd.wait(Mode::Write)?;
        }
        if until.is_some() {
            conn.pd.set_deadline(Mode::Write, None);
        }
        Ok(conn)
    }

    /// Runs `f` under the stack's lock unless the connection is closed.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Stack, u32) -> Result<R, Error>) -> Result<R, Error> {
        stack::with(|s| {
            if self.released.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            f(s, self.id)
        })
    }

    pub(super) fn close(&self) -> Result<(), Error> {
        self.pd.close();
        stack::with(|s| {
            if self.released.swap(true, Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            s.release(self.id);
            Ok(())
        })
    }

    /// As `close`, but the peer sees the connection break, whatever was written before.
    pub(super) fn abort(&self) {
        self.pd.close();
        stack::with(|s| {
            if !self.released.swap(true, Ordering::Relaxed) {
                s.reset(self.id);
            }
        });
    }

    pub(super) fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.receive(buf, Stack::recv)
    }

    /// Reads, or looks at what there is to read.
    pub(super) fn receive(
        &self,
        buf: &mut [u8],
        how: impl Fn(&mut Stack, u32, &mut [u8]) -> Result<Option<usize>, Error>,
    ) -> Result<usize, Error> {
        let _turn = self.reading.take();
        loop {
            self.pd.check(Mode::Read)?;
            if buf.is_empty() {
                return Ok(0);
            }
            let got = self.with(|s, id| match self.deaf.load(Ordering::Relaxed) {
                true => Ok(Some(0)),
                false => how(s, id, buf),
            })?;
            if let Some(n) = got {
                return Ok(n);
            }
            self.pd.wait(Mode::Read)?;
        }
    }

    pub(super) fn write(&self, buf: &[u8]) -> Result<usize, Error> {
        let _turn = self.writing.take();
        self.write_some(buf)
    }

    fn write_some(&self, buf: &[u8]) -> Result<usize, Error> {
        loop {
            self.pd.check(Mode::Write)?;
            if buf.is_empty() {
                return Ok(0);
            }
            if let Some(n) = self.with(|s, id| s.send(id, buf))? {
                return Ok(n);
            }
            self.pd.wait(Mode::Write)?;
        }
    }

    pub(super) fn write_all(&self, mut buf: &[u8]) -> Result<(), Error> {
        let _turn = self.writing.take();
        while !buf.is_empty() {
            let n = self.write_some(buf)?;
            buf = &buf[n..];
        }
        Ok(())
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        if how != Shutdown::Write {
            self.with(|_, _| {
                self.deaf.store(true, Ordering::Relaxed);
                Ok(())
            })?;
            self.pd.wake(Mode::Read);
        }
        if how != Shutdown::Read {
            self.with(|s, id| {
                s.finish(id);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.local, self.peer)
    }
}
