//! Host tests: the table of `chan`'s head, row by row, and what it does not say.

#[cfg(loom)]
mod loom_models;
#[cfg(not(loom))]
mod ops;
#[cfg(not(loom))]
mod select;
#[cfg(not(loom))]
mod stress;

#[cfg(not(loom))]
mod util {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        time::Duration,
    };

    use crate::Chan;

    /// Long enough for a thread to have parked.
    pub(super) const A_WHILE: Duration = Duration::from_millis(20);

    pub(super) fn settle() {
        std::thread::sleep(A_WHILE);
    }

    /// Waits until `n` goroutines wait in the channel, to send or to receive.
    pub(super) fn until_waiting<T>(ch: &Chan<T>, n: usize) {
        let core = &ch.inner().expect("not nil").core;
        let waiting = || {
            core.lock.lock();
            let n = core.receivers.len() + core.senders.len();
            core.unlock();
            n
        };
        while waiting() != n {
            std::thread::yield_now();
        }
    }

    /// Counts its drops.
    #[derive(Clone)]
    pub(super) struct Counted(pub(super) Arc<AtomicUsize>);

    impl Counted {
        pub(super) fn new() -> (Self, Arc<AtomicUsize>) {
            let n = Arc::new(AtomicUsize::new(0));
            (Counted(n.clone()), n)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// The message with which `f` panics.
    pub(super) fn panics<T>(f: impl FnOnce() -> T) -> String {
        match crate::recover(f) {
            Ok(_) => "no panic".into(),
            Err(p) => p.to_string(),
        }
    }
}
