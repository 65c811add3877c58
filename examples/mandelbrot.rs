//! The Mandelbrot set, a goroutine for each row, while there are many more rows than cores.
//!
//! The floating-point registers of every goroutine must survive each preemption: one bit lost and the checksum is
//! wrong. (f64 arithmetic is exact IEEE: the figure is the same on every machine.)
// expect: exit=0 says=checksum b311b66bea42841e, as it should be
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

const WIDTH: usize = 72;
const HEIGHT: usize = 28;
/// Points for each character, in both directions: more work, more preemptions.
const FINE: usize = 8;
const MOST: u32 = 500;
const EXPECTED: u64 = 0xb311_b66b_ea42_841e;

/// Steps until the point leaves the circle of radius 2.
fn escape(re: f64, im: f64) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..MOST {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return step;
        }
        y = 2.0 * x * y + im;
        x = xx - yy + re;
    }
    MOST
}

/// One row of the picture, and a checksum of all its points.
fn row(line: usize) -> (String, u64) {
    let (mut text, mut sum) = (String::new(), 0u64);
    for column in 0..WIDTH {
        let mut last = 0;
        for fine in 0..FINE * FINE {
            let (i, j) = (column * FINE + fine % FINE, line * FINE + fine / FINE);
            let re = i as f64 * (3.0 / (WIDTH * FINE) as f64) - 2.25;
            let im = j as f64 * (2.5 / (HEIGHT * FINE) as f64) - 1.25;
            last = escape(re, im);
            sum = (sum ^ u64::from(last)).wrapping_mul(0x0000_0100_0000_01b3); // FNV-1a
        }
        text.push(match last {
            MOST => '#',
            20.. => '*',
            8.. => '+',
            5.. => '-',
            3.. => '.',
            _ => ' ',
        });
    }
    (text, sum)
}

#[burrow::main]
fn main() {
    let (start, before) = (Instant::now(), runtime::sched_stats());
    let rows: Vec<_> = (0..HEIGHT).map(|line| spawn(move || row(line))).collect();
    let mut checksum = 0u64;
    for (line, handle) in rows.into_iter().enumerate() {
        let (text, sum) = handle.join().unwrap();
        println!("{text}");
        checksum ^= sum.rotate_left(line as u32);
    }
    let preempted = runtime::sched_stats().preemptions - before.preemptions;
    println!(
        "{HEIGHT} rows on {} cores in {:?}, {preempted} preemptions",
        runtime::num_cpu(),
        start.elapsed()
    );
    assert_eq!(checksum, EXPECTED, "a register was lost: {checksum:#x}");
    println!("checksum {checksum:x}, as it should be");
}
