//! `select!` over two channels with a timeout: a fast goroutine and a slow one send, and the third arm is taken when
//! neither did for 20 ms.
#![forbid(unsafe_code)]

use burrow::prelude::*;

pub(crate) fn run() {
    let (fast, slow) = (chan::<u32>(0), chan::<&str>(0));
    let (to_fast, to_slow) = (fast.sender(), slow.sender());
    go(move || {
        for n in 1..=3 {
            time::sleep(Duration::from_millis(5));
            to_fast.send(n);
        }
    });
    go(move || {
        time::sleep(Duration::from_millis(12));
        to_slow.send("the slow one");
    });
    let start = Instant::now();
    loop {
        let at = start.elapsed();
        select! {
            recv(fast) -> n => println!("  {:>5.1} ms: {:?} from the fast one", millis(start.elapsed()), n),
            recv(slow) -> word => println!("  {:>5.1} ms: {:?}", millis(start.elapsed()), word),
            default(Duration::from_millis(20)) => {
                println!("  {:>5.1} ms: nothing for {:.1} ms, so no more waiting",
                    millis(start.elapsed()), millis(start.elapsed() - at));
                return;
            }
        }
    }
}

fn millis(d: Duration) -> f64 {
    d.as_micros() as f64 / 1000.0
}
