//! The serial prompt, as somebody at the keyboard meets it: type, wait for what should appear, type on.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::{Duration, Instant},
};

/// How long something may take to appear on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("boot/ lies in the tree")
}

/// Builds the default kernel once, with the tree's own configuration.
fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let status = Command::new("cargo")
            .args(["build", "--quiet", "-p", "burrow-tests", "--bin", "burrow"])
            .current_dir(root())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the kernel builds");
        root().join("target/x86_64-burrow/debug/burrow")
    })
}

/// A machine with somebody at its keyboard.
struct Session {
    machine: Child,
    keys: ChildStdin,
    seen: Arc<(Mutex<String>, Condvar)>,
    /// How much of `seen` has been waited for.
    read: usize,
}

impl Session {
    fn boot(options: &str) -> Session {
        let mut runner = Command::new(env!("CARGO_BIN_EXE_burrow-boot"));
        for name in [
            "SMP", "MEM", "SEED", "DET", "BOOT", "MACHINE", "ICOUNT", "TIMEOUT", "OPTS", "NET",
        ] {
            runner.env_remove(name);
        }
        let mut machine = runner
            .arg("run")
            .arg(kernel())
            .args(["--smp", "2", "--timeout", "90", "--opts", options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the runner starts");
        let keys = machine.stdin.take().expect("piped");
        let mut output = machine.stdout.take().expect("piped");
        let seen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let theirs = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                let (text, more) = &*theirs;
                text.lock()
                    .expect("not poisoned")
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
                more.notify_all();
            }
        });
        Session {
            machine,
            keys,
            seen,
            read: 0,
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the machine lives");
        self.keys.flush().expect("the machine lives");
    }

    /// Waits until `text` appears after what was waited for before.
    fn sees(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        let (seen, more) = &*self.seen;
        let mut seen = seen.lock().expect("not poisoned");
        loop {
            if let Some(at) = seen[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{text:?} never appeared after:\n{}\n---- but:\n{}",
                &seen[..self.read],
                &seen[self.read..]
            );
            seen = more.wait_timeout(seen, left).expect("not poisoned").0;
        }
    }

    fn ends_with(mut self, code: i32) {
        let status = self.machine.wait().expect("the runner ends");
        assert_eq!(status.code(), Some(code));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // After a failed assertion; otherwise it has ended and there is nothing to kill.
        let _ = self.machine.kill();
    }
}

#[test]
fn commands_answer_and_mistakes_are_explained() {
    let mut s = Session::boot("run=");
    s.sees("burrow> ");
    s.types("help\r");
    s.sees("dump all goroutines");
    s.sees("burrow> ");
    s.types("pss\x7f\r"); // backspace
    s.sees("WAITS FOR");
    s.sees("main");
    s.sees("IO wait");
    s.types("ps leaks\r");
    s.sees("0 leaked");
    s.types("run leak\r");
    s.sees("`ps leaks` names him");
    s.types("ps leaks\r");
    s.sees("[chan send (leaked)]: it has the only handle of the channel, created at ");
    s.sees("kernel/src/tour/leak.rs:"); // its call stack
    s.sees("1 leaked");
    s.types("ps leeks\r");
    s.sees("ps: \"leeks\" is none of its words: leaks");
    s.types("sched\r");
    s.sees("SCHED ");
    s.sees("gomaxprocs=2");
    s.sees("M1: p=");
    s.types("panic\r");
    s.sees("(panic) panicked: you asked for it");
    s.types("nonsense\x15wrong\r"); // Ctrl-U
    s.sees("unknown command \"wrong\"");
    s.types("never\x03"); // Ctrl-C
    s.sees("^C");
    s.types("run\r");
    s.sees("tour");
    s.types("run nobody\r");
    s.sees("no program \"nobody\"");
    s.types("exit seven\r");
    s.sees("not a number: seven");
    s.types("exit 7\r");
    s.ends_with(7);
}

#[test]
fn memory_by_class_by_call_stack_and_given_back() {
    let mut s = Session::boot("run=");
    s.sees("burrow> ");
    s.types("mem\r");
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
    s.types("run heap\r");
    s.sees("1000 blocks of 64 bytes");
    s.sees("live 100"); // and perhaps one or two of the runtime's own
    s.sees("are free again");
    s.types("mem free\r");
    s.sees("are free again");
    s.types("mem heap\r");
    s.sees("heap profile: ");
    s.sees("@ heap/524288");
    s.sees("burrow> ");
    s.types("mem lost\r");
    s.sees("mem: \"lost\" is none of its words: heap, free");
    s.types("exit\r");
    s.ends_with(0);
}

#[test]
fn ctrl_backslash_dumps_while_all_cores_are_busy() {
    let mut s = Session::boot("run=busy");
    s.sees("burrow> ");
    s.types("\x1c");
    s.sees("goroutine 1 [IO wait]:");
    s.types("top\r");
    s.sees("STATUS");
    s.sees("STATUS");
    s.types("q");
    s.sees("burrow> ");
    s.types("exit\r");
    s.ends_with(0);
}

#[test]
fn a_list_of_programs_stops_at_the_first_failure() {
    let s = Session::boot("run=contain,nonsense,exit");
    s.ends_with(2);
}
