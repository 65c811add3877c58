//! The census: what every goroutine waits for, at one moment.
//!
//! The world stands, so nobody runs but goroutines inside `blocking`, which need no P for that. They may change channels
//! meanwhile, but only those of which they have a handle, and that one is in the count whenever it is read: no channel
//! can look unreachable while somebody reaches it. They may also wake somebody, who then does not run yet: so at the end each
//! is looked at again, and who is not waiting as before is not part of the proof. (Two counts of one channel are not
//! read at one moment, so the one of receive-only handles is left out while anybody is inside `blocking`.)
//!
//! | reason | what is left with the park |
//! | --- | --- |
//! | chan send, chan receive | the handle |
//! | select | the token, which knows its cases |
//! | a lock, a wait group, `Once` | the sleeper in the semaphore table: word and owner |
//! | condition variable | its address |
//! | join | the goroutine's id |
//! | a nil channel, no cases | anything but null |
//! | everything else, also what is parked through `sched::park` by hand | null |

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::proof::{Arm, Need, Node};
use crate::{
    chan,
    sched::{self, GPtr, GState, WaitReason, for_each_g, world},
    sync::{GUARDED, sema},
};

/// A goroutine of the census, beside its node.
pub(super) struct Met {
    pub(super) g: GPtr,
    runs: u32,
    /// How it is known that it cannot be woken, for [`Need::Nothing`]: what it waits for is on its own stack.
    pub(super) private: bool,
}

/// What was seen. The first two are of the same length.
#[derive(Default)]
pub(super) struct Census {
    pub(super) nodes: Vec<Node>,
    pub(super) met: Vec<Met>,
    pub(super) arms: Vec<Arm>,
    /// Arms that were met; more than there are if there was no room.
    arms_met: usize,
}

/// Takes one.
pub(super) fn take() -> Census {
    let mut arms = 64;
    loop {
        let room = sched::num_goroutine() + 64;
        let mut c = Census {
            nodes: Vec::with_capacity(room),
            met: Vec::with_capacity(room),
            arms: Vec::with_capacity(arms.max(room)),
            arms_met: 0,
        };
        if world::stopped(|| c.fill()) {
            return c;
        }
        arms = c.arms_met + c.arms_met / 8;
    }
}

impl Census {
    /// The world stands: no memory is asked for. `false`: there was not room enough.
    fn fill(&mut self) -> bool {
        let mut quiet = true;
        for_each_g(|g| quiet &= g.state() != GState::Syscall);
        let named = sched::ids_below(u64::from(GUARDED));
        let mut fits = true;
        for_each_g(|g| {
            let state = g.state();
            if state == GState::Dead {
                return;
            }
            fits &= self.nodes.len() < self.nodes.capacity() && self.met.len() < self.met.capacity();
            if !fits {
                return;
            }
            let who = self.nodes.len() as u32;
            let runs = g.runs.load(Ordering::Acquire);
            let (need, private) = match state {
                GState::Waiting if !g.is_system() => self.need(who, g, quiet, named),
                _ => (Need::Unknown, false),
            };
            self.nodes.push(Node { id: g.id(), need });
            self.met.push(Met { g, runs, private });
        });
        for (n, m) in self.nodes.iter_mut().zip(&self.met) {
            if m.g.state() != GState::Waiting || m.g.runs.load(Ordering::Acquire) != m.runs {
                n.need = Need::Unknown;
            }
        }
        fits && self.arms_met <= self.arms.len()
    }

    /// What goroutine `g` waits for; also, if it is nothing, whether that is because it lies on its own stack.
    fn need(&mut self, who: u32, g: GPtr, quiet: bool, named: bool) -> (Need, bool) {
        let reason = g.wait_reason();
        let what = g.waits_for.get();
        if what.is_null() {
            return (Need::Unknown, false); // not one of those below, or parked by somebody else's hand
        }
        let need = match reason {
            WaitReason::ChanRecvNil | WaitReason::ChanSendNil | WaitReason::SelectEmpty => Need::Nothing,
            WaitReason::ChanRecv | WaitReason::ChanSend => {
                // SAFETY: 1. it does and left it; without a P it cannot run on.
                let w = unsafe { chan::leak::plain(what, reason == WaitReason::ChanRecv) };
                self.add(who, g, quiet, w)
            }
            WaitReason::Select => {
                let mut need = Need::Arms;
                // SAFETY: 1. as above.
                let known = unsafe {
                    chan::leak::select(what, |w| {
                        if self.add(who, g, quiet, w) == Need::Unknown {
                            need = Need::Unknown;
                        }
                    })
                };
                if known { need } else { Need::Unknown }
            }
            WaitReason::MutexLock
            | WaitReason::RwLockRead
            | WaitReason::RwLockWrite
            | WaitReason::OnceWait
            | WaitReason::WaitGroupWait => {
                // SAFETY: 1. as above.
                let (word, owner) = unsafe { sema::sleeps_on(what) };
                if is_private(g, word) {
                    return (Need::Nothing, true);
                }
                match owner {
                    // Of a `Once` only who runs it can end that; of a lock, if a guard unlocks it.
                    Some(o) if named && o != 0 && (reason == WaitReason::OnceWait || o & GUARDED != 0) => {
                        Need::Goroutine(u64::from(o & !GUARDED))
                    }
                    _ => Need::Unknown,
                }
            }
            WaitReason::CondWait if is_private(g, what.addr()) => return (Need::Nothing, true),
            WaitReason::Join => Need::Goroutine(what.addr() as u64),
            _ => Need::Unknown,
        };
        (need, false)
    }

    fn add(&mut self, who: u32, g: GPtr, quiet: bool, w: chan::leak::Waiting) -> Need {
        if w.timed {
            return Need::Unknown;
        }
        self.arms_met += 1;
        if self.arms.len() < self.arms.capacity() {
            self.arms.push(Arm {
                who,
                chan: w.chan,
                slot: if is_private(g, w.handle) { w.handle } else { 0 },
                receiving: w.receiving,
                handles: w.handles,
                senders: if quiet {
                    w.handles - w.receive_only
                } else {
                    w.handles
                },
            });
        }
        Need::Arms
    }
}

/// Can nobody but `g` reach what lies at `addr`? See the head of `leak`.
fn is_private(g: GPtr, addr: usize) -> bool {
    let s = g.stack.get();
    g.scopes.get() == 0 && (s.floor()..s.top()).contains(&addr)
}
