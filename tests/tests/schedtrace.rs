//! `schedtrace`: every line follows its grammar, the figures are plausible, and the pace holds with a hog on every
//! core.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{string::ToString, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

use burrow::{
    prelude::{Duration, Instant},
    runtime, time,
    trace::schedtrace,
};

burrow::test_main!();

/// Takes `text` up to `end` off the front of `rest`.
fn take<'a>(rest: &mut &'a str, before: &str, end: &str) -> &'a str {
    *rest = rest
        .strip_prefix(before)
        .unwrap_or_else(|| panic!("expected {before:?} before {rest:?}"));
    let (value, after) = rest
        .split_once(end)
        .unwrap_or_else(|| panic!("expected {end:?} in {rest:?}"));
    *rest = after;
    value
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

#[burrow::test]
fn the_line_follows_its_grammar() {
    let stats = runtime::sched_stats();
    let text = stats.to_string();
    let mut rest = text.as_str();
    let at_ms = number(take(&mut rest, "SCHED ", "ms: "));
    let procs = number(take(&mut rest, "gomaxprocs=", " "));
    let idle = number(take(&mut rest, "idleprocs=", " "));
    let threads = number(take(&mut rest, "threads=", " "));
    let spinning = number(take(&mut rest, "spinningthreads=", " "));
    let idle_threads = number(take(&mut rest, "idlethreads=", " "));
    let queue = number(take(&mut rest, "runqueue=", " "));
    let local: Vec<u64> = take(&mut rest, "[", "]").split(' ').map(number).collect();
    assert_eq!(rest, "");
    assert_eq!(at_ms, stats.at_ns / 1_000_000);
    assert_eq!(
        (procs, threads),
        (stats.gomaxprocs as u64, runtime::num_cpu() as u64)
    );
    assert_eq!(procs as usize, local.len());
    assert_eq!(queue, stats.run_queue as u64);
    assert!(idle < procs, "the P that runs this test is not idle: {text}");
    assert!(idle_threads < threads && spinning <= threads, "{text}");
}

#[burrow::test]
fn detail_has_a_line_per_p_m_and_g() {
    let text = runtime::sched_detail();
    let (mut ps, mut ms, mut running) = (0, 0, 0);
    for line in text.lines() {
        let mut rest = line
            .strip_prefix("  ")
            .unwrap_or_else(|| panic!("not indented: {line:?}"));
        match rest.as_bytes()[0] {
            b'P' => {
                assert_eq!(number(take(&mut rest, "P", ": ")), ps);
                assert!(number(take(&mut rest, "status=", " ")) <= 4, "{line}");
                for key in ["schedtick=", "syscalltick="] {
                    number(take(&mut rest, key, " "));
                }
                number_or_nil(take(&mut rest, "m=", " "));
                for key in ["runqsize=", "gfreecnt="] {
                    number(take(&mut rest, key, " "));
                }
                assert!(matches!(rest, "timerslen=0" | "timerslen=1"), "{line}");
                ps += 1;
            }
            b'M' => {
                assert_eq!(number(take(&mut rest, "M", ": ")), ms);
                number_or_nil(take(&mut rest, "p=", " "));
                number_or_nil(take(&mut rest, "curg=", " "));
                assert!(
                    matches!(take(&mut rest, "spinning=", " "), "true" | "false"),
                    "{line}"
                );
                number_or_nil(rest.strip_prefix("lockedg=").expect(line));
                ms += 1;
            }
            b'G' => {
                let id = number(take(&mut rest, "G", ": "));
                let status = number(take(&mut rest, "status=", "("));
                let reason = take(&mut rest, "", ") ");
                let core = number_or_nil(take(&mut rest, "m=", " "));
                number_or_nil(rest.strip_prefix("lockedm=").expect(line));
                if id == runtime::goid() {
                    assert!(core.is_some() && reason.is_empty() && status != 0, "{line}");
                    running += 1;
                }
            }
            _ => panic!("neither P, M nor G: {line:?}"),
        }
    }
    assert_eq!(
        (ps as usize, ms as usize, running),
        (runtime::gomaxprocs(0), runtime::num_cpu(), 1),
        "{text}"
    );
}

fn number_or_nil(text: &str) -> Option<u64> {
    (text != "nil").then(|| number(text))
}

#[burrow::test]
fn the_pace_holds_with_a_hog_on_every_core() {
    let stop = AtomicBool::new(false);
    let period = Duration::from_millis(100);
    burrow::scope(|s| {
        for _ in 0..runtime::num_cpu() {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            });
        }
        // A few may be late by a slice per hog, or missed on a busy host, which has a better second some time.
        let mut seen: Vec<(u64, u64)> = Vec::new();
        let in_pace = |&(lines, periods): &(u64, u64)| lines >= periods / 3;
        while seen.len() < 10 && !seen.last().is_some_and(in_pace) {
            let start = Instant::now();
            let trace = schedtrace::start(period, true);
            time::sleep(period * 12);
            let lines = trace.lines();
            seen.push((lines, (start.elapsed().as_millis() / period.as_millis()) as u64));
            trace.stop();
        }
        stop.store(true, Ordering::Relaxed);
        // No drift: not one line too many.
        assert!(
            seen.iter().all(|(lines, periods)| lines <= periods),
            "lines and periods: {seen:?}"
        );
        assert!(seen.last().is_some_and(in_pace), "lines and periods: {seen:?}");
    });
}
