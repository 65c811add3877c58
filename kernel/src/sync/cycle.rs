//! Who waits for whom, when the program has stopped: the cycles among locks, for the deadlock report.
//!
//! A sleeper in the semaphore table names the word that holds its lock's owner (mutexes and writers write it down in
//! debug builds, `Once` always); readers of a `RwLock` are in the list of `reads` (debug builds). That makes a graph:
//! goroutine → lock → goroutine that has it. It is read when nothing moves any more, by the core that reports the end: no
//! memory is asked for, locks are only tried, and at most [`EDGES`] waits are looked at.

use core::fmt;

use super::{GUARDED, reads, sema};
use crate::{
    lock::{Rank, SpinLock},
    sched::WaitReason,
    shim::Ordering,
};

const EDGES: usize = 256;

#[derive(Clone, Copy)]
struct Edge {
    from: u32,
    to: u32,
    lock: usize,
    reason: WaitReason,
}

struct Graph {
    len: usize,
    edges: [Edge; EDGES],
}

/// Too large for the scheduler's stack.
static GRAPH: SpinLock<Graph> = SpinLock::new(
    Rank::Outer,
    Graph {
        len: 0,
        edges: [Edge {
            from: 0,
            to: 0,
            lock: 0,
            reason: WaitReason::None,
        }; EDGES],
    },
);

impl Graph {
    fn add(&mut self, e: Edge) {
        if self.len < EDGES {
            self.edges[self.len] = e;
            self.len += 1;
        }
    }

    fn fill(&mut self) {
        self.len = 0;
        sema::for_each(|w| {
            let mut e = Edge {
                from: w.g.id() as u32,
                to: 0,
                lock: w.addr,
                reason: w.reason,
            };
            // SAFETY: the sleeper borrows the lock that the word is part of.
            if let Some(owner) = unsafe { w.owner.as_ref() } {
                e.to = owner.load(Ordering::Relaxed) & !GUARDED; // nothing moves any more
                if e.to != 0 {
                    self.add(e);
                }
            } else if w.reason == WaitReason::RwLockWrite {
                reads::readers_of(w.addr, |g| {
                    e.to = g as u32;
                    self.add(e);
                });
            }
        });
    }

    /// Looks for a way from the end of the last of `path` back to the beginning of the first.
    fn close(&self, path: &mut [usize; 32], len: usize) -> Option<usize> {
        let (first, last) = (self.edges[path[0]].from, self.edges[path[len - 1]].to);
        if last == first {
            return Some(len);
        }
        // A path that meets itself elsewhere is found from there.
        if len == path.len() || path[..len].iter().any(|&i| self.edges[i].from == last) {
            return None;
        }
        (0..self.len).find_map(|i| {
            path[len] = i;
            (self.edges[i].from == last)
                .then(|| self.close(path, len + 1))
                .flatten()
        })
    }
}

/// Prints the cycles; nothing if there is none, or none is known (release builds).
pub(crate) struct Cycles;

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut graph) = GRAPH.try_lock() else {
            return Ok(());
        };
        graph.fill();
        let mut path = [0; 32];
        for start in 0..graph.len {
            path[0] = start;
            let Some(len) = graph.close(&mut path, 1) else {
                continue;
            };
            // Each cycle once: from its goroutine with the lowest number.
            let cycle = path[..len].iter().map(|&i| graph.edges[i]);
            if cycle.clone().any(|e| e.from < graph.edges[start].from) {
                continue;
            }
            f.write_str("\n\ncycle of waiters:")?;
            for e in cycle {
                let (
                    Edge {
                        from,
                        to,
                        lock,
                        reason,
                    },
                    itself,
                ) = (e, if e.from == e.to { "itself, " } else { "" });
                write!(
                    f,
                    "\n\tgoroutine {from} [{reason}, {lock:#x}] waits for {itself}goroutine {to}"
                )?;
            }
        }
        Ok(())
    }
}
