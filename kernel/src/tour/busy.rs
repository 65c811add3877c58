//! Something for `top` to show: pairs that hand each other the core, a hog per two cores, sleepers. Returns at once;
//! the load ends by itself.
#![forbid(unsafe_code)]

use burrow::prelude::*;

const LASTS: Duration = Duration::from_secs(20);

pub(crate) fn run() {
    let end = Instant::now() + LASTS;
    let cores = runtime::num_cpu();
    for _ in 0..cores {
        go(move || {
            while Instant::now() < end {
                yield_now();
            }
        });
        go(move || {
            while Instant::now() < end {
                time::sleep(Duration::from_millis(1));
            }
        });
    }
    for _ in 0..cores.div_ceil(2) {
        go(move || {
            while Instant::now() < end {
                core::hint::spin_loop();
            }
        });
    }
    println!(
        "  {} goroutines at work; look with `top`, `ps`, `sched`",
        2 * cores + cores.div_ceil(2)
    );
}
