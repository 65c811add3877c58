//! `run ELF`: boots a program, passes its console through, and ends with its exit code.

use std::{
    ffi::OsString,
    fs::File,
    io::{IsTerminal, Write},
    net::TcpListener,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    config::{Boot, Config},
    image,
    net::{Forward, Net},
    qemu::{self, Event, Guest, Payload},
    symbols, term,
};

/// Wall-clock limit of a run nobody watches.
const UNATTENDED: Duration = Duration::from_secs(600);
/// The host's port that leads to the default kernel's port 80.
const WEB: u16 = 8080;

/// The payload for `cfg.boot`: the ELF with its symbols, or the image made of both.
pub(crate) fn payload(cfg: &Config, elf: &Path) -> Result<Payload> {
    Ok(match cfg.boot {
        Boot::Pvh => Payload::Kernel {
            elf: elf.to_path_buf(),
            symbols: Some(symbols::cached(elf)?),
        },
        Boot::Bios | Boot::Uefi => Payload::Disk(image::cached(elf, cfg.boot)?),
    })
}

/// The default kernel serves pages on its port 80; unless NET says otherwise, a port of the host's leads there. It is
/// ours as long as the lock lives: runs that begin at the same time would all find the same port free.
pub(crate) fn with_network(cfg: &Config, elf: &Path) -> (Config, Option<File>) {
    let mut cfg = cfg.clone();
    let default_kernel = elf.file_name().is_some_and(|name| name == "burrow");
    if !cfg.net_unset || !default_kernel || cfg.det || cfg.icount {
        return (cfg, None);
    }
    let claim = |host: u16| {
        let lock = File::create(std::env::temp_dir().join(format!("burrow-port-{host}.lock"))).ok();
        let ours = lock.as_ref().is_none_or(|l| l.try_lock().is_ok());
        let free = ours && TcpListener::bind(("127.0.0.1", host)).is_ok();
        free.then_some((host, lock))
    };
    let Some((host, lock)) = (WEB..WEB + 20).find_map(claim) else {
        eprintln!("burrow-boot: no port from {WEB} on is free: no network (NET=PORT:80 chooses one)");
        return (cfg, None);
    };
    if host != WEB {
        eprintln!("burrow-boot: port {WEB} of this host is taken (NET=PORT:80 chooses another)");
    }
    cfg.net = vec![Net::User(vec![Forward {
        udp: false,
        host,
        guest: 80,
    }])];
    (cfg, lock)
}

/// Runs `elf`; `args` become words of the kernel command line.
pub(crate) fn run(cfg: &Config, elf: &Path, args: &[OsString]) -> Result<i32> {
    let (cfg, _port) = with_network(cfg, elf);
    let cfg = &cfg;
    let payload = payload(cfg, elf)?;
    let words: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let interactive = std::io::stdin().is_terminal();
    let limit = cfg.timeout.or(if interactive { None } else { Some(UNATTENDED) });
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    for f in cfg
        .net
        .iter()
        .flat_map(Net::forwards)
        .filter(|f| f.guest == 80 && !f.udp)
    {
        eprintln!(
            "burrow-boot: http://127.0.0.1:{} leads to port 80 of the guest",
            f.host
        );
    }
    if interactive {
        eprintln!("burrow-boot: Ctrl-\\ dumps the goroutines, Ctrl-C ends the run");
    }

    let mut guest = Guest::start(cfg, &payload, &cfg.cmdline(&words))?;
    let raw = term::Raw::enter();
    let (quit, quitting) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    if let Some(input) = guest.take_input() {
        term::pump(input, raw.is_some(), gate, quit);
    }
    let end = limit.map(|limit| guest.started + limit);
    loop {
        // Wake often enough to notice Ctrl-C on a silent guest.
        let tick = Instant::now() + Duration::from_millis(50);
        let deadline = end.map_or(tick, |end| end.min(tick));
        match guest.next(Some(deadline)) {
            Event::Text(bytes) => {
                show(&bytes);
                let _ = open.send(());
            }
            Event::Machine(_) => {}
            Event::Timeout if quitting.try_recv().is_ok() => {
                guest.kill();
                drop(raw);
                eprintln!("\nburrow-boot: ended by Ctrl-C");
                return Ok(130);
            }
            Event::Timeout if end.is_some_and(|end| Instant::now() >= end) => {
                show(&guest.timed_out(limit.unwrap_or_default()));
                break;
            }
            Event::Timeout => {}
            Event::Ended => break,
        }
    }
    drop(raw);
    let errors = guest.errors();
    if !errors.is_empty() {
        eprint!("{errors}");
    }
    match guest.seen.verdict() {
        Ok(code) => Ok(code),
        Err(failure) => {
            eprintln!("burrow-boot: {failure}");
            Ok(101)
        }
    }
}

fn show(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
