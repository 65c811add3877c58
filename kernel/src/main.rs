#![no_std]
#![no_main]
extern crate alloc;
use alloc::{sync::Arc, vec::Vec};
use burrow::println;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
#[used]
static ENTRY: unsafe extern "C" fn() = burrow::__boot_entry;

#[inline(never)]
fn deep(n: u64) -> u64 { let mut a = [n; 16]; core::hint::black_box(&mut a); if n == 0 { 0 } else { 1 + deep(n - 1) + (a[3] - n) } }
#[inline(never)]
fn forever(n: u64) -> u64 { let mut a = [n; 16]; core::hint::black_box(&mut a); forever(n + 1) + a[2] }

#[unsafe(no_mangle)]
extern "Rust" fn __burrow_main() {
    burrow::debug::set_slice_ns(100_000);
    println!("A deep {:?}", burrow::spawn(|| deep(800)).join());
    for _ in 0..3 {
        let r = burrow::spawn(|| forever(0)).join();
        println!("B overflow {}", r.unwrap_err());
    }
    let hs: Vec<_> = (0..64).map(|_| burrow::spawn(|| forever(0))).collect();
    let n = hs.into_iter().filter(|_| true).map(|h| h.join().is_err() as u32).sum::<u32>();
    println!("C overflowed {n}");
    let c = Arc::new(AtomicU64::new(0));
    for round in 0..5 {
        let hs: Vec<_> = (0..5000u64).map(|i| { let c = c.clone(); burrow::spawn(move || { for _ in 0..(i % 5) { burrow::yield_now(); } c.fetch_add(1, Ordering::Relaxed); }) }).collect();
        for h in hs { h.join().unwrap(); }
        println!("D round {round} {}", c.load(Ordering::Relaxed));
    }
    let hs: Vec<_> = (0..1000u64).map(|i| burrow::spawn(move || { if i % 2 == 0 { panic!("p{i}") } i })).collect();
    let e = hs.into_iter().map(|h| h.join().is_err() as u32).sum::<u32>();
    println!("E panics {e}");
    let hs: Vec<_> = (0..16u64).map(|i| burrow::spawn(move || { for _ in 0..20 { burrow::blocking(|| { let t = burrow::time::Instant::now(); while t.elapsed() < Duration::from_micros(500) { core::hint::spin_loop() } }); } i })).collect();
    for h in hs { h.join().unwrap(); }
    println!("F blocking done");
    let stop = Arc::new(AtomicU64::new(0));
    let hs: Vec<_> = (0..8u64).map(|_| { let s = stop.clone(); burrow::spawn(move || { let mut k = 0u64; while s.load(Ordering::Relaxed) == 0 { k += 1; if k % 64 == 0 { burrow::yield_now() } } k }) }).collect();
    for i in 0..200 { let p = burrow::runtime::gomaxprocs(1 + (i * 7) % 5); core::hint::black_box(p); }
    burrow::runtime::gomaxprocs(64);
    stop.store(1, Ordering::Relaxed);
    for h in hs { h.join().unwrap(); }
    println!("G gomaxprocs done");
    let hs: Vec<_> = (0..6u64).map(|i| burrow::spawn(move || { burrow::runtime::lock_os_thread(); for _ in 0..50 { burrow::yield_now(); if i % 2 == 0 { burrow::time::sleep(Duration::from_micros(200)); } } burrow::runtime::unlock_os_thread(); })).collect();
    for h in hs { h.join().unwrap(); }
    println!("H locked done");
    let f0 = burrow::mem::frames::free_count();
    let hs: Vec<_> = (0..20000u64).map(|_| burrow::spawn(|| burrow::time::sleep(Duration::from_millis(300)))).collect();
    println!("I alive {} frames used {}", burrow::runtime::num_goroutine(), f0 - burrow::mem::frames::free_count());
    for h in hs { h.join().unwrap(); }
    let s = burrow::runtime::scavenge_stacks();
    println!("I scavenged {s}, {} frames still used", f0 as i64 - burrow::mem::frames::free_count() as i64);
    println!("{:?}", burrow::runtime::sched_stats());
}
