//! How large a connection's buffers are: generous while there are few connections, a page when there are many.
//!
//! The receive buffer is the window offered to the peer, the send buffer bounds what is under way: with 4 KiB a bulk
//! transfer waits for an answer every third segment. But 10,000 connections with large buffers would take the memory of
//! a small machine. The stack's sockets cannot change their buffers later, so the choice is made when a connection
//! begins: `LARGE` each way as long as all such buffers together stay below `MOST` and an eighth of the memory, else `SMALL`.
//! That is bounded, and nobody has to tune anything; a bulk transfer that begins among hundreds of idle connections is slow.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use smoltcp::socket::tcp::SocketBuffer;

use super::Error;
use crate::{
    mem::room,
    shim::{AtomicUsize, Ordering},
};

const SMALL: usize = 4096;
const LARGE: usize = 32 << 10;
/// Bytes in large buffers, at most.
const MOST: usize = 32 << 20;

/// Bytes out in large buffers. Only a count: who may use them is settled by the stack's lock.
pub(super) struct Budget(AtomicUsize);

pub(super) static BUFFERS: Budget = Budget(AtomicUsize::new(0));

/// A connection's part of it; goes back when dropped.
pub(super) struct Share {
    of: &'static Budget,
    bytes: usize,
}

impl Budget {
    /// A pair for a new connection.
    pub(super) fn pair(&'static self) -> Result<([SocketBuffer<'static>; 2], Share), Error> {
        let share = |bytes| Share { of: self, bytes };
        let most = MOST.min(room::total() / 8);
        if self.0.fetch_add(2 * LARGE, Ordering::Relaxed) + 2 * LARGE <= most
            && let Ok(pair) = pair_of(LARGE)
        {
            return Ok((pair, share(2 * LARGE)));
        }
        self.0.fetch_sub(2 * LARGE, Ordering::Relaxed);
        Ok((pair_of(SMALL)?, share(0)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn pair_of(size: usize) -> Result<[SocketBuffer<'static>; 2], Error> {
    Ok([buffer(size)?, buffer(size)?])
}

fn buffer(size: usize) -> Result<SocketBuffer<'static>, Error> {
    Ok(SocketBuffer::new(filled(size, 0)?))
}

/// `n` times `item`, if there is memory for that.
pub(super) fn filled<T: Clone>(n: usize, item: T) -> Result<Vec<T>, Error> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Error::OutOfMemory)?;
    v.resize(n, item);
    Ok(v)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn large_until_the_budget_is_spent() {
        static B: Budget = Budget(AtomicUsize::new(0));
        let fit = MOST / (2 * LARGE);
        let is_large = |pair: &[SocketBuffer<'_>; 2]| pair.iter().all(|b| b.capacity() == LARGE);
        let mut shares: Vec<Share> = (0..fit)
            .map(|_| {
                let (pair, share) = B.pair().unwrap();
                assert!(is_large(&pair));
                share
            })
            .collect();
        assert!(!is_large(&B.pair().unwrap().0));
        shares.pop();
        for _ in 0..2 {
            assert!(is_large(&B.pair().unwrap().0), "a share goes back");
        }
    }
}
