//! `run leak`: a request that is given up too soon leaves a goroutine behind, for `ps leaks`.
#![forbid(unsafe_code)]

use burrow::prelude::*;

pub(crate) fn run() {
    let (answer, given_up) = (chan::<u32>(0), chan::<()>(0));
    let (tx, too_late) = (answer.sender(), given_up.receiver());
    go(move || {
        too_late.recv(); // so long it takes
        tx.send(42);
    });
    let got = answer.recv_timeout(Duration::from_millis(1));
    drop(answer); // the last handle that could receive
    given_up.close();
    while runtime::leaked().is_empty() {
        time::sleep(Duration::from_millis(1));
    }
    println!("  the answer: {got:?}; whoever found it now waits for ever to say so. `ps leaks` names him.");
}
