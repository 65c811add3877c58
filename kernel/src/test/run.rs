//! Runs the selected tests, one goroutine each, and reports.
#![forbid(unsafe_code)]

use alloc::{format, string::String, string::ToString};
use core::time::Duration;

use burrow_proto::Line;

use super::{TestDesc, plan::Plan, registry};
use crate::{Builder, Chan, JoinHandle, Panic, arch, chan, opts, panic::backtrace, println};

/// How a test ended.
enum End {
    Passed,
    Failed(String),
    /// It is still running, and will be.
    TimedOut,
}

/// Prints a line for the host program.
pub(super) fn say(line: Line<'_>) {
    println!("\x1e{line}");
}

/// Runs the tests that the kernel command line selects and ends the machine; `test_main!` calls it.
pub fn run_all() -> ! {
    let plan = Plan::read(opts::get);
    let tests = registry::in_order();
    let selected = || tests.iter().filter(|test| plan.selects(test));
    say(Line::Plan { total: tests.len(), run: selected().count(), from: plan.from });
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for test in selected().skip(plan.from) {
        if plan.list_only {
            say(Line::List { name: test.name });
            continue;
        }
        if plan.passes_over(test) {
            say(Line::Ignored { name: test.name, reason: test.ignore.unwrap_or("") });
            ignored += 1;
            continue;
        }
        let limit = test.timeout_secs.saturating_add(soak_secs());
        say(Line::Start { name: test.name, limit_secs: limit, exit: test.exit, says: test.says });
        let begin = arch::now_ns();
        let end = run_one(test, Duration::from_secs(limit.into()));
        let micros = (arch::now_ns() - begin) / 1_000;
        match end {
            End::Passed => {
                say(Line::Ok { name: test.name, micros });
                passed += 1;
            }
            End::Failed(message) => {
                say(Line::Failed { name: test.name, micros, message: &message });
                failed += 1;
            }
            End::TimedOut => {
                println!("{}", crate::runtime::stack(true));
                let message = format!("timed out: still running after {limit} s (dump above)");
                say(Line::Failed { name: test.name, micros, message: &message });
                // Its goroutines cannot be stopped; the host boots anew for the rest.
                say(Line::Again);
                arch::exit_tests(1);
            }
        }
    }
    say(Line::End { passed, failed, ignored });
    arch::exit_tests(i32::from(failed > 0))
}

/// `soak_secs=N`: how much longer than usual tests take (`burrow::test::soak_secs` tells the stress tests).
pub fn soak_secs() -> u32 {
    opts::get("soak_secs").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Says that it is done when the goroutine leaves, however it leaves.
struct Tell(Chan<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        // One slot, one sender: never blocks.
        self.0.send(());
    }
}

fn run_one(test: &TestDesc, limit: Duration) -> End {
    let done = chan::<()>(1);
    let tell = Tell(done.clone());
    let run = test.run;
    let handle = Builder::new().name(test.name).spawn(move || {
        let _tell = tell;
        run();
    });
    let handle: JoinHandle<()> = match handle {
        Ok(handle) => handle,
        Err(error) => return End::Failed(format!("cannot start its goroutine: {error}")),
    };
    if done.recv_timeout(limit).is_err() {
        return End::TimedOut;
    }
    judge(test, handle.join())
}

fn judge(test: &TestDesc, result: Result<(), Panic>) -> End {
    if let Some(code) = test.exit {
        return End::Failed(format!("should have ended the program with code {code}, but came back"));
    }
    match (result, test.should_panic) {
        (Ok(()), None) => End::Passed,
        (Ok(()), Some(_)) => End::Failed("test did not panic as expected".to_string()),
        (Err(panic), Some(expected)) if panic.to_string().contains(expected) => End::Passed,
        (Err(panic), Some(expected)) => {
            End::Failed(format!("panic did not contain expected string {expected:?}: {}", describe(&panic)))
        }
        (Err(panic), None) => End::Failed(describe(&panic)),
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
