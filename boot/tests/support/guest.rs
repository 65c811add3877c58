//! A guest under test: an example, booted by the runner, with ports of the host leading to it.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// Builds an example, or the default kernel (`burrow`); returns the path of its ELF.
pub(crate) fn build(example: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the tree");
    let (kind, dir) = match example {
        "burrow" => ("--bin", ""),
        _ => ("--example", "examples"),
    };
    let status = Command::new("cargo")
        .args(["build", "--quiet", "-p", "burrow-tests", kind, example])
        .current_dir(root)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the example builds");
    root.join("target/x86_64-burrow/debug").join(dir).join(example)
}

/// The host program, without parameters from outside.
pub(crate) fn runner() -> Command {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_burrow-boot"));
    for name in [
        "SMP", "MEM", "SEED", "DET", "BOOT", "MACHINE", "ICOUNT", "TIMEOUT", "OPTS", "NET", "INTX", "PCAP",
        "MONITOR",
    ] {
        runner.env_remove(name);
    }
    runner
}

/// A guest that runs an example with a port of the host leading to it.
pub(crate) struct Guest {
    machine: Child,
    keys: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Guest {
    /// Builds and boots it; `net` as in `NET=`.
    pub(crate) fn boot(example: &str, net: &str, flags: &[&str]) -> Guest {
        let elf = build(example);
        let mut machine = runner()
            .arg("run")
            .arg(elf)
            .args(["--timeout", "120", "--net", net])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the runner starts");
        let output = BufReader::new(machine.stdout.take().expect("piped"));
        let keys = machine.stdin.take().expect("piped");
        Guest {
            machine,
            keys,
            output,
        }
    }

    /// Types a command at the prompt.
    pub(crate) fn types(&mut self, command: &str) {
        self.keys
            .write_all(format!("{command}\n").as_bytes())
            .expect("the guest runs");
    }

    /// Reads until a line contains `text` and returns all of it; the runner's time limit ends a wait for what never comes.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            let n = self.output.read_line(&mut seen).expect("text");
            assert!(n > 0, "{text:?} never appeared in:\n{seen}");
            if seen[from..].contains(text) {
                return seen;
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}

/// A port of the host that nobody uses now.
pub(crate) fn free_port() -> u16 {
    let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
    l.local_addr().expect("bound").port()
}
