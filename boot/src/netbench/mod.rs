//! `net-bench ELF` and `net-scale ELF`: a guest's servers, measured from the host through QEMU's user network.
//!
//! The guest runs examples/net_bench.rs. Each row is measured several times and the line shows the medians. With
//! `PEER=DIR` a second guest, from `DIR/vmlinuz` and `DIR/net.gz`, is measured in turns with ours (A B A B …), so that
//! a busy host slows both, and the last line of a row is the ratio. The peer's servers listen on 7000 (echo), 7009
//! (sink), 7019 (source), 8080 (HTTP by hand) and 8081 (HTTP by its library).
//!
//! Files: `client` (many connections on one thread), `bulk` (throughput), `rows` (the table), `scale` (10,000
//! connections), here the guests.

mod bulk;
mod client;
mod rows;
mod scale;

use std::{
    ffi::OsString,
    net::TcpListener,
    path::{Path, PathBuf},
    process::ChildStdin,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    config::Config,
    net::{Forward, Net},
    qemu::{self, Event, Guest, Payload},
    run::payload,
};

/// A service, whatever its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Service {
    Echo,
    Sink,
    Source,
    HttpRaw,
    HttpHello,
}

const SERVICES: [Service; 5] = [
    Service::Echo,
    Service::Sink,
    Service::Source,
    Service::HttpRaw,
    Service::HttpHello,
];

/// A booted guest whose servers answer.
struct Server {
    name: &'static str,
    ports: Vec<(Service, u16)>,
    stop: mpsc::Sender<()>,
    watching: Option<std::thread::JoinHandle<String>>,
    qemu: u32,
    _input: Option<ChildStdin>,
}

impl Server {
    /// Boots `payload` with each service on a free port of 127.0.0.1.
    fn boot(
        name: &'static str,
        cfg: &Config,
        payload: &Payload,
        cmdline: &str,
        guest_ports: [u16; 5],
        ready: &'static str,
    ) -> Result<Server> {
        let ports: Vec<(Service, u16)> = SERVICES.into_iter().zip(free_ports()?).collect();
        let forwards = ports.iter().zip(guest_ports).map(|((_, host), guest)| Forward {
            udp: false,
            host: *host,
            guest,
        });
        let cfg = Config {
            net: vec![Net::User(forwards.collect())],
            ..cfg.clone()
        };
        let mut guest = Guest::start(&cfg, payload, cmdline)?;
        let input = guest.take_input();
        let qemu = guest.id();
        let (stop, stopped) = mpsc::channel();
        let (said, heard) = mpsc::channel();
        let watching = std::thread::spawn(move || watch(guest, ready, &said, &stopped));
        let server = Server {
            name,
            ports,
            stop,
            watching: Some(watching),
            qemu,
            _input: input,
        };
        match heard.recv_timeout(cfg.timeout.unwrap_or(Duration::from_secs(180))) {
            Ok(()) => Ok(server),
            Err(_) => bail!("{name}: {ready:?} never appeared in:\n{}", server.end()),
        }
    }

    fn port(&self, service: Service) -> u16 {
        let found = self.ports.iter().find(|(s, _)| *s == service);
        found.expect("every service has a port").1
    }

    /// Memory of the QEMU process in MiB, as the host counts it.
    fn host_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.qemu)).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }

    /// Processor time that QEMU has used, all its threads.
    fn host_cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.qemu)).unwrap_or_default();
        // After the name in parentheses: state is field 3, utime and stime are 14 and 15, in hundredths of a second.
        let fields = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|f| f.parse::<u64>().ok())
            .sum();
        Duration::from_millis(10 * ticks)
    }

    /// Ends QEMU; returns what the guest printed.
    fn end(mut self) -> String {
        let _ = self.stop.send(());
        let thread = self.watching.take().expect("taken only here");
        thread.join().unwrap_or_default()
    }
}

/// Reads what the guest prints until it ends or is to end.
fn watch(mut guest: Guest, ready: &str, said: &mpsc::Sender<()>, stopped: &mpsc::Receiver<()>) -> String {
    let mut text = String::new();
    let mut waiting = true;
    loop {
        match guest.next(Some(Instant::now() + Duration::from_millis(20))) {
            Event::Text(bytes) => text += &String::from_utf8_lossy(&bytes),
            Event::Machine(_) => {}
            Event::Timeout => {
                if stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
                    guest.kill();
                    return text;
                }
            }
            Event::Ended => {
                text += &guest.errors();
                return text;
            }
        }
        if waiting && text.contains(ready) {
            waiting = false;
            let _ = said.send(());
        }
    }
}

/// Five ports that are free now.
fn free_ports() -> Result<Vec<u16>> {
    let held: Vec<_> = (0..5)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    held.iter().map(|l| Ok(l.local_addr()?.port())).collect()
}

/// The kernel under test.
fn ours(cfg: &Config, elf: &Path) -> Result<Server> {
    let cmdline = cfg.cmdline(&["serve".into()]);
    let ports = [7, 9, 19, 80, 81];
    Server::boot(
        "burrow",
        cfg,
        &payload(cfg, elf)?,
        &cmdline,
        ports,
        "net_bench: ready",
    )
}

/// What it is compared with, if `PEER` names it.
fn peer(cfg: &Config) -> Result<Option<Server>> {
    let Some(dir) = std::env::var_os("PEER").filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    let dir = PathBuf::from(dir);
    let (kernel, initrd) = (dir.join("vmlinuz"), dir.join("net.gz"));
    for file in [&kernel, &initrd] {
        file.metadata()
            .with_context(|| format!("PEER: {} is needed", file.display()))?;
    }
    let payload = Payload::Kernel {
        elf: kernel,
        symbols: Some(initrd),
    };
    let cmdline = "console=ttyS0 panic=-1 quiet tsc=reliable clocksource=tsc bench.mode=net";
    let ports = [7000, 7009, 7019, 8080, 8081];
    Ok(Some(Server::boot(
        "peer",
        cfg,
        &payload,
        cmdline,
        ports,
        "net-ready",
    )?))
}

/// `net-bench ELF [WORD]`: all rows, or those whose name contains WORD.
pub(crate) fn bench(cfg: &Config, elf: &Path, only: &[OsString]) -> Result<i32> {
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    let only = only
        .first()
        .map_or(String::new(), |w| w.to_string_lossy().into_owned());
    let mut servers = vec![ours(cfg, elf)?];
    servers.extend(peer(cfg)?);
    let result = rows::measure(&servers, &only);
    let said: Vec<String> = servers.into_iter().map(Server::end).collect();
    if result.is_err() {
        said.iter().for_each(|text| eprintln!("{text}"));
    }
    result.map(|()| 0)
}

/// `net-scale ELF`: `CONNS` connections at once (10,000), each pinged ten times.
pub(crate) fn many(cfg: &Config, elf: &Path) -> Result<i32> {
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    let conns = match std::env::var("CONNS").ok().filter(|v| !v.is_empty()) {
        Some(n) => n.parse().with_context(|| format!("CONNS={n}: not a number"))?,
        None => 10_000,
    };
    scale::raise_descriptors(conns)?; // before QEMU, which inherits it
    let server = ours(cfg, elf)?;
    let result = scale::hold_and_ping(&server, conns);
    let text = server.end();
    match result {
        Ok(()) => Ok(0),
        Err(error) => {
            eprintln!("{text}");
            Err(error)
        }
    }
}
