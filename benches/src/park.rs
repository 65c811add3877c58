//! What a goroutine that waits costs in memory, everything counted.
//!
//! The machine's free frames before and after: stack pages, page tables, Gs, and the heap's spans. Idle heap pages that have
//! frames count as free. Must run first: Gs that lived before would be used again.
#![forbid(unsafe_code)]

use alloc::{format, sync::Arc};
use core::time::Duration;

use burrow::{
    chan, go,
    mem::frames,
    runtime,
    sync::WaitGroup,
    time::{self, Instant},
};

use crate::{Suite, emit};

/// Bytes nobody uses, and bytes in heap spans.
fn bytes() -> (u64, u64) {
    let m = runtime::read_mem_stats();
    let idle = m.heap_idle - m.heap_released;
    (frames::free_count() as u64 * 4096 + idle, m.heap_inuse)
}

/// `bytes_per_parked_goroutine` and `park_spawn`.
pub fn run(suite: &Suite, _: usize, procs: usize) {
    for &n in &suite.park {
        let ch = chan::<usize>(0);
        let started = Arc::new(WaitGroup::new());
        started.add(n as i32);
        let others = runtime::num_goroutine();
        let (free, in_spans) = bytes();
        let begin = Instant::now();
        for _ in 0..n {
            let (started, ch) = (started.clone(), ch.clone());
            go(move || {
                started.done();
                ch.recv();
            });
        }
        started.wait();
        let took = begin.elapsed();
        for _ in 0..10 {
            burrow::yield_now();
            time::sleep(Duration::from_millis(5));
        }
        let now = bytes();
        let (all, heap) = (free.saturating_sub(now.0), now.1.saturating_sub(in_spans));
        for (metric, bytes) in [("all", all), ("frames", all.saturating_sub(heap)), ("heap", heap)] {
            let line = format!(
                "bench name=bytes_per_parked_goroutine procs={procs} bytes_per_op={:.1} ops={n} metric={metric}",
                bytes as f64 / n as f64
            );
            burrow::println!("{line}");
        }
        emit("park_spawn", procs, took.as_nanos() as f64 / n as f64, n, "");
        if runtime::num_goroutine() != n + others {
            burrow::println!("bench-note park goroutines {}", runtime::num_goroutine());
        }
        ch.close();
        while runtime::num_goroutine() > others {
            time::sleep(Duration::from_millis(1));
        }
        runtime::free_os_memory();
    }
}
