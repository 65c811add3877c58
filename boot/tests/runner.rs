//! The test runner, tested: kernels that misbehave must each fail with the right name.
//!
//! A runner that lets a hung kernel pass is worse than none. `tests/badkernels` is one kernel with a mode for every
//! way to go wrong; each case here boots it and reads the report as a user would.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "these kernels take no keys")]
mod guest;

use std::{path::PathBuf, process::Output, sync::OnceLock};

/// Builds the bad kernel once.
fn kernel() -> PathBuf {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    let build = || guest::cargo_build(&["-p", "burrow-badkernels"]).join("burrow-badkernels");
    KERNEL.get_or_init(build).clone()
}

/// More than a kernel needs that does not hang; what one that does is given is up to its test.
const LIMIT: &str = "120";

fn boot(command: &str, mode: char, more: &[&str]) -> (i32, String) {
    boot_within(LIMIT, command, mode, more)
}

fn boot_within(limit: &str, command: &str, mode: char, more: &[&str]) -> (i32, String) {
    let bad = format!("bad={mode}");
    let Output {
        status,
        stdout,
        stderr,
    } = guest::runner()
        .arg(command)
        .arg(kernel())
        .args(["--smp", "1", "--timeout", limit, "--opts", &bad])
        .args(more)
        .output()
        .expect("the runner runs");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("the runner exits"), text)
}

/// Runs a mode as a test image and expects failure with all of `says`.
fn fails(mode: char, says: &[&str]) {
    fails_within(LIMIT, mode, says);
}

fn fails_within(limit: &str, mode: char, says: &[&str]) {
    failed(mode, says, boot_within(limit, "test", mode, &[]));
}

fn failed(mode: char, says: &[&str], (code, text): (i32, String)) {
    assert_eq!(code, 101, "mode {mode} must fail:\n{text}");
    assert!(text.contains("test result: FAILED"), "mode {mode}:\n{text}");
    for word in says {
        assert!(text.contains(word), "mode {mode} must say {word:?}:\n{text}");
    }
}

#[test]
fn a_good_run_passes() {
    let (code, text) = boot("test", 'g', &[]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "running 2 tests",
        "test bad::one ... ok",
        "test bad::two ... ok",
        "test result: ok. 2 passed; 0 failed",
    ] {
        assert!(text.contains(line), "{line:?} missing:\n{text}");
    }
    assert!(
        !text.contains("one says hi"),
        "output of passing tests is hidden:\n{text}"
    );
    assert!(boot("test", 'g', &["--nocapture"]).1.contains("one says hi"));
}

#[test]
fn a_failing_test_is_shown_with_its_output() {
    fails(
        'f',
        &[
            "test bad::two ... FAILED",
            "---- bad::two ----",
            "two was here",
            "two is \nnot one",
            "1 passed; 1 failed",
        ],
    );
}

#[test]
fn a_hang_is_named() {
    // On a busy host three seconds may be over before the test begins: then it must be named with a longer limit.
    for limit in ["3", "20", "120"] {
        let ended = boot_within(limit, "test", 'h', &[]);
        if ended.1.contains("test bad::two") || limit == "120" {
            let hang = format!("started but not finished: hang (timeout after {limit}s)");
            return failed('h', &["test bad::two ... FAILED", &hang, "two was here"], ended);
        }
    }
}

#[test]
fn a_triple_fault_is_named() {
    fails(
        't',
        &[
            "bad::two: started but not finished: triple fault or silent exit",
            "two was here",
        ],
    );
}

#[test]
fn an_early_exit_is_named_even_with_success_codes() {
    fails(
        'e',
        &[
            "bad::two: exited early: the test started but not finished",
            "code 0",
        ],
    );
}

#[test]
fn a_crash_of_the_program_fails_the_test() {
    fails('c', &["bad::two: exited early", "code 2"]);
}

#[test]
fn silence_is_named() {
    fails('n', &["printed nothing"]);
    fails_within("3", 's', &["hang (timeout after 3s) and printed nothing"]);
}

#[test]
fn reporting_twice_is_named() {
    fails('w', &["reported twice"]);
}

#[test]
fn a_missing_or_contradicting_exit_line_is_named() {
    fails(
        'q',
        &[
            "exited early: no BURROW-EXIT line",
            "serial log",
            "hello from a bad kernel",
        ],
    );
    fails(
        'l',
        &["contradiction: the guest said BURROW-EXIT 0, QEMU exited with 35"],
    );
}

#[test]
fn a_result_that_never_came_is_missed() {
    fails('m', &["tests have no result", "1 tests not run"]);
}

#[test]
fn a_test_may_be_about_the_end_of_the_program() {
    let (code, text) = boot("test", 'x', &[]);
    assert_eq!(code, 0, "{text}");
    fails(
        'y',
        &["bad::two: exit code 2 as expected, but never said \"deadlock\""],
    );
}

#[test]
fn a_program_that_is_only_run_must_agree_too() {
    assert_eq!(boot("run", 'g', &[]).0, 0);
    assert_eq!(boot("run", 'c', &[]).0, 2);
    for (mode, name) in [
        ('h', "hang"),
        ('t', "triple fault"),
        ('w', "reported twice"),
        ('l', "contradiction"),
    ] {
        let limit = if mode == 'h' { "3" } else { LIMIT };
        let (code, text) = boot_within(limit, "run", mode, &[]);
        assert_eq!(code, 101, "{text}");
        assert!(text.contains(name), "mode {mode} must say {name:?}:\n{text}");
    }
}
