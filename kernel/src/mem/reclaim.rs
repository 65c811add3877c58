//! Direct reclaim: what an allocation that failed does before it fails.
//!
//! Memory may be free and yet not where it is needed: pages of dead goroutines' stacks, idle heap pages with frames behind
//! them. Both can be turned into free frames at the price of a TLB shootdown, for which the caller must be an ordinary
//! goroutine that holds nothing. From any other place the allocation just fails.
#![forbid(unsafe_code)]

/// Gives back what is idle. True if that made frames free.
#[cold]
pub(crate) fn run() -> bool {
    if crate::arch::in_runtime_context() {
        return false;
    }
    imp::stacks() + super::scavenge::pass(usize::MAX, false) > 0
}

#[cfg(target_os = "none")]
mod imp {
    pub(super) fn stacks() -> usize {
        crate::mem::stack::scavenge()
    }
}

#[cfg(not(target_os = "none"))]
mod imp {
    pub(super) fn stacks() -> usize {
        0
    }
}
