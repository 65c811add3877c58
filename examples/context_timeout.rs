//! A time limit that both sides see: a request that takes 500 ms makes it within the minute it is given, one that
//! takes an hour is given up after a second.
//!
//! The caller and the handler wait for the same `ctx.done()`; nobody tells anybody else that it is over.
// expect: exit=0 says=process request with 500ms
// expect: says=main has its answer
// expect: says=handle context deadline exceeded
// expect: says=main context deadline exceeded
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::{context::Context, prelude::*};

fn handle(ctx: &Context, takes: Duration) {
    select! {
        recv(ctx.done()) => println!("handle {}", ctx.err().expect("it is done")),
        recv(time::after(takes)) => println!("process request with {takes:?}"),
    }
}

fn request(limit: Duration, takes: Duration) {
    let (ctx, cancel) = Context::background().with_timeout(limit);
    defer! { cancel() }
    let (theirs, answered) = (ctx.clone(), chan::<()>(0));
    let tx = answered.sender();
    go(move || {
        handle(&theirs, takes);
        tx.close();
    });
    select! {
        recv(answered) => {}
        recv(ctx.done()) => _ = answered.recv(), // so that its line comes first
    }
    match ctx.err() {
        None => println!("main has its answer"),
        Some(e) => println!("main {e}"),
    }
}

#[burrow::main]
fn main() {
    let begin = Instant::now();
    request(Duration::from_secs(60), Duration::from_millis(500));
    request(Duration::from_secs(1), Duration::from_secs(3600));
    // Half a second of work, a second of patience, and not much more.
    assert!(begin.elapsed() >= Duration::from_millis(1500));
}
