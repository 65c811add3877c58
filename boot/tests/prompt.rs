//! The serial prompt, as somebody at the keyboard meets it: type, wait for what should appear, type on.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "keys are pressed and what appears is read, line or not")]
mod guest;

use guest::Guest;

/// The default kernel, with the network that the runner chooses, where several run at once.
fn boot(options: &str) -> Guest {
    Guest::boot("burrow", "", &["--smp", "2", "--opts", options])
}

#[test]
fn commands_answer_and_mistakes_are_explained() {
    let mut s = boot("run=");
    s.sees("burrow> ");
    s.presses("help\r");
    s.sees("dump all goroutines");
    s.sees("burrow> ");
    s.presses("pss\x7f\r"); // backspace
    s.sees("WAITS FOR");
    s.sees("main");
    s.sees_if_pressed("ps\r", "IO wait"); // once the web server waits for somebody
    s.presses("ps leaks\r");
    s.sees("0 leaked");
    s.presses("run leak\r");
    s.sees("`ps leaks` names him");
    s.presses("ps leaks\r");
    s.sees("[chan send (leaked)]: it has the only handle of the channel, created at ");
    s.sees("kernel/src/tour/leak.rs:"); // its call stack
    s.sees("1 leaked");
    s.presses("ps leeks\r");
    s.sees("ps: \"leeks\" is none of its words: leaks");
    s.presses("sched\r");
    s.sees("SCHED ");
    s.sees("gomaxprocs=2");
    s.sees("M1: p=");
    s.presses("panic\r");
    s.sees("(panic) panicked: you asked for it");
    s.presses("nonsense\x15wrong\r"); // Ctrl-U
    s.sees("unknown command \"wrong\"");
    s.presses("never\x03"); // Ctrl-C
    s.sees("^C");
    s.presses("run\r");
    s.sees("tour");
    s.presses("run nobody\r");
    s.sees("no program \"nobody\"");
    s.presses("exit seven\r");
    s.sees("not a number: seven");
    s.presses("exit 7\r");
    s.ends_with(7);
}

#[test]
fn memory_by_class_by_call_stack_and_given_back() {
    let mut s = boot("run=");
    s.sees("burrow> ");
    s.presses("mem\r");
    for figure in [
        "memory ",
        ": heap ",
        " + stacks ",
        "live in ",
        "idle ",
        "used%",
        "burrow> ",
    ] {
        s.sees(figure);
    }
    s.presses("run heap\r");
    let line = s.says("1000 blocks of 64 bytes");
    let live = line
        .split_once("64 bytes")
        .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
    assert!(live.is_some_and(|n: u32| (1000..1200).contains(&n)), "{line}"); // and a few of the runtime's own
    s.sees("are free again");
    s.presses("mem free\r");
    s.sees("are free again");
    s.presses("mem heap\r");
    s.sees("heap profile: ");
    s.sees("@ heap/524288");
    s.sees("burrow> ");
    s.presses("mem lost\r");
    s.sees("mem: \"lost\" is none of its words: heap, free");
    s.presses("exit\r");
    s.ends_with(0);
}

#[test]
fn ctrl_backslash_dumps_while_all_cores_are_busy() {
    let mut s = boot("run=busy");
    s.sees("burrow> ");
    s.sees_if_pressed("\x1c", "goroutine 1 [IO wait]:"); // a moment after the prompt it waits for a key
    s.presses("top\r");
    s.sees("STATUS");
    s.sees("STATUS");
    s.presses("q");
    s.sees("burrow> ");
    s.presses("exit\r");
    s.ends_with(0);
}

#[test]
fn a_list_of_programs_stops_at_the_first_failure() {
    let s = boot("run=contain,nonsense,exit");
    s.ends_with(2);
}
