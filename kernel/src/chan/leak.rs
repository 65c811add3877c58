//! What a goroutine that waits on channels waits for, as `leak` needs it: read off its parked stack.
//!
//! A plain send or receive leaves the handle it borrows with its park, a `select!` its token, which knows the list of
//! operations if it has no deadline. From the handle one gets at the channel and at the number of its handles.

use super::{arm::Case, hchan::Handle, wait::Token};

/// One operation that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// The channel, as an address.
    pub(crate) chan: usize,
    /// Where the handle lies that the operation borrows.
    pub(crate) handle: usize,
    pub(crate) receiving: bool,
    /// Handles of the channel.
    pub(crate) handles: usize,
    /// Those that can neither send nor close; at any one moment not more than there are (see `Core::receiver_made`).
    pub(crate) receive_only: usize,
    /// A timer sends here.
    pub(crate) timed: bool,
}

fn at(handle: &Handle, receiving: bool) -> Waiting {
    let core = handle.core();
    Waiting {
        chan: core::ptr::from_ref(core).addr(),
        handle: core::ptr::from_ref(handle).addr(),
        receiving,
        handles: handle.count(),
        receive_only: core.receive_only(),
        timed: !core.timer().is_null(),
    }
}

/// A plain send or receive.
///
/// # Safety
/// 1. A goroutine waits in one, cannot run on meanwhile, and left `what` with its park.
pub(crate) unsafe fn plain(what: *const (), receiving: bool) -> Waiting {
    // SAFETY: 1. it borrows the handle.
    at(unsafe { &*what.cast::<Handle>() }, receiving)
}

/// Calls `f` with each operation of a `select!`; `false` if they are not known, for there is a deadline.
///
/// # Safety
/// 1. As for `plain`.
pub(crate) unsafe fn select(what: *const (), mut f: impl FnMut(Waiting)) -> bool {
    // SAFETY: 1. the token is in its frame.
    let cases = unsafe { &*what.cast::<Token>() }.cases();
    if cases.is_null() {
        return false;
    }
    // SAFETY: 1. so is the list, and the reference to it.
    let cases = unsafe { *cases.cast::<&[Case<'_>]>() };
    for c in cases.iter().filter(|c| c.core.is_some()) {
        // SAFETY: 1. the arm borrows its handle, and with a channel it has one.
        f(at(unsafe { &*c.arm.handle().cast::<Handle>() }, !c.sending));
    }
    true
}
