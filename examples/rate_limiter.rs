//! A rate limiter: one request every 5 ms, with bursts of up to three after a pause.
//!
//! The bucket is a buffered channel. A ticker puts a token in when there is room; a ticker that finds nobody listening
//! drops its ticks instead of saving them up, so the bucket never holds more than a burst.
// expect: exit=0 says=9 requests, at least 30 ms: true
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::{
    context::{Context, background},
    prelude::*,
    time::Ticker,
};

const EVERY: Duration = Duration::from_millis(5);
const BURST: usize = 3;

/// A channel with a token for each request that may start now.
fn limiter(ctx: Context) -> Receiver<()> {
    let bucket = chan::<()>(BURST);
    for _ in 0..BURST {
        bucket.send(());
    }
    let tokens = bucket.receiver();
    go(move || {
        let ticker = Ticker::new(EVERY);
        loop {
            select! {
                recv(ticker.c) => _ = bucket.try_send(()), // full: this one is lost
                recv(ctx.done()) => return,
            }
        }
    });
    tokens
}

#[burrow::main]
fn main() {
    let (ctx, cancel) = background().with_cancel();
    defer! { cancel() }
    let begin = Instant::now();
    let tokens = limiter(ctx);
    for request in 1..=9 {
        tokens.recv();
        println!("request {request} after {:?}", begin.elapsed());
    }
    // Three at once, then six at 5 ms each.
    let enough = begin.elapsed() >= EVERY * (9 - BURST as u32);
    println!("9 requests, at least 30 ms: {enough}");
}
