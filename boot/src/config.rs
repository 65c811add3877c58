//! One run's parameters, from the environment (`make … SMP=8`) and then from flags (`--smp 8`).

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use crate::net::Net;

/// How the kernel gets into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    /// QEMU's `-kernel`: the ELF itself.
    Pvh,
    /// A disk image, SeaBIOS.
    Bios,
    /// A disk image, OVMF.
    Uefi,
}

impl Boot {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Boot::Pvh => "pvh",
            Boot::Bios => "bios",
            Boot::Uefi => "uefi",
        }
    }
}

/// Everything that decides how QEMU is started.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) smp: u32,
    pub(crate) mem: String,
    pub(crate) machine: String,
    pub(crate) boot: Boot,
    /// Words for the kernel command line, from `OPTS`.
    pub(crate) opts: Vec<String>,
    pub(crate) seed: u64,
    /// Single-threaded virtual time, everything from the seed.
    pub(crate) det: bool,
    /// Count instructions exactly as PEERS.md does (`shift=0`, seed 1).
    pub(crate) icount: bool,
    /// Virtual nanoseconds per instruction in deterministic mode, as a power of two.
    pub(crate) shift: u32,
    /// Wall-clock limit; `None` = the command's default.
    pub(crate) timeout: Option<Duration>,
    /// Network devices.
    pub(crate) net: Vec<Net>,
    /// Write all frames here.
    pub(crate) pcap: Option<String>,
    /// QEMU's monitor listens on this UNIX socket.
    pub(crate) monitor: Option<String>,
    /// Nobody said anything about `net`: `run` gives the default kernel a device.
    pub(crate) net_unset: bool,
    /// No MSI-X: the device raises a line.
    pub(crate) intx: bool,
    /// Wait for gdb on this port before the first instruction.
    pub(crate) gdb: Option<u16>,
}

impl Config {
    /// Reads the environment, then takes known flags out of `args`; the rest stays.
    pub(crate) fn take(args: &mut Vec<OsString>) -> Result<Config> {
        let mut value = |flag: &str, env: &str| -> Result<Option<String>> {
            let mut found = std::env::var(env).ok().filter(|v| !v.is_empty());
            let flag = format!("--{flag}");
            while let Some(at) = args.iter().position(|arg| arg.to_str() == Some(&flag)) {
                if at + 1 >= args.len() {
                    bail!("{flag} needs a value");
                }
                args.remove(at);
                found = Some(
                    args.remove(at)
                        .into_string()
                        .ok()
                        .context("arguments are UTF-8")?,
                );
            }
            Ok(found)
        };
        let icount = is_on(value("icount", "ICOUNT")?);
        let seed = match value("seed", "SEED")? {
            Some(text) => number(&text).with_context(|| format!("SEED={text}: not a number"))?,
            None if icount => 1,
            None => fresh_seed(),
        };
        let boot = match value("boot", "BOOT")?.as_deref() {
            None | Some("pvh") => Boot::Pvh,
            Some("bios") => Boot::Bios,
            Some("uefi") => Boot::Uefi,
            Some(other) => bail!("BOOT={other}: pvh, bios or uefi"),
        };
        let machine = value("machine", "MACHINE")?.unwrap_or_else(|| "q35".into());
        if !["q35", "pc", "microvm"].contains(&machine.as_str()) {
            bail!("MACHINE={machine}: q35, pc or microvm");
        }
        if machine == "microvm" && boot != Boot::Pvh {
            bail!("microvm has no firmware for BOOT={}: use BOOT=pvh", boot.name());
        }
        let opts = value("opts", "OPTS")?.unwrap_or_default();
        let default_smp = if icount { "1" } else { "4" };
        let smp = value("smp", "SMP")?.unwrap_or_else(|| default_smp.into());
        let shift = value("shift", "SHIFT")?.unwrap_or_else(|| "5".into());
        let timeout = match value("timeout", "TIMEOUT")? {
            Some(text) => Some(Duration::from_secs(
                number(&text).context("TIMEOUT: not a number of seconds")?,
            )),
            None => None,
        };
        let net = value("net", "NET")?;
        Ok(Config {
            net_unset: net.is_none(),
            smp: smp
                .parse()
                .ok()
                .filter(|n| (1..=255).contains(n))
                .with_context(|| format!("SMP={smp}: 1 to 255"))?,
            mem: value("mem", "MEM")?.unwrap_or_else(|| "1G".into()),
            machine,
            boot,
            opts: opts.split_whitespace().map(String::from).collect(),
            seed,
            det: is_on(value("det", "DET")?),
            icount,
            shift: shift
                .parse()
                .ok()
                .filter(|n| *n <= 10)
                .with_context(|| format!("SHIFT={shift}: 0 to 10"))?,
            timeout,
            net: match net.as_deref() {
                None | Some("0") => Vec::new(),
                Some(text) => Net::parse(text)?,
            },
            pcap: value("pcap", "PCAP")?,
            monitor: value("monitor", "MONITOR")?,
            intx: is_on(value("intx", "INTX")?),
            gdb: None,
        })
    }

    /// The kernel command line: `OPTS`, the seed, then `extra`.
    pub(crate) fn cmdline(&self, extra: &[String]) -> String {
        let mut words = self.opts.clone();
        if !words
            .iter()
            .any(|word| word.split(',').any(|w| w.starts_with("seed=")))
        {
            words.push(format!("seed={}", self.seed));
        }
        if self.det {
            words.push("det=1".into());
        }
        words.extend(extra.iter().cloned());
        words.join(" ")
    }
}

/// The tree this program was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("boot/ lies in the tree")
        .to_path_buf()
}

pub(crate) fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64);
    // Short enough to type again, different from run to run.
    (now / 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44
}

fn is_on(value: Option<String>) -> bool {
    value.is_some_and(|v| v != "0")
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
