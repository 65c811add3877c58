//! A time limit that both sides see: a request that takes 500 ms makes it within the second it is given, one that
//! takes 1.5 s does not.
//!
//! The caller and the handler wait for the same `ctx.done()`; nobody tells anybody else that it is over.
// expect: exit=0 says=process request with 500ms
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

fn request(takes: Duration) {
    let (ctx, cancel) = Context::background().with_timeout(Duration::from_secs(1));
    defer! { cancel() }
    let (theirs, answered) = (ctx.clone(), chan::<()>(0));
    let tx = answered.sender();
    go(move || {
        handle(&theirs, takes);
        tx.close();
    });
    ctx.done().recv();
    answered.recv(); // so that its line comes first
    println!("main {}", ctx.err().expect("it is done"));
}

#[burrow::main]
fn main() {
    let begin = Instant::now();
    request(Duration::from_millis(500));
    request(Duration::from_millis(1500));
    // Two seconds of limits, and not much more.
    assert!(begin.elapsed() >= Duration::from_secs(2));
}
