//! A guest under test: an example or the default kernel, booted by the runner, with somebody at its keyboard and a port of the
//! host that leads to it.
//!
//! Nothing here trusts timing. What should appear is waited for as long as only a hang takes ([`PATIENCE`]); how the output
//! is cut into pieces does not matter. A port that was free when it was chosen may be taken when QEMU asks for it: then
//! another one is chosen. A test that fails shows what the guest printed, what its goroutines wait for, and what the
//! runner and QEMU said; the guest goes with its [`Guest`].

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// How long something may take on a busy machine: only a hang takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds after which the runner ends a guest, whatever the test does.
const LIFE: &str = "900";

/// Lines shown with a failure: the last before it, and the first of the goroutines.
const SHOWN: usize = 60;

/// Every parameter that the runner takes from its environment.
const PARAMETERS: [&str; 21] = [
    "SMP", "MEM", "SEED", "DET", "BOOT", "MACHINE", "ICOUNT", "SHIFT", "TIMEOUT", "OPTS", "NET", "INTX",
    "PCAP", "MONITOR", "REPEAT", "VERBOSE", "PEER", "CONNS", "RUNS", "SECS", "BLOCKS",
];

/// Builds something of the tree with the tree's own configuration; `args` as for cargo.
pub(crate) fn cargo_build(args: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the tree");
    let out = Command::new("cargo")
        .args(["build", "--quiet"])
        .args(args)
        .current_dir(root)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "cargo build {args:?}:\n{errors}");
    root.join("target/x86_64-burrow/debug")
}

/// Builds an example, or the default kernel (`burrow`); returns the path of its ELF.
pub(crate) fn build(example: &str) -> PathBuf {
    match example {
        "burrow" => cargo_build(&["-p", "burrow-tests", "--bin", "burrow"]).join("burrow"),
        _ => cargo_build(&["-p", "burrow-tests", "--example", example])
            .join("examples")
            .join(example),
    }
}

/// The host program, without parameters from outside.
pub(crate) fn runner() -> Command {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_burrow-boot"));
    for name in PARAMETERS {
        runner.env_remove(name);
    }
    runner
}

/// What a stream has brought so far.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    ended: bool,
}

/// A stream that a thread reads, and who waits for more of it.
#[derive(Clone, Default)]
struct Reader(Arc<(Mutex<Stream>, Condvar)>);

impl Reader {
    fn new(mut from: impl Read + Send + 'static) -> Reader {
        let reader = Reader::default();
        let theirs = reader.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = from.read(&mut buffer).unwrap_or(0);
                let (stream, more) = &*theirs.0;
                let mut stream = stream.lock().expect("not poisoned");
                stream.bytes.extend_from_slice(&buffer[..n]);
                stream.ended = n == 0;
                more.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        reader
    }

    /// Waits at most so long until `f` finds in it what it looks for.
    fn wait<R>(&self, limit: Duration, mut f: impl FnMut(&Stream) -> Option<R>) -> Option<R> {
        let end = Instant::now() + limit;
        let (stream, more) = &*self.0;
        let mut stream = stream.lock().expect("not poisoned");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match f(&stream) {
                None if !left.is_zero() => stream = more.wait_timeout(stream, left).expect("not poisoned").0,
                found => return found,
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().expect("not poisoned").bytes).into_owned()
    }
}

fn find(bytes: &[u8], what: &str) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what.as_bytes())
}

/// A machine that runs.
pub(crate) struct Guest {
    machine: Child,
    keys: ChildStdin,
    output: Reader,
    errors: Reader,
    /// How much of the output was waited for.
    read: usize,
    port: u16,
}

impl Guest {
    /// Builds and boots it; `net` as in `NET=`, where `PORT` stands for a free port; nothing: what the runner chooses.
    pub(crate) fn boot(example: &str, net: &str, flags: &[&str]) -> Guest {
        let elf = build(example);
        for attempt in 1.. {
            let port = free_port();
            let guest = Guest::start(&elf, &net.replace("PORT", &port.to_string()), flags, port);
            // QEMU has its ports before the guest's first instruction.
            let printed = guest.output.wait(PATIENCE, |s| {
                (s.ended || !s.bytes.is_empty()).then_some(!s.bytes.is_empty())
            });
            if printed == Some(true) {
                return guest;
            }
            guest.errors.wait(PATIENCE, |s| s.ended.then_some(()));
            let why = guest.errors.text();
            let taken = ["Could not set up host forwarding rule", "Address already in use"]
                .iter()
                .any(|s| why.contains(s));
            assert!(taken && attempt < 10, "{example} printed nothing");
        }
        unreachable!("the loop has no end")
    }

    fn start(elf: &Path, net: &str, flags: &[&str], port: u16) -> Guest {
        let mut runner = runner();
        runner.arg("run").arg(elf).args(["--timeout", LIFE]);
        if !net.is_empty() {
            runner.args(["--net", net]);
        }
        let mut machine = runner
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runner starts");
        Guest {
            keys: machine.stdin.take().expect("piped"),
            output: Reader::new(machine.stdout.take().expect("piped")),
            errors: Reader::new(machine.stderr.take().expect("piped")),
            machine,
            read: 0,
            port,
        }
    }

    /// The port of 127.0.0.1 that stands for `PORT`.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Types a command at the prompt.
    pub(crate) fn types(&mut self, command: &str) {
        self.presses(&format!("{command}\n"));
    }

    /// Presses these keys and no other.
    pub(crate) fn presses(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .and_then(|()| self.keys.flush())
            .expect("the guest runs");
    }

    /// Waits until a line contains `text`; returns all from what was waited for before to the end of that line.
    pub(crate) fn says(&mut self, text: &str) -> String {
        self.waits(text, |new| {
            let at = find(new, text)?;
            Some(at + find(&new[at..], "\n")? + 1)
        })
    }

    /// Waits until `text` appears after what was waited for before.
    pub(crate) fn sees(&mut self, text: &str) {
        self.waits(text, |new| Some(find(new, text)? + text.len()));
    }

    /// Presses `keys` until `text` appears: for what a state shows that may come a little later.
    pub(crate) fn sees_if_pressed(&mut self, keys: &str, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.presses(keys);
            let found = |new: &[u8]| Some(find(new, text)? + text.len());
            if self.advances(Duration::from_secs(2), found).is_some() {
                return;
            }
            assert!(Instant::now() < end, "{keys:?} never showed {text:?}");
        }
    }

    /// Waits until `f` finds the end of what it looks for in the output that is new.
    fn waits(&mut self, text: &str, f: impl Fn(&[u8]) -> Option<usize>) -> String {
        self.advances(PATIENCE, f).unwrap_or_else(|| {
            let ended = self.output.wait(Duration::ZERO, |s| s.ended.then_some(()));
            let how = if ended.is_some() {
                "ended and never"
            } else {
                "for a long time did not"
            };
            panic!(
                "the guest {how} say {text:?}, after {} bytes (see below)",
                self.read
            )
        })
    }

    fn advances(&mut self, limit: Duration, f: impl Fn(&[u8]) -> Option<usize>) -> Option<String> {
        let from = self.read;
        let found = self.output.wait(limit, |s| match f(&s.bytes[from..]) {
            Some(n) => {
                Some(Some(String::from_utf8_lossy(&s.bytes[from..from + n]).into_owned()).zip(Some(n)))
            }
            None => s.ended.then_some(None),
        });
        let (text, n) = found??;
        self.read += n;
        Some(text)
    }

    /// Asks for all goroutines, if there is still somebody who obeys.
    fn dump(&mut self) {
        let before = self
            .output
            .wait(Duration::ZERO, |s| Some(s.bytes.len()))
            .unwrap_or(0);
        if self.keys.write_all(b"\x1c").is_ok() {
            let begun =
                |s: &Stream| (s.ended || find(&s.bytes[before..], "goroutine ").is_some()).then_some(());
            if self.output.wait(Duration::from_secs(5), begun).is_some() {
                std::thread::sleep(Duration::from_secs(1)); // the rest of it
            }
        }
    }

    /// Waits for its end, with this code.
    pub(crate) fn ends_with(mut self, code: i32) {
        let ended = self.output.wait(PATIENCE, |s| s.ended.then_some(()));
        assert!(ended.is_some(), "the guest goes on");
        let status = self.machine.wait().expect("the runner ends");
        assert_eq!(status.code(), Some(code));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let said = std::thread::panicking().then(|| self.output.text());
        if said.is_some() {
            self.dump();
        }
        let _ = self.machine.kill();
        let _ = self.machine.wait();
        let Some(said) = said else { return };
        for stream in [&self.output, &self.errors] {
            stream.wait(Duration::from_secs(5), |s| s.ended.then_some(()));
        }
        let lines: Vec<&str> = said.lines().collect();
        let skip = lines.len().saturating_sub(SHOWN);
        eprintln!("---- the guest said ({skip} lines, then) ----");
        lines[skip..].iter().for_each(|line| eprintln!("{line}"));
        eprintln!("---- its goroutines, and what it said meanwhile ----");
        let now = self.output.text();
        let dump = now.get(said.len()..).unwrap_or(&now).lines().take(SHOWN);
        dump.for_each(|line| eprintln!("{line}"));
        eprintln!("---- the runner said ----\n{}", self.errors.text().trim_end());
    }
}

/// A port of the host that nobody uses now.
fn free_port() -> u16 {
    let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
    l.local_addr().expect("bound").port()
}
