//! All benchmarks, in the peer's order: `make bench`, `make bench ICOUNT=1`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow_benches::{Bench, Suite, chan, heap, latency, net, park, select, sieve, spawn, stack, sync, time};

const BENCHES: &[Bench] = &[
    Bench::own("bytes_per_parked_goroutine", 1, 1, park::run).once(),
    Bench::timed("chan_unbuf_pingpong", 400_000, 1_000, chan::pingpong),
    Bench::timed("chan_buf128_spsc", 3_000_000, 10_000, chan::spsc),
    Bench::timed("chan_buf128_mpmc4x4", 2_000_000, 10_000, chan::mpmc4x4),
    Bench::timed("select_recv2", 600_000, 1_000, select::recv2),
    Bench::timed("select_default", 50_000_000, 100_000, select::default1),
    Bench::timed("select_default2", 4_000_000, 10_000, select::default2),
    Bench::timed("spawn_join", 400_000, 1_000, spawn::join),
    Bench::timed("spawn_nested_fib", 242_785, 21_891, spawn::nested_fib),
    Bench::timed("yield_pair", 2_000_000, 1_000, spawn::yield_pair),
    Bench::timed("mutex_uncontended", 10_000_000, 10_000, sync::mutex_uncontended),
    Bench::timed("mutex_contended8", 4_000_000, 8_000, sync::mutex_contended8),
    Bench::timed("atomic_add8", 16_000_000, 8_000, sync::atomic_add8),
    Bench::timed("rwmutex_read8", 8_000_000, 8_000, sync::rwmutex_read8),
    Bench::timed("once_fast", 50_000_000, 100_000, sync::once_fast),
    Bench::timed("cond_broadcast", 400_000, 1_600, sync::cond_broadcast),
    Bench::timed("waitgroup", 10_000_000, 10_000, sync::waitgroup),
    Bench::timed("pool_get_put", 10_000_000, 10_000, sync::pool_get_put),
    Bench::timed("syncmap_load", 5_000_000, 10_000, sync::syncmap_load),
    Bench::timed("syncmap_store", 1_000_000, 10_000, sync::syncmap_store),
    Bench::timed("sleep_1ms_x1000", 50, 10, time::sleep_1ms_x1000),
    Bench::timed("timer_start_stop", 1_000_000, 10_000, time::timer_start_stop),
    Bench::timed("timer_new_stop", 1_000_000, 10_000, time::timer_new_stop),
    Bench::timed("ctx_cancel_tree_10k", 200_000, 20_000, time::ctx_cancel_tree_10k),
    Bench::own("sieve_2000", 2_000, 20, sieve::run),
    Bench::own("preempt_latency_us", 200, 100, latency::run),
    Bench::own("sleep_idle_late", 500, 500, latency::sleep_idle),
    Bench::timed("alloc_16", 8_000_000, 10_000, heap::object_of::<2>),
    Bench::timed("alloc_64", 5_000_000, 10_000, heap::object_of::<8>),
    Bench::timed("alloc_1024", 800_000, 10_000, heap::object_of::<128>),
    Bench::timed("alloc_32k", 40_000, 2_000, heap::object_of::<4096>),
    Bench::timed("alloc_free_pair_64", 5_000_000, 10_000, heap::free_pair_64),
    Bench::timed("alloc_parallel8_64", 6_000_000, 8_000, heap::parallel8_64),
    Bench::timed("alloc_xthread_free_64", 2_000_000, 6_400, heap::xthread_free_64),
    Bench::timed("stack_grow_1000", 4_000, 100, stack::grow_1000),
    Bench::timed("lo_tcp_echo64", 20_000, 1_000, net::lo_tcp_echo64),
    Bench::timed("lo_http_raw", 20_000, 200, net::lo_http_raw),
    Bench::timed("lo_http_nethttp", 20_000, 200, net::lo_http_nethttp),
    Bench::timed("nanotime", 3_000_000, 1_000, time::nanotime),
];

#[burrow::main]
fn main() {
    burrow::println!(
        "bench-env burrow={} ncpu={} frames_free={}",
        env!("CARGO_PKG_VERSION"),
        burrow::runtime::num_cpu(),
        burrow::mem::frames::free_count()
    );
    Suite::from_options().run(BENCHES);
}
