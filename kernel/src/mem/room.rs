//! Room for newcomers: who may still begin when memory is short.
//!
//! What lives needs a little memory again and again: a request's few objects, a line of text, a page of stack. If strangers
//! could take all there is, those who live would be the first to fail, because they ask most often. So whoever brings
//! something lasting into the machine at the wish of others (a connection from outside) asks here first, and is refused
//! while there is still [`KEPT`] to have. What the program itself begins is its own business: it gets everything, and an
//! error at the end.
//!
//! How much that is grows with those who live: all of them may want something at the same moment, and a goroutine that waits
//! has the least stack and the smallest buffers it ever has. So each counts with [`BREATH`].
//!
//! "To have" are the frames above the floor of `limit` and the heap's idle pages. What dead goroutines' stacks hold counts
//! only once the reclaimer has been there, so who refuses somebody has it go round (`reclaimer::ask`).
//!
//! A forecast, like all of them: the answer is old when it is given. Whoever lets several in before they have taken what
//! they need tells how many those are.
#![forbid(unsafe_code)]

/// Frames (2 MiB) that newcomers leave to those who live, but never more than a sixteenth of all.
#[cfg(target_os = "none")]
const KEPT: usize = 512;
/// Frames (12 KiB) that one who lives may need beside what it has: two pages of stack, a larger buffer.
#[cfg(target_os = "none")]
const BREATH: usize = 3;
/// Frames (32 KiB) for one who was let in and has not taken what it needs yet: its goroutine's stack, buffers, handles.
#[cfg(target_os = "none")]
const EACH: usize = 8;

/// May one more begin, beside so many who live, and with so many before it on their way in?
#[cfg(target_os = "none")]
pub(crate) fn for_one_more(live: usize, on_the_way: usize) -> bool {
    use super::{classes::PAGE, limit, mheap};

    let wanted = KEPT.min(limit::most() / 16) + live * BREATH + (on_the_way + 1) * EACH;
    limit::allows(wanted) || {
        let (free, released) = mheap::lock().pages.free_count();
        let idle = (free - released) * (PAGE / 4096);
        limit::allows(wanted.saturating_sub(idle))
    }
}

/// Bytes that there are for everybody together.
#[cfg(target_os = "none")]
pub(crate) fn total() -> usize {
    super::limit::most() * 4096
}

/// The host's memory is not ours to count.
#[cfg(not(target_os = "none"))]
pub(crate) fn for_one_more(_: usize, _: usize) -> bool {
    true
}

/// See [`for_one_more`].
#[cfg(not(target_os = "none"))]
pub(crate) fn total() -> usize {
    usize::MAX
}
