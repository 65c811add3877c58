//! Every operation that may park ends the program where nothing may park, even if it would not have to wait.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::sync::Arc;

use burrow::{
    arch, chan,
    lock::{IrqGuard, PreemptGuard, Rank, SpinLock, might_sleep},
    sched::{GPtr, WaitReason, park},
    select, spawn,
    sync::{Mutex, Once, RwLock, Semaphore, WaitGroup},
    time::{Duration, sleep},
};

burrow::test_main!();

/// What is not allowed anywhere is allowed here: a goroutine that holds nothing.
#[burrow::test]
fn in_a_goroutine() {
    might_sleep();
    let guard = PreemptGuard::new();
    // These never park.
    let c = chan::<u8>(1);
    assert!(c.try_send(1).is_ok() && c.try_recv() == Ok(1) && Mutex::new(()).try_lock().is_some());
    select! {
        recv(c) => {},
        default => {},
    }
    c.close();
    drop(guard);
    might_sleep();
}

/// One misuse for each operation; release builds do not look, and then nothing happens: none of them has to wait.
macro_rules! misuses {
    ($($name:ident: $says:tt, $body:block)*) => {$(
        #[cfg_attr(debug_assertions, burrow::test(exit = 2, says = $says))]
        #[cfg_attr(not(debug_assertions), burrow::test)]
        fn $name() $body
    )*};
}

fn ready() -> burrow::Chan<u8> {
    let c = chan(1);
    c.send(1);
    c
}

misuses! {
    receive: "might sleep with preemption off (count 1)", {
        let c = ready();
        let _off = PreemptGuard::new();
        c.recv();
    }
    receive_through_a_view: "might sleep with preemption off", {
        let c = ready().receiver();
        let _off = PreemptGuard::new();
        c.recv();
    }
    send: "might sleep with preemption off", {
        let c = chan(1);
        let _off = PreemptGuard::new();
        c.send(1);
    }
    select_without_default: "might sleep with preemption off", {
        let c = ready();
        let _off = PreemptGuard::new();
        select! { recv(c) => {} }
    }
    receive_in_time: "might sleep with preemption off", {
        let c = ready();
        let _off = PreemptGuard::new();
        assert!(c.recv_timeout(Duration::from_secs(1)).is_ok());
    }
    lock_a_mutex: "might sleep while holding [(Outer, ", {
        static HELD: SpinLock<u32> = SpinLock::new(Rank::Outer, 0);
        let m = Mutex::new(0);
        let mut held = HELD.lock();
        *held += *m.lock();
    }
    lock_for_reading: "might sleep with preemption off (count 2)", {
        let l = RwLock::new(0);
        let _off = (PreemptGuard::new(), IrqGuard::new());
        assert_eq!(*l.read(), 0);
    }
    lock_for_writing: "might sleep with preemption off", {
        let l = RwLock::new(0);
        let _off = PreemptGuard::new();
        *l.write() += 1;
    }
    wait_for_nobody: "might sleep with preemption off", {
        let wg = WaitGroup::new();
        let _off = PreemptGuard::new();
        wg.wait();
    }
    do_once: "might sleep with preemption off", {
        let once = Once::new();
        let _off = PreemptGuard::new();
        once.call_once(|| ());
    }
    take_a_permit: "might sleep with preemption off", {
        let s = Semaphore::new(1);
        let _off = PreemptGuard::new();
        s.acquire(1);
        s.release(1);
    }
    sleep_no_time: "might sleep with preemption off", {
        let _off = PreemptGuard::new();
        sleep(Duration::ZERO);
    }
    join_what_has_ended: "might sleep with preemption off", {
        let h = spawn(|| ());
        while !h.is_finished() {
            burrow::yield_now();
        }
        let _off = PreemptGuard::new();
        h.join().unwrap();
    }
    with_interrupts_off: "might sleep with interrupts off", {
        let c = ready();
        let was_on = arch::irq_save();
        c.recv();
        arch::irq_restore(was_on);
    }
    on_g0: "might sleep on g0", {
        unsafe fn commit(_: GPtr, c: *mut ()) -> bool {
            // SAFETY: of the goroutine that waits below.
            unsafe { &*c.cast::<burrow::Chan<u8>>() }.recv();
            false
        }
        let c = ready();
        park(WaitReason::None, commit, (&raw const c).cast_mut().cast());
    }
    in_a_handler: "might sleep in an interrupt handler", {
        const VECTOR: u8 = 0x7e;
        arch::x86_64::irq::set_handler(VECTOR, || {
            _ = Arc::new(Mutex::new(0)).lock();
        });
        // SAFETY: as if a device had asked; the handler returns.
        unsafe { core::arch::asm!("int {v}", v = const VECTOR) };
    }
}

/// The message names the place of the call, not of the check.
#[cfg_attr(
    debug_assertions,
    burrow::test(exit = 2, says = "tests/tests/might_sleep.rs:")
)]
#[cfg_attr(not(debug_assertions), burrow::test)]
fn the_place_is_named() {
    let (c, _off) = (ready(), PreemptGuard::new());
    c.recv();
}
