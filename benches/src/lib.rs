//! How every benchmark is run and reported, so that its line stands beside Go's.
//!
//! The programs mirror the peer's operation for operation (docs/performance.md): a repetition does `n` operations and
//! says how long they took; one warm-up with a tenth, then the best of three counts. A line per benchmark and number of
//! Ps: `bench name=NAME procs=P ns_per_op=F ops=N med=F max=F`. Under `make bench ICOUNT=1` a nanosecond is an
//! instruction and lines repeat to the last digit.
//!
//! Kernel command line, as the peer's: `bench.only=a|b` (names that contain one of these, `=a` exactly),
//! `bench.scale=0.1`, `bench.procs=1|4`, `bench.reps=3`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

/// One benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Its name, as in the peer's table.
    pub name: &'static str,
    /// Operations at scale 1.
    pub n: usize,
    /// Never fewer than this.
    pub min: usize,
    /// Only with one P.
    pub one: bool,
    /// One repetition of about `n` operations: how many there were and how long they took.
    pub run: fn(n: usize) -> (usize, Duration),
}

/// The options of a run.
#[derive(Debug)]
pub struct Suite {
    only: &'static str,
    scale: f64,
    procs: Vec<usize>,
    reps: usize,
}

impl Suite {
    /// Reads the kernel command line.
    pub fn from_options() -> Suite {
        let get = burrow::opts::get;
        let list = get("bench.procs").unwrap_or("1|2|4");
        let cores = burrow::runtime::num_cpu();
        Suite {
            only: get("bench.only").unwrap_or(""),
            scale: get("bench.scale").and_then(|text| text.parse().ok()).unwrap_or(1.0),
            procs: list.split('|').filter_map(|p| p.parse().ok()).filter(|p| *p <= cores).collect(),
            reps: get("bench.reps").and_then(|text| text.parse().ok()).unwrap_or(3),
        }
    }

    /// Is this benchmark wanted?
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty()
            || self.only.split('|').filter(|word| !word.is_empty()).any(|word| match word.strip_prefix('=') {
                Some(exact) => name == exact,
                None => name.contains(word),
            })
    }

    /// Runs `benches` with every number of Ps.
    pub fn run(&self, benches: &[Bench]) {
        let before = burrow::runtime::gomaxprocs(0);
        for (index, &procs) in self.procs.iter().enumerate() {
            burrow::runtime::gomaxprocs(procs);
            for bench in benches {
                if self.wants(bench.name) && !(bench.one && index > 0) {
                    self.measure(bench, procs);
                }
            }
        }
        burrow::runtime::gomaxprocs(before);
    }

    fn measure(&self, bench: &Bench, procs: usize) {
        let n = ((bench.n as f64 * self.scale) as usize).max(bench.min).max(1);
        (bench.run)((n / 10).max(bench.min / 10).max(1));
        let mut ops = 0;
        let mut figures: Vec<f64> = Vec::new();
        for _ in 0..self.reps.max(1) {
            let (done, took) = (bench.run)(n);
            ops = done;
            figures.push(took.as_nanos() as f64 / done.max(1) as f64);
        }
        figures.sort_by(f64::total_cmp);
        let (median, worst) = (figures[figures.len() / 2], figures[figures.len() - 1]);
        emit(bench.name, procs, figures[0], ops, &format!(" med={median:.3} max={worst:.3}"));
    }
}

/// Prints one line of the table.
pub fn emit(name: &str, procs: usize, ns_per_op: f64, ops: usize, extra: &str) {
    let line: String = format!("bench name={name} procs={procs} ns_per_op={ns_per_op:.3} ops={ops}{extra}");
    burrow::println!("{line}");
}
