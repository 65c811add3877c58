//! The states of a goroutine, and every legal step between them.
//!
//! | state | runs user code? | on a queue? | owns its stack | holds M / P |
//! | --- | --- | --- | --- | --- |
//! | Idle | no | no | nobody (just made) | – |
//! | Runnable | no | exactly one run queue | nobody | – |
//! | Running | yes | no | itself | M and P |
//! | Syscall | yes, in `blocking` | no | itself | M, its P may be retaken |
//! | Waiting | no | a wait queue somewhere | nobody; the waker may write its slots | – |
//! | Dead | no | a free list, or being set up | nobody | – |
//! | Growing | no | no | the fault path (out of frames) | – |
//! | Preempted | no | being moved to a queue | nobody | – |
//!
//! ```text
//!  Idle ─1─▶ Dead ─2─▶ Runnable ─3─▶ Running ─4─▶ Waiting ─5─▶ Runnable
//!                          ▲            │ ├─6─▶ Preempted ─7─▶ Runnable
//!                          │            │ ├─8─▶ Syscall ─9─▶ Running
//!                          └──10────────┘ │        └─────11─▶ Preempted / Runnable
//!                                         └─12─▶ Dead
//! ```
//! 1 `gfree` (made), 2 `spawn`, 3 `execute`, 4 `park`, 5 `ready`, 6 asynchronous preemption, 7 its commit
//! step, 8/9 `blocking` in and out, 10 `yield_now`, 11 return without a P or preempted there, 12 exit.
//! A scan bit (for the collector, 0x100) will be set on any of them by whoever scans the stack.
#![forbid(unsafe_code)]

use core::fmt;

/// A goroutine's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum GState {
    /// Just made, never used.
    Idle = 0,
    /// On a run queue.
    Runnable = 1,
    /// On a core.
    Running = 2,
    /// On a core, inside `blocking`.
    Syscall = 3,
    /// Parked.
    Waiting = 4,
    /// Unused, on a free list.
    Dead = 5,
    /// Parked by the fault path until a frame is there for its stack.
    Growing = 6,
    /// Taken off its core asynchronously, not on a queue yet.
    Preempted = 7,
}

/// All legal steps (from, to).
const LEGAL: [(GState, GState); 16] = {
    use GState::*;
    [
        (Idle, Dead),
        (Dead, Runnable),
        (Runnable, Running),
        (Running, Waiting),
        (Waiting, Runnable),
        (Running, Runnable),
        (Running, Preempted),
        (Preempted, Runnable),
        (Running, Syscall),
        (Syscall, Running),
        (Syscall, Runnable),
        (Syscall, Preempted),
        (Running, Dead),
        (Running, Growing),
        (Growing, Runnable),
        (Waiting, Running),
    ]
};

impl GState {
    /// The state of a stored word, scan bit ignored.
    pub fn from_word(w: u32) -> GState {
        use GState::*;
        [
            Idle, Runnable, Running, Syscall, Waiting, Dead, Growing, Preempted,
        ][(w & 7) as usize]
    }

    /// May a goroutine go from `self` to `to`?
    pub fn may_become(self, to: GState) -> bool {
        LEGAL.contains(&(self, to))
    }
}

impl fmt::Display for GState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GState::Idle => "idle",
            GState::Runnable => "runnable",
            GState::Running => "running",
            GState::Syscall => "syscall",
            GState::Waiting => "waiting",
            GState::Dead => "dead",
            GState::Growing => "growing",
            GState::Preempted => "preempted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_states_agree() {
        for w in 0..8 {
            assert_eq!(GState::from_word(w) as u32, w);
            assert_eq!(GState::from_word(w | 0x100) as u32, w);
        }
    }

    #[test]
    fn nobody_runs_from_waiting_queue_twice() {
        assert!(!GState::Waiting.may_become(GState::Waiting));
        assert!(!GState::Dead.may_become(GState::Running));
        assert!(!GState::Runnable.may_become(GState::Runnable));
    }
}
