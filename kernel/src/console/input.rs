//! Keys: from the UART's ring to whoever waits for one.
//!
//! The interrupt handler only fills the ring and marks work; g0 then runs [`on_interrupt_work`], which readies
//! the goroutine below, which moves the bytes on. **No lost wake-up:** the goroutine registers itself in its
//! commit step, under the lock of [`READER`], and looks at the ring once more there. A byte that came before
//! that look is seen by it; one that came after leaves work for g0, which takes the same lock and finds the
//! goroutine. Readers of the key queue do the same with the lock of [`KEYS`].
//!
//! Refused: a blocking read of the ring by the prompt itself: Ctrl-\ would then be dead while a program runs.
#![forbid(unsafe_code)]

use core::time::Duration;

use crate::{
    arch::x86_64::serial,
    lock::{Rank, SpinLock},
    sched::{self, GPtr, WaitReason, deadlock},
    time,
};

/// Ctrl-\.
const DUMP: u8 = 0x1c;

/// The goroutine that waits for the UART.
static READER: SpinLock<Option<GPtr>> = SpinLock::new(Rank::Waiters, None);

/// Keys typed and not yet read; what does not fit is dropped.
struct Keys {
    ring: [u8; 256],
    first: usize,
    len: usize,
    waiter: Option<GPtr>,
}

static KEYS: SpinLock<Keys> = SpinLock::new(
    Rank::Waiters,
    Keys {
        ring: [0; 256],
        first: 0,
        len: 0,
        waiter: None,
    },
);

impl Keys {
    fn push(&mut self, byte: u8) {
        if self.len < self.ring.len() {
            let at = (self.first + self.len) % self.ring.len();
            self.ring[at] = byte;
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<u8> {
        if self.len == 0 {
            return None;
        }
        let byte = self.ring[self.first];
        self.first = (self.first + 1) % self.ring.len();
        self.len -= 1;
        Some(byte)
    }
}

/// Starts the console's goroutine: at boot, but with the first prompt in deterministic runs. Later calls do nothing.
pub(crate) fn start() {
    static STARTED: SpinLock<bool> = SpinLock::new(Rank::Waiters, false);
    if core::mem::replace(&mut *STARTED.lock(), true) {
        return;
    }
    sched::set_irq_hook(on_interrupt_work);
    serial::set_input_hook(sched::preempt::divert_for_irq);
    sched::go_system("console", read);
}

/// On g0, after the interrupt of any device: has the UART bytes?
fn on_interrupt_work() {
    if !serial::has_input() {
        return;
    }
    let waiting = READER.lock().take();
    if let Some(g) = waiting {
        sched::ready(g);
    }
}

/// The console's goroutine.
fn read() {
    loop {
        while let Some(byte) = serial::try_read() {
            if byte == DUMP {
                dump();
                continue;
            }
            let waiting = {
                let mut keys = KEYS.lock();
                keys.push(byte);
                keys.waiter.take()
            };
            if let Some(g) = waiting {
                sched::ready(g);
            }
        }
        sched::park(WaitReason::IoWait, wait_for_bytes, core::ptr::null_mut());
    }
}

/// Commit step of the console's goroutine: register, unless there is something to read.
fn wait_for_bytes(g: GPtr, _: *mut ()) -> bool {
    let mut reader = READER.lock();
    if serial::has_input() {
        return false;
    }
    *reader = Some(g);
    true
}

/// Commit step of [`key`].
fn wait_for_key(g: GPtr, _: *mut ()) -> bool {
    let mut keys = KEYS.lock();
    if keys.len > 0 {
        return false;
    }
    keys.waiter = Some(g);
    true
}

/// The next key typed; blocks the goroutine until there is one. One goroutine at a time.
///
/// ```no_run
/// while burrow::console::key() != b'q' {}
/// ```
pub fn key() -> u8 {
    loop {
        if let Some(byte) = KEYS.lock().pop() {
            return byte;
        }
        // Somebody may type: a program that waits for that is not dead.
        deadlock::io_wait_begin();
        sched::park(WaitReason::IoWait, wait_for_key, core::ptr::null_mut());
        deadlock::io_wait_end();
    }
}

/// The next key if it is typed within `limit`. Looks 20 times a second: for views that wait for "any key".
///
/// ```
/// use burrow::{console::key_within, time::Duration};
/// assert_eq!(key_within(Duration::ZERO), None); // nobody types here
/// ```
pub fn key_within(limit: Duration) -> Option<u8> {
    let until = time::Instant::now() + limit;
    loop {
        if let Some(byte) = KEYS.lock().pop() {
            return Some(byte);
        }
        let left = until.saturating_duration_since(time::Instant::now());
        if left.is_zero() {
            return None;
        }
        time::sleep(left.min(Duration::from_millis(50)));
    }
}

/// Ctrl-\: all goroutines, as a Go program prints them on SIGQUIT; but the kernel goes on.
fn dump() {
    crate::println!("\nCtrl-\\: {} goroutines\n", sched::num_goroutine());
    crate::print::raw(crate::runtime::stack(true).as_bytes());
}
