//! How every benchmark is run and reported, so that its line stands beside Go's, and the operations themselves.
//!
//! The operations mirror the peer's one for one (docs/performance.md): a repetition does about `n` of them and says how
//! long it took; one warm-up with a tenth, then the best of three counts. A line per benchmark and number of Ps:
//! `bench name=NAME procs=P ns_per_op=F ops=N med=F max=F`. Under `make bench ICOUNT=1` a nanosecond is an
//! instruction and lines repeat to the last digit.
//!
//! Kernel command line, as the peer's: `bench.only=a|b` (names that contain one of these, `=a` exactly), `bench.skip=a|b`,
//! `bench.scale=0.1`, `bench.procs=1|4`, `bench.reps=3`, `bench.park=100000` (how many goroutines to park).
#![no_std]
extern crate alloc;

pub mod chan;
pub mod heap;
pub mod latency;
pub mod net;
pub mod park;
pub mod select;
pub mod sieve;
pub mod spawn;
pub mod stack;
pub mod sync;
pub mod time;

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use burrow::{sync::WaitGroup, time::Instant};

/// What a benchmark does.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// One repetition of about `n` operations: how many there were and how long they took.
    Timed(fn(n: usize) -> (usize, Duration)),
    /// Measures and prints by itself: the options, `n`, the number of Ps.
    Own(fn(suite: &Suite, n: usize, procs: usize)),
}

/// One benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Its name, as in the peer's table.
    pub name: &'static str,
    /// Operations at scale 1.
    pub n: usize,
    /// Never fewer than this.
    pub min: usize,
    /// Only with the first number of Ps.
    pub one: bool,
    /// How.
    pub run: Run,
}

impl Bench {
    /// A benchmark that the suite times.
    pub const fn timed(
        name: &'static str,
        n: usize,
        min: usize,
        run: fn(usize) -> (usize, Duration),
    ) -> Self {
        Bench {
            name,
            n,
            min,
            one: false,
            run: Run::Timed(run),
        }
    }

    /// A benchmark that prints its own lines.
    pub const fn own(name: &'static str, n: usize, min: usize, run: fn(&Suite, usize, usize)) -> Self {
        Bench {
            name,
            n,
            min,
            one: false,
            run: Run::Own(run),
        }
    }

    /// Run it only once, not with every number of Ps.
    pub const fn once(mut self) -> Self {
        self.one = true;
        self
    }
}

/// The options of a run.
#[derive(Debug)]
pub struct Suite {
    only: &'static str,
    skip: &'static str,
    scale: f64,
    procs: Vec<usize>,
    /// Repetitions.
    pub reps: usize,
    /// Numbers of goroutines to park.
    pub park: Vec<usize>,
}

fn numbers(list: &str) -> Vec<usize> {
    list.split('|').filter_map(|n| n.parse().ok()).collect()
}

impl Suite {
    /// Reads the kernel command line.
    pub fn from_options() -> Suite {
        let get = burrow::opts::get;
        let cores = burrow::runtime::num_cpu();
        let mut procs = numbers(get("bench.procs").unwrap_or("1|2|4"));
        procs.retain(|p| *p <= cores);
        Suite {
            only: get("bench.only").unwrap_or(""),
            skip: get("bench.skip").unwrap_or(""),
            scale: get("bench.scale")
                .and_then(|text| text.parse().ok())
                .unwrap_or(1.0),
            procs,
            reps: get("bench.reps")
                .and_then(|text| text.parse().ok())
                .unwrap_or(3)
                .max(1),
            park: numbers(get("bench.park").unwrap_or("100000")),
        }
    }

    /// Is this benchmark wanted?
    pub fn wants(&self, name: &str) -> bool {
        let words = |list: &'static str| list.split('|').filter(|word| !word.is_empty());
        if words(self.skip).any(|word| name.contains(word)) {
            return false;
        }
        self.only.is_empty()
            || words(self.only).any(|word| match word.strip_prefix('=') {
                Some(exact) => name == exact,
                None => name.contains(word),
            })
    }

    /// Runs `benches` with every number of Ps.
    pub fn run(&self, benches: &[Bench]) {
        let before = burrow::runtime::gomaxprocs(0);
        let begin = Instant::now();
        for (index, &procs) in self.procs.iter().enumerate() {
            burrow::runtime::gomaxprocs(procs);
            for bench in benches {
                if !self.wants(bench.name) || (bench.one && index > 0) {
                    continue;
                }
                let n = ((bench.n as f64 * self.scale) as usize).max(bench.min).max(1);
                match bench.run {
                    Run::Own(run) => run(self, n, procs),
                    Run::Timed(run) => {
                        run((n / 10).max(bench.min / 10).max(1));
                        emit_best(bench.name, procs, &self.repeat(|| run(n)), "");
                    }
                }
            }
        }
        burrow::runtime::gomaxprocs(before);
        burrow::println!("bench-done suite_ns={}", begin.elapsed().as_nanos());
    }

    /// Repetitions of `run`, best first: nanoseconds per operation, operations.
    pub fn repeat(&self, run: impl Fn() -> (usize, Duration)) -> Vec<(f64, usize)> {
        let mut figures: Vec<(f64, usize)> = (0..self.reps)
            .map(|_| {
                let (ops, took) = run();
                (took.as_nanos() as f64 / ops.max(1) as f64, ops)
            })
            .collect();
        figures.sort_by(|a, b| a.0.total_cmp(&b.0));
        figures
    }
}

/// Prints the line of [`Suite::repeat`]'s figures.
pub fn emit_best(name: &str, procs: usize, figures: &[(f64, usize)], extra: &str) {
    let (best, ops) = figures[0];
    let (median, worst) = (figures[figures.len() / 2].0, figures[figures.len() - 1].0);
    emit(
        name,
        procs,
        best,
        ops,
        &format!(" med={median:.3} max={worst:.3}{extra}"),
    );
}

/// Prints one line of the table.
pub fn emit(name: &str, procs: usize, ns_per_op: f64, ops: usize, extra: &str) {
    let line: String = format!("bench name={name} procs={procs} ns_per_op={ns_per_op:.3} ops={ops}{extra}");
    burrow::println!("{line}");
}

/// `k` goroutines that each do `f(i)`, and the time until all have.
pub fn par(k: usize, f: impl Fn(usize) + Send + Sync + 'static) -> Duration {
    let (wg, f) = (Arc::new(WaitGroup::new()), Arc::new(f));
    wg.add(k as i32);
    let begin = Instant::now();
    for i in 0..k {
        let (wg, f) = (wg.clone(), f.clone());
        burrow::go(move || {
            f(i);
            wg.done();
        });
    }
    wg.wait();
    begin.elapsed()
}
