#![no_std]
#![no_main]
extern crate alloc;
use burrow::println;
#[used]
static ENTRY: unsafe extern "C" fn() = burrow::__boot_entry;

#[unsafe(no_mangle)]
extern "Rust" fn __burrow_main() {
    println!("main runs as a goroutine");
    let h: alloc::vec::Vec<_> = (0..10u64).map(|i| burrow::spawn(move || { burrow::yield_now(); i * i })).collect();
    let mut sum = 0;
    for x in h { sum += x.join().unwrap(); }
    println!("sum {sum}");
    let r = burrow::spawn(|| { if sum_is(1) { panic!("boo") } }).join();
    println!("{r:?}");
    burrow::time::sleep(core::time::Duration::from_millis(20));
    println!("slept");
    for i in 0..4 { burrow::spawn(move || { loop { core::hint::spin_loop(); } }); let _ = i; }
    burrow::time::sleep(core::time::Duration::from_millis(50));
    println!("hogs preempted: {:?}", burrow::runtime::sched_stats());
}
fn sum_is(x: u32) -> bool { x == 1 }
