//! A tracker: events are queued and written by one goroutine, and `shutdown` waits for the rest, but not for ever.
//!
//! Whoever starts a goroutine knows when it ends: `run` leaves its loop when the queue is closed and drained, and says
//! so by closing `stopped`. The queue is bounded, so a slow writer slows its callers down instead of eating memory.
// expect: exit=0 says=all 20 events written
// expect: says=gave up: context deadline exceeded
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use burrow::{
    context::{Context, Error},
    prelude::*,
};

struct Tracker {
    queue: Chan<String>,
    stopped: Chan<()>,
    written: AtomicU32,
}

impl Tracker {
    fn start(write: Duration) -> Arc<Tracker> {
        let tracker = Arc::new(Tracker {
            queue: chan(4),
            stopped: chan(0),
            written: AtomicU32::new(0),
        });
        let this = tracker.clone();
        go(move || this.run(write));
        tracker
    }

    fn run(&self, write: Duration) {
        for _event in &self.queue {
            time::sleep(write); // to a disk, over a network …
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        self.stopped.close();
    }

    /// Waits while the queue is full, as long as the caller has time.
    fn event(&self, ctx: &Context, data: String) -> Result<(), Error> {
        select! {
            send(self.queue, data) => Ok(()),
            recv(ctx.done()) => Err(ctx.err().expect("it is done")),
        }
    }

    /// No more events; waits for those that are queued, as long as the caller has time.
    fn shutdown(&self, ctx: &Context) -> Result<(), Error> {
        self.queue.close();
        select! {
            recv(self.stopped) => Ok(()),
            recv(ctx.done()) => Err(ctx.err().expect("it is done")),
        }
    }
}

#[burrow::main]
fn main() {
    let (ctx, cancel) = Context::background().with_timeout(Duration::from_secs(60));
    defer! { cancel() }

    let quick = Tracker::start(Duration::from_millis(1));
    for i in 0..20 {
        quick.event(&ctx, format!("event {i}")).expect("there is time");
    }
    quick.shutdown(&ctx).expect("there is time");
    println!("all {} events written", quick.written.load(Ordering::Relaxed));

    let slow = Tracker::start(Duration::from_secs(3600));
    slow.event(&ctx, "the last one".to_string())
        .expect("the queue is empty");
    let (short, cancel_short) = ctx.with_timeout(Duration::from_millis(10));
    defer! { cancel_short() }
    if let Err(e) = slow.shutdown(&short) {
        println!("gave up: {e}");
    }
}
