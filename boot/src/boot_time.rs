//! `boot-time ELF`: how long from the start of QEMU until `main` runs; the median of five boots.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use burrow_proto::Line;

use crate::{
    config::{Boot, Config},
    qemu::{self, Event, Guest},
    run::payload,
};

const RUNS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

/// Measures `boots` one after the other and prints one line for each.
pub(crate) fn boot_time(cfg: &Config, elf: &Path, boots: &[Boot]) -> Result<i32> {
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    for &boot in boots {
        let cfg = Config { boot, ..cfg.clone() };
        let payload = payload(&cfg, elf)?;
        let mut millis = Vec::new();
        for _ in 0..RUNS {
            let mut guest = Guest::start(&cfg, &payload, &cfg.cmdline(&["announce=1".into()]))?;
            let _input = guest.take_input();
            let deadline = guest.started + cfg.timeout.unwrap_or(LIMIT);
            loop {
                match guest.next(Some(deadline)) {
                    Event::Machine(line) if Line::parse(&line) == Some(Line::Main) => break,
                    Event::Text(_) | Event::Machine(_) => {}
                    Event::Timeout => bail!("boot={}: main was not reached in {LIMIT:?}", boot.name()),
                    Event::Ended => bail!(
                        "boot={}: ended before main: {:?}",
                        boot.name(),
                        guest.seen.verdict()
                    ),
                }
            }
            millis.push(guest.started.elapsed().as_millis());
            guest.kill();
        }
        let runs: Vec<String> = millis.iter().map(ToString::to_string).collect();
        millis.sort();
        let median = millis[RUNS / 2];
        println!(
            "boot-time boot={} smp={} median_ms={median} runs_ms={}",
            boot.name(),
            cfg.smp,
            runs.join(",")
        );
    }
    Ok(0)
}
