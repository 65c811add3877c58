//! `run leak`: a request that is given up too soon leaves a goroutine behind, for `ps leaks`.
#![forbid(unsafe_code)]

use burrow::prelude::*;

pub(crate) fn run() {
    let answer = chan::<u32>(0);
    let tx = answer.sender();
    go(move || {
        time::sleep(Duration::from_millis(5));
        tx.send(42);
    });
    let got = answer.recv_timeout(Duration::from_millis(1));
    drop(answer); // the last handle that could receive
    while runtime::leaked().is_empty() {
        time::sleep(Duration::from_millis(1));
    }
    println!("  the answer: {got:?}; whoever found it now waits for ever to say so. `ps leaks` names him.");
}
