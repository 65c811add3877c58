//! QEMU: every flag, the choice of accelerator, and one running guest as a stream of events.
//!
//! The guest's serial line is QEMU's stdin and stdout, through pipes: we see every byte before the terminal
//! does, so machine lines never reach the user and a dead guest still leaves its log. The child dies with
//! us (`PR_SET_PDEATHSIG`), and we only ever kill that child.
//!
//! Common flags: `-cpu max -nodefaults -display none -no-reboot -monitor none -serial stdio`, and
//! `-device isa-debug-exit,iobase=0xf4,iosize=4` through which the guest ends QEMU with a status.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use burrow_proto::Line;

use crate::{
    config::{Boot, Config},
    serial::{Piece, Splitter},
    verdict::Seen,
};

/// What QEMU loads.
pub(crate) enum Payload {
    /// The ELF and its symbols file, by `-kernel` and `-initrd`.
    Kernel { elf: PathBuf, symbols: Option<PathBuf> },
    /// A disk image with both inside.
    Disk(PathBuf),
}

/// KVM only where the processor has virtualization *and* the device opens: there are machines whose
/// `/dev/kvm` opens and then hangs every guest.
pub(crate) fn kvm_usable() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| {
        flags
            .lines()
            .any(|l| l.starts_with("flags") && l.split_whitespace().any(|w| w == flag))
    };
    (has("vmx") || has("svm")) && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The accelerator flag and how to call it in one word.
fn accelerator(cfg: &Config) -> (&'static str, &'static str) {
    if cfg.det || cfg.icount {
        ("tcg,thread=single", "tcg-icount")
    } else if kvm_usable() {
        ("kvm", "kvm")
    } else {
        ("tcg,thread=multi", "tcg")
    }
}

/// One line that says what is being started, so that a log explains itself.
pub(crate) fn describe(cfg: &Config) -> String {
    format!(
        "machine={} boot={} accel={} smp={} mem={} seed={}",
        cfg.machine,
        cfg.boot.name(),
        accelerator(cfg).1,
        cfg.smp,
        cfg.mem,
        cfg.seed
    )
}

/// All arguments of QEMU.
pub(crate) fn arguments(cfg: &Config, payload: &Payload, cmdline: &str) -> Result<Vec<OsString>> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    let machine = if cfg.machine == "microvm" {
        "microvm,acpi=on,rtc=on"
    } else {
        &cfg.machine
    };
    add(&["-M", machine, "-accel", accelerator(cfg).0, "-cpu", "max"]);
    add(&["-smp", &cfg.smp.to_string(), "-m", &cfg.mem]);
    add(&[
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
    ]);
    match &cfg.monitor {
        None => add(&["-monitor", "none"]),
        Some(path) => add(&["-monitor", &format!("unix:{path},server,nowait")]),
    }
    add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    if cfg.det || cfg.icount {
        let shift = if cfg.icount { 0 } else { cfg.shift };
        add(&[
            "-icount",
            &format!("shift={shift},sleep=off"),
            "-seed",
            &cfg.seed.to_string(),
        ]);
        add(&["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
    }
    args.extend(crate::net::arguments(cfg)?.into_iter().map(OsString::from));
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    if let Some(port) = cfg.gdb {
        add(&["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")]);
    }
    match payload {
        Payload::Kernel { elf, symbols } => {
            args.extend(["-kernel".into(), elf.into(), "-append".into(), cmdline.into()]);
            if let Some(symbols) = symbols {
                args.extend(["-initrd".into(), symbols.into()]);
            }
        }
        Payload::Disk(image) => {
            let mut drive = OsString::from("format=raw,snapshot=on,file=");
            drive.push(image);
            args.extend(["-drive".into(), drive]);
            // The loader's stages ask the firmware for a graphics mode and stop without a word if there is none.
            args.extend(["-vga".into(), "std".into()]);
            // A comma in a -fw_cfg string is written twice.
            let string = cmdline.replace(',', ",,");
            args.extend([
                "-fw_cfg".into(),
                format!("name=opt/burrow/cmdline,string={string}").into(),
            ]);
            if cfg.boot == Boot::Uefi {
                args.extend(["-bios".into(), firmware()?.into()]);
            }
        }
    }
    Ok(args)
}

/// OVMF, from Debian's `ovmf` package.
fn firmware() -> Result<PathBuf> {
    let places = [
        "/usr/share/ovmf/OVMF.fd",
        "/usr/share/qemu/OVMF.fd",
        "/usr/share/edk2/x64/OVMF.4m.fd",
    ];
    match places.iter().map(Path::new).find(|place| place.exists()) {
        Some(place) => Ok(place.to_path_buf()),
        None => bail!("no UEFI firmware found: install the package `ovmf`"),
    }
}

/// What happened next.
pub(crate) enum Event {
    Text(Vec<u8>),
    Machine(String),
    /// The deadline passed; the guest still runs.
    Timeout,
    /// QEMU has ended.
    Ended,
}

/// A QEMU child.
pub(crate) struct Guest {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    errors: Option<std::thread::JoinHandle<String>>,
    splitter: Splitter,
    pending: std::collections::VecDeque<Piece>,
    ended: bool,
    /// What was seen so far.
    pub(crate) seen: Seen,
    /// When QEMU was started.
    pub(crate) started: Instant,
}

impl Guest {
    /// Starts QEMU.
    pub(crate) fn start(cfg: &Config, payload: &Payload, cmdline: &str) -> Result<Guest> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(arguments(cfg, payload, cmdline)?);
        if std::env::var_os("VERBOSE").is_some_and(|v| !v.is_empty()) {
            eprintln!("{command:?}");
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe and touches nothing of ours between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let started = Instant::now();
        let mut child = command
            .spawn()
            .context("cannot start qemu-system-x86_64 (`make setup` installs it)")?;
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Guest {
            input: child.stdin.take(),
            child,
            output,
            errors: Some(errors),
            splitter: Splitter::new(),
            pending: Default::default(),
            ended: false,
            seen: Seen::default(),
            started,
        })
    }

    /// QEMU's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The guest's serial input.
    pub(crate) fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// Waits for the next event, at most until `deadline`.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Event {
        loop {
            match self.pending.pop_front() {
                Some(Piece::Text(bytes)) => return Event::Text(bytes),
                Some(Piece::Machine(line)) => {
                    if let Some(Line::Exit { code }) = Line::parse(&line) {
                        self.seen.exits.push(code);
                    }
                    return Event::Machine(line);
                }
                None => {}
            }
            if self.ended {
                return Event::Ended;
            }
            let received = match deadline {
                Some(at) => self
                    .output
                    .recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.output.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(bytes) => {
                    self.seen.printed = true;
                    self.pending.extend(self.splitter.push(&bytes));
                }
                Err(RecvTimeoutError::Timeout) => return Event::Timeout,
                Err(RecvTimeoutError::Disconnected) => {
                    // QEMU closes its output when it dies. A child that closes it and lives is killed.
                    self.seen.status = self.wait_briefly().code();
                    self.pending.extend(self.splitter.finish());
                    self.ended = true;
                }
            }
        }
    }

    /// Ends QEMU because it took longer than `limit`, and reads what it had still said.
    pub(crate) fn timed_out(&mut self, limit: Duration) -> Vec<u8> {
        self.seen.timed_out = Some(limit);
        self.kill()
    }

    /// Ends QEMU; returns the text that was still under way.
    pub(crate) fn kill(&mut self) -> Vec<u8> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut rest = Vec::new();
        // It ends with QEMU's end of the pipe; the limit is for a process that has inherited it.
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_secs(5)) {
            self.seen.printed = true;
            self.pending.extend(self.splitter.push(&bytes));
        }
        self.pending.extend(self.splitter.finish());
        for piece in self.pending.drain(..) {
            if let Piece::Text(bytes) = piece {
                rest.extend(bytes);
            }
        }
        rest
    }

    /// QEMU's own messages; call after the end.
    pub(crate) fn errors(&mut self) -> String {
        self.errors
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    }

    fn wait_briefly(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                _ => {
                    let _ = self.child.kill();
                    return self.child.wait().expect("our own child can be waited for");
                }
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `bytes` to the guest; a guest that is gone does not mind.
pub(crate) fn feed(input: &mut ChildStdin, bytes: &[u8]) {
    let _ = input.write_all(bytes).and_then(|()| input.flush());
}
