//! Waiting for one of several channel operations: what `select!` runs.
//!
//! Two phases, repeated until one succeeds:
//! 1. *Try.* Look at every arm without a lock, draw one of those that look ready, each with the same
//!    probability, and try it under its channel's lock alone. A failed try means that somebody else was
//!    faster; look again. With `default`, nothing ready ends here.
//! 2. *Wait.* Put a waiter on every channel, in address order, one lock at a time, and all waiters of one channel under
//!    one lock; if an arm turns out ready, take all back and return to 1. Else park; whoever wins the [`Token`] completes one arm; take back the
//!    rest.
//!
//! Each arm is looked at at its own moment, not all at one: `default` means that no arm could proceed when it
//! was looked at. A blocking `select!` loses nothing by that, since phase 2 looks again under the lock with
//! which it enqueues.
//!
//! Why address order, if only one lock is held at a time: two goroutines that each found the other's waiter
//! would both take back theirs and try again, in lockstep for ever. Say A, already waiting on x, meets B's
//! waiter on y > x. B then has looked at x before it enqueued on y; when it did, A was not there yet, and B does
//! not look at x again. So B goes on to park, and A's next try takes its waiter. Around a longer cycle the
//! addresses would have to rise for ever. (x = y, each sends and receives on the same channel: the second to take the
//! lock finds all of the first's waiters there, and is not known to the first, who parks.)
//!
//! Waiters and values are in the caller's frame; nothing is allocated.

use core::{
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

use super::{
    arm::{Arm, Case},
    handle::block_forever,
    wait::{TIMED_OUT, Token, Waiter},
};
use crate::{
    sched::{self, WaitReason},
    time::{
        self, Duration,
        timer::{Fire, TimerNode},
    },
};

/// Which arm it was: `Here` or one of the following ones. The bodies of `select!` match on it outside of the
/// block in which the arms live.
#[doc(hidden)]
pub enum Choice<A, B> {
    Here(A),
    There(B),
}

/// A number below `n`, each with the same probability (Lemire's method).
fn below(n: u32) -> u32 {
    loop {
        let m = u64::from(sched::rand32()) * u64::from(n);
        let low = m as u32;
        if low >= n || low >= n.wrapping_neg() % n {
            return (m >> 32) as u32;
        }
    }
}

/// Phase 1: does one of the arms that are ready.
fn try_ready(cases: &[Case<'_>]) -> Option<usize> {
    loop {
        let ready = cases.iter().filter(|c| c.looks_ready()).count();
        let k = match ready {
            0 => return None,
            1 => 0,
            n => below(n as u32) as usize,
        };
        // What is ready may have changed since it was counted: then this may be another arm, or none.
        let pick = cases.iter().enumerate().filter(|(_, c)| c.looks_ready()).nth(k);
        if let Some((i, c)) = pick
            && c.arm.attempt()
        {
            return Some(i);
        }
    }
}

enum Waited {
    /// A peer completed this arm.
    Done(usize),
    /// An arm became ready while the others were set up.
    Retry,
    /// The deadline passed.
    TimedOut,
}

/// Puts the numbers of the cases that have a channel into `order`, by address; returns how many there are.
fn sort_by_address(cases: &[Case<'_>], order: &mut [u32]) -> usize {
    const FEW: usize = 24; // up to here insertion is faster
    let addr = |j: u32| cases[j as usize].core.map_or(ptr::null(), ptr::from_ref).addr();
    let mut n = 0;
    for (i, case) in cases.iter().enumerate() {
        let Some(c) = case.core else { continue };
        let mut at = n;
        while cases.len() <= FEW && at > 0 && addr(order[at - 1]) > ptr::from_ref(c).addr() {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = i as u32;
        n += 1;
    }
    if cases.len() > FEW {
        order[..n].sort_unstable_by_key(|&j| addr(j));
    }
    n
}

/// Phase 2. `waiters` and `order` have a place for every case.
fn wait(
    cases: &[Case<'_>],
    waiters: &mut [MaybeUninit<Waiter>],
    order: &mut [u32],
    when: Option<u64>,
) -> Waited {
    let n = sort_by_address(cases, order);
    let order = &order[..n];
    if n == 0 && when.is_none() {
        block_forever(WaitReason::SelectEmpty);
    }

    let token = Token::new();
    let timer = when.map(|_| TimerNode::new(Fire::Claim(NonNull::from(&token))));
    if let (Some(t), Some(when)) = (&timer, when) {
        // SAFETY: 1. the node stays here until `cancel` below.
        unsafe { t.start(when, false) };
    } else {
        token.cases_are((&raw const cases).cast());
    }
    for (i, (w, case)) in waiters.iter_mut().zip(cases).enumerate() {
        w.write(Waiter::of_arm(&token, case.arm.slot(), i as u32));
    }
    // SAFETY: all of the first `cases.len()` were just written; they are only shared from here on.
    let waiters = unsafe { &*(ptr::from_ref(&waiters[..cases.len()]) as *const [Waiter]) };
    let side = |i: u32| {
        let (case, w) = (&cases[i as usize], &waiters[i as usize]);
        case.core
            .map(|c| (c, if case.sending { &c.senders } else { &c.receivers }, w))
    };

    let (mut queued, mut ready) = (0, false);
    while let Some((c, ..)) = order.get(queued).and_then(|&i| side(i)) {
        let rest = &order[queued..];
        let same = |&&i: &&u32| side(i).is_some_and(|(d, ..)| ptr::eq(c, d));
        let here = &rest[..rest.iter().take_while(same).count()];
        c.lock.lock();
        ready = here
            .iter()
            .any(|&i| c.ready_for(&token, cases[i as usize].sending));
        if ready {
            c.unlock();
            break;
        }
        for (_, queue, w) in here.iter().filter_map(|&i| side(i)) {
            // SAFETY: 1. the waiter stays until it is removed below.
            unsafe { queue.push(w) };
        }
        c.unlock();
        queued += here.len();
    }
    // Ready: back out, unless a peer has us already.
    let retry = ready && token.claim();
    let arm = if retry {
        TIMED_OUT
    } else {
        token.wait(WaitReason::Select)
    };

    if let Some(t) = &timer {
        t.cancel();
    }
    for &i in order[..queued].iter().filter(|&&i| i != arm) {
        let Some((c, queue, w)) = side(i) else { continue };
        c.lock.lock();
        queue.remove(w);
        c.unlock();
    }
    match arm {
        _ if retry => Waited::Retry,
        TIMED_OUT => Waited::TimedOut,
        i => {
            cases[i as usize].arm.done(waiters[i as usize].moved());
            Waited::Done(i as usize)
        }
    }
}

/// `select!` with `default`: the arm that was done, `N` for none.
#[doc(hidden)]
#[inline(always)]
pub fn poll<const N: usize>(cases: [Case<'_>; N]) -> usize {
    if cases.iter().any(Case::looks_ready) {
        poll_ready(&cases)
    } else {
        N
    }
}

#[inline(never)]
fn poll_ready(cases: &[Case<'_>]) -> usize {
    try_ready(cases).unwrap_or(cases.len())
}

/// `poll` for [`Select`](super::Select).
pub(crate) fn poll_slice(cases: &[Case<'_>]) -> Option<usize> {
    try_ready(cases)
}

/// `select!` without `default`: the arm that was done.
#[doc(hidden)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn block<const N: usize>(cases: [Case<'_>; N]) -> usize {
    crate::lock::might_sleep();
    block_at(
        &cases,
        &mut [const { MaybeUninit::uninit() }; N],
        &mut [0; N],
        None,
    )
}

/// `select!` with `default(d)`: the arm that was done, `N` if none was in time.
#[doc(hidden)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn block_until<const N: usize>(cases: [Case<'_>; N], d: Duration) -> usize {
    crate::lock::might_sleep();
    match try_ready(&cases) {
        Some(i) => i,
        None if d.is_zero() => N,
        None => {
            let when = time::deadline(d);
            block_at(
                &cases,
                &mut [const { MaybeUninit::uninit() }; N],
                &mut [0; N],
                Some(when),
            )
        }
    }
}

/// How often a model's selects went back to phase 1.
#[cfg(all(test, loom))]
std::thread_local! {
    pub(super) static RETRIES: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

pub(crate) fn block_at(
    cases: &[Case<'_>],
    waiters: &mut [MaybeUninit<Waiter>],
    order: &mut [u32],
    when: Option<u64>,
) -> usize {
    loop {
        if let Some(i) = try_ready(cases) {
            return i;
        }
        match wait(cases, waiters, order, when) {
            Waited::Done(i) => return i,
            Waited::TimedOut => return cases.len(),
            Waited::Retry => {
                #[cfg(all(test, loom))]
                RETRIES.set(RETRIES.get() + 1);
            }
        }
    }
}

/// One operation with a time limit: `None` if it was not done in time.
pub(crate) fn with_deadline(arm: &impl Arm, d: Duration) -> Option<()> {
    (block_until([arm.case()], d) == 0).then_some(())
}

/// A received value that the arm does not name. (`drop` itself warns if the value is `Copy`.)
#[doc(hidden)]
#[inline(always)]
pub fn discard<T>(_: T) {}

/// The end of the chain of choices: `select!` picked an arm that it does not have. (Not an empty enum: code
/// around it would draw "unreachable" warnings in the user's crate.)
#[doc(hidden)]
pub struct Nothing;

#[doc(hidden)]
#[cold]
pub fn no_arm(_: Nothing) -> ! {
    unreachable!("select picked no arm")
}

/// `select! {}`.
#[doc(hidden)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn block_on_nothing() -> ! {
    crate::lock::might_sleep();
    block_forever(WaitReason::SelectEmpty)
}
