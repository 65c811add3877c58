//! Direct reclaim: what an allocation that failed does before it fails.
//!
//! Memory may be free and yet not where it is needed: pages of dead goroutines' stacks, idle heap pages with frames behind
//! them. Both can be turned into free frames at the price of a TLB shootdown. A goroutine of the runtime does that
//! (`sched::reclaimer`: the caller's own stack may have no room for it), so the caller must be an ordinary goroutine that
//! holds nothing and can wait. From any other place the allocation just fails.
#![forbid(unsafe_code)]

/// Has everything that is idle given back. True if there are free frames then.
#[cold]
#[cfg(target_os = "none")]
pub(crate) fn run() -> bool {
    crate::sched::reclaimer::round() && super::frames::free_count() > 0
}

/// The host has no reclaimer, and its backing store does not run out of frames by stacks.
#[cold]
#[cfg(not(target_os = "none"))]
pub(crate) fn run() -> bool {
    super::scavenge::pass(usize::MAX, false) > 0
}
