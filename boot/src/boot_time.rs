//! `boot-time ELF`: how long from the start of QEMU until `main` runs, and until the default kernel's page is there for
//! a client on the host; the median of five boots each.
//!
//! A page is asked for on a new connection every time: QEMU takes a connection before the guest has an address, and one
//! that came too early waits for the guest's answer to a repeated SYN, a second later.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use burrow_proto::Line;

use crate::{
    config::{Boot, Config},
    qemu::{self, Event, Guest},
    run::{payload, with_network},
};

const RUNS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);
/// How long a request may take before another is made: the resolution of the measurement.
const PATIENCE: Duration = Duration::from_millis(20);

/// Measures `boots` one after the other and prints a line or two for each.
pub(crate) fn boot_time(cfg: &Config, elf: &Path, boots: &[Boot]) -> Result<i32> {
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    for &boot in boots {
        let cfg = Config { boot, ..cfg.clone() };
        measure("boot-time", &cfg, elf, until_main)?;
        let (cfg, _port) = with_network(&cfg, elf);
        if cfg.net.iter().any(|n| !n.forwards().is_empty()) {
            measure("boot-page", &cfg, elf, until_page)?;
        }
    }
    Ok(0)
}

fn measure(
    name: &str,
    cfg: &Config,
    elf: &Path,
    wait: impl Fn(&Config, &mut Guest, Instant) -> Result<()>,
) -> Result<()> {
    let payload = payload(cfg, elf)?;
    let mut millis = Vec::new();
    for _ in 0..RUNS {
        let mut guest = Guest::start(cfg, &payload, &cfg.cmdline(&["announce=1".into()]))?;
        let _input = guest.take_input();
        let deadline = guest.started + cfg.timeout.unwrap_or(LIMIT);
        wait(cfg, &mut guest, deadline)?;
        millis.push(guest.started.elapsed().as_millis());
        guest.kill();
    }
    let runs: Vec<String> = millis.iter().map(ToString::to_string).collect();
    millis.sort();
    println!(
        "{name} boot={} smp={} median_ms={} runs_ms={}",
        cfg.boot.name(),
        cfg.smp,
        millis[RUNS / 2],
        runs.join(",")
    );
    Ok(())
}

fn until_main(cfg: &Config, guest: &mut Guest, deadline: Instant) -> Result<()> {
    loop {
        match guest.next(Some(deadline)) {
            Event::Machine(line) if Line::parse(&line) == Some(Line::Main) => return Ok(()),
            Event::Text(_) | Event::Machine(_) => {}
            Event::Timeout => bail!("boot={}: main was not reached in {LIMIT:?}", cfg.boot.name()),
            Event::Ended => bail!(
                "boot={}: ended before main: {:?}",
                cfg.boot.name(),
                guest.seen.verdict()
            ),
        }
    }
}

fn until_page(cfg: &Config, guest: &mut Guest, deadline: Instant) -> Result<()> {
    until_main(cfg, guest, deadline)?;
    let mut forwards = cfg.net.iter().flat_map(|n| n.forwards());
    let Some(web) = forwards.find(|f| f.guest == 80 && !f.udp) else {
        bail!("no port leads to port 80 of the guest")
    };
    while !answers(web.host) {
        if Instant::now() > deadline {
            bail!("boot={}: no page in {LIMIT:?}", cfg.boot.name());
        }
    }
    Ok(())
}

/// Does the default kernel answer?
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut s = TcpStream::connect(("127.0.0.1", port))?;
        s.set_read_timeout(Some(PATIENCE))?;
        s.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        s.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.ends_with("ok\n") => true,
        _ => {
            std::thread::sleep(Duration::from_millis(1)); // QEMU may not listen yet
            false
        }
    }
}
