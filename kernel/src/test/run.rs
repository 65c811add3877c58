//! Runs the selected tests, one goroutine each, and reports.
#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use burrow_proto::Line;

use super::{TestDesc, plan::Plan, registry, watchdog};
use crate::{Builder, Panic, arch, opts, panic::backtrace, print, sched};

/// Prints a line for the host program, in one piece.
fn say(line: Line<'_>) {
    print::raw(format!("\x1e{line}\n").as_bytes());
}

/// Runs the tests that the kernel command line selects and ends the machine; `test_main!` calls it.
pub fn run_all() -> ! {
    let plan = Plan::read(opts::get);
    let tests = registry::in_order();
    let selected = || tests.iter().filter(|test| plan.selects(test));
    say(Line::Plan {
        total: tests.len(),
        run: selected().count(),
        from: plan.from,
    });
    watchdog::start();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for test in selected().skip(plan.from) {
        let name = test.name;
        if plan.list_only {
            say(Line::List { name });
            continue;
        }
        if plan.passes_over(test) {
            say(Line::Ignored {
                name,
                reason: test.ignore.unwrap_or(""),
            });
            ignored += 1;
            continue;
        }
        let limit_secs = test
            .timeout_secs
            .saturating_mul(patience())
            .saturating_add(soak_secs());
        say(Line::Start {
            name,
            limit_secs,
            exit: test.exit,
            says: test.says,
        });
        let begin = arch::now_ns();
        watchdog::begin(Duration::from_secs(limit_secs.into()));
        let result = run_one(test);
        watchdog::end();
        let micros = (arch::now_ns() - begin) / 1_000;
        match result {
            Ok(()) => {
                say(Line::Ok { name, micros });
                passed += 1;
            }
            Err(message) => {
                say(Line::Failed {
                    name,
                    micros,
                    message: &message,
                });
                failed += 1;
            }
        }
    }
    say(Line::End {
        passed,
        failed,
        ignored,
    });
    arch::exit_tests(i32::from(failed > 0))
}

/// `soak_secs=N`: how long the stress tests should go on beyond their usual amount; 0 normally.
pub fn soak_secs() -> u32 {
    opts::get_u64("soak_secs")
        .and_then(|secs| secs.try_into().ok())
        .unwrap_or(0)
}

/// How many times its limit a test may take: the delays of `chaos` cost time.
fn patience() -> u32 {
    if sched::chaos_is_on() { 3 } else { 1 }
}

fn run_one(test: &TestDesc) -> Result<(), String> {
    match Builder::new().name(test.name).spawn(test.run) {
        Ok(handle) => judge(test, handle.join()),
        Err(error) => Err(format!("cannot start its goroutine: {error}")),
    }
}

fn judge(test: &TestDesc, result: Result<(), Panic>) -> Result<(), String> {
    if let Some(code) = test.exit {
        return Err(format!(
            "should have ended the program with code {code}, but came back"
        ));
    }
    match (result, test.should_panic) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(_)) => Err("test did not panic as expected".to_string()),
        (Err(panic), Some(expected)) if panic.to_string().contains(expected) => Ok(()),
        (Err(panic), Some(expected)) => Err(format!(
            "panic did not contain expected string {expected:?}: {}",
            describe(&panic)
        )),
        (Err(panic), None) => Err(describe(&panic)),
    }
}

/// The message, the place and who called whom.
fn describe(panic: &Panic) -> String {
    let mut text = match panic.location() {
        Some(place) => format!("panicked at {place}:\n{panic}\n"),
        None => format!("panicked: {panic}\n"),
    };
    // A report that does not fit into memory is cut, not lost.
    let _ = backtrace::write_frames(&mut text, panic.backtrace().frames());
    text
}
