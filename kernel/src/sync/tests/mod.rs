//! Host tests on threads; models under loom.

#[cfg(not(loom))]
mod lock_tests;
#[cfg(loom)]
pub(super) mod loom_cell;
#[cfg(loom)]
mod loom_groups;
#[cfg(loom)]
pub(super) mod loom_limits;
#[cfg(loom)]
mod loom_models;
#[cfg(loom)]
mod loom_semaphore;
#[cfg(not(loom))]
mod map_tests;
#[cfg(not(loom))]
mod mutex_tests;
#[cfg(not(loom))]
mod std_tests;
#[cfg(not(loom))]
mod work_tests;

/// How many sleep in the semaphore table on a word of `x`. What a test waits for that needs somebody asleep.
#[cfg(not(loom))]
fn sleepers<T>(x: &T) -> usize {
    let (from, mut n) = (core::ptr::from_ref(x).addr(), 0);
    super::sema::for_each(|w| n += usize::from((from..from + size_of::<T>()).contains(&w.addr)));
    n
}

#[cfg(not(loom))]
fn until(f: impl Fn() -> bool) {
    while !f() {
        std::thread::yield_now();
    }
}
