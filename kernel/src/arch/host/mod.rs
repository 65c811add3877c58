//! The host: Burrow's portable parts as an ordinary program, one thread per goroutine.
//!
//! A thread of the host's kernel may be taken off its core at any instruction whatever we say, so the
//! preempt count and the interrupt flag are nothing here; locks that would rely on them just spin.

/// The most cores (only sizes tables here).
pub const MAX_CORES: usize = 64;

/// Number of cores.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
/// The host does not say which core this is.
pub fn core_index() -> usize {
    0
}
/// Seconds since 1970, from the host; 0 before.
pub fn now_unix() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs())
}
/// Nothing to turn off here.
#[inline(always)]
pub fn preempt_disable() {}
/// Nothing to turn on here.
#[inline(always)]
pub fn preempt_enable() {}
/// Nothing to turn on here, and nobody wants the core.
#[inline(always)]
pub fn preempt_lower() -> bool {
    false
}
/// Nobody wants the core here.
pub fn preempt_wanted() {}
/// Always 0 here.
pub fn preempt_count() -> u32 {
    0
}
/// No interrupts here.
#[inline(always)]
pub fn irq_off() {}
/// No interrupts here.
#[inline(always)]
pub fn irq_on() {}
/// No interrupts here.
#[inline(always)]
pub fn irq_save() -> bool {
    false
}
/// No interrupts here.
#[inline(always)]
pub fn irq_restore(_was_on: bool) {}
/// Nothing on the host is runtime context.
pub fn in_runtime_context() -> bool {
    false
}

std::thread_local! {
    static MCACHE: std::cell::Cell<*mut ()> = const { std::cell::Cell::new(std::ptr::null_mut()) };
}

/// The heap's cache of this thread, which plays a core in the heap's tests.
pub fn mcache() -> *mut () {
    MCACHE.get()
}
/// Sets it.
pub fn set_mcache(c: *mut ()) {
    MCACHE.set(c);
}
