//! Two servers that live and die together: when one fails, the other is told to stop, finishes what it has begun,
//! and only then main returns.
//!
//! `stop` is closed, never sent on: a closed channel is ready for everybody, and for ever. `done` has room for both
//! servers, so that neither leaks if main should not listen.
// expect: exit=0 says=debug: failed: out of order
// expect: says=requests, then stopped
// expect: says=both servers are down
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

type Outcome = Result<u32, &'static str>;

/// A server: requests come in, each takes a while; `fail_after` makes it give up of its own accord.
fn serve(requests: &Chan<u32>, stop: &Receiver<()>, fail_after: Option<Duration>) -> Outcome {
    let limit = fail_after.map_or_else(Receiver::default, time::after); // without one the arm is never ready
    let mut served = 0;
    loop {
        select! {
            recv(requests) -> request => {
                time::sleep(Duration::from_millis(request.expect("open").into()));
                served += 1;
            }
            recv(stop) => return Ok(served),
            recv(limit) => return Err("out of order"),
        }
    }
}

#[burrow::main]
fn main() {
    let (stop, done) = (chan::<()>(0), chan::<(&str, Outcome)>(2));
    let (app, debug) = (chan::<u32>(3), chan::<u32>(0));
    for (name, requests, fail_after) in [
        ("app", app.clone(), None),
        ("debug", debug, Some(Duration::from_millis(5))),
    ] {
        let (stop, done) = (stop.receiver(), done.sender());
        go(move || done.send((name, serve(&requests, &stop, fail_after))));
    }
    for _ in 0..3 {
        app.send(1);
    }
    time::sleep(Duration::from_millis(30)); // the app server has served them when the other one has failed
    let mut stopped = false;
    for (name, outcome) in done.iter().take(2) {
        match outcome {
            Ok(n) => println!("{name}: served {n} requests, then stopped"),
            Err(e) => println!("{name}: failed: {e}"),
        }
        if !stopped {
            stopped = true;
            stop.close();
        }
    }
    println!("both servers are down");
}
