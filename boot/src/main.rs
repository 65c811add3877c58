//! The host program: everything that happens outside the virtual machine.
//!
//! It owns every QEMU flag, turns an ELF into something bootable, watches the guest's serial line, and
//! decides whether a run passed. Cargo calls it as its runner (through `boot/run`), the Makefile calls it for
//! the rest. Files: `config` (parameters), `qemu` (flags, one guest), `serial` (machine lines),
//! `verdict` (did it pass), `run`, `test`, `image`, `symbols`, `gdb`, `soak`, `lint`, `doc_examples` and `coverage` (house
//! rules), `golden` and `listing` (fast paths, instruction by instruction), `netbench` (servers measured),
//! `toolchain`.

mod boot_time;
mod config;
mod coverage;
mod doc_examples;
mod examples;
mod gdb;
mod golden;
mod image;
mod lint;
mod listing;
mod net;
mod netbench;
mod qemu;
mod run;
mod selection;
mod serial;
mod soak;
mod symbols;
mod term;
mod test;
mod toolchain;
mod verdict;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};

use crate::config::{Boot, Config};

const USAGE: &str = "\
usage: burrow-boot COMMAND [FLAGS] ELF…
  run ELF [WORDS…]        boot a program; exits with its code
  test ELF [ARGS…]        run a test image; ARGS as for libtest (filters, --exact, --list, --ignored, …)
  runner ELF [ARGS…]      what cargo calls: a test image is tested, anything else is run
  gdb ELF                 wait for gdb, and start it
  boot-time ELF           start of QEMU to main, and to the first page, median of 5, for every way to boot
  examples [FILTERS…]     build and run examples/, each as a test
  net-bench ELF [ROW]     examples/net_bench.rs measured from the host; PEER=DIR compares (RUNS=5 SECS=2 BLOCKS=32)
  net-scale ELF           CONNS=10000 connections at once, each pinged ten times
  soak                    N rounds of the stress tests, MINUTES each; appends to docs/soak.log
  golden ELF              the heap's fast paths against tests/golden (UPDATE=1 writes them)
  lint                    house rules that no compiler checks
  image ELF [-o FILE]     make a disk image (--boot bios|uefi)
  symbols ELF [-o FILE]   write the symbols file
flags (or the environment variables SMP, MEM, …):
  --smp N --mem SIZE --machine q35|pc|microvm --boot pvh|bios|uefi --opts WORDS
  --seed N --det 1 --shift S --icount 1 --timeout SECS";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(args) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("burrow-boot: {error:#}");
            ExitCode::from(102)
        }
    }
}

fn dispatch(mut args: Vec<OsString>) -> Result<i32> {
    if args.is_empty() {
        bail!("{USAGE}");
    }
    // Cargo gives its runner nothing but the program.
    if args[0].to_str().is_some_and(|first| first.contains('/')) {
        args.insert(0, "runner".into());
    }
    let command = args.remove(0);
    match command.to_str().unwrap_or_default() {
        "run" => {
            let cfg = Config::take(&mut args)?;
            let elf = take_elf(&mut args)?;
            run::run(&cfg, &elf, &args)
        }
        "test" => {
            let cfg = Config::take(&mut args)?;
            let elf = take_elf(&mut args)?;
            test::test(&cfg, &elf, &args)
        }
        "runner" => {
            // libtest's flags must not be taken for ours: only the environment configures this one.
            let elf = take_elf(&mut args)?;
            let cfg = Config::take(&mut Vec::new())?;
            match symbols::is_test_image(&elf)? {
                true => test::test(&cfg, &elf, &args),
                false => {
                    // Cargo marks benchmarks; counting instructions makes them slow to watch.
                    let bench = args.iter().any(|arg| arg == "--bench");
                    args.retain(|arg| arg != "--bench");
                    let timeout = cfg.timeout.or(bench.then_some(Duration::from_secs(3600)));
                    run::run(&Config { timeout, ..cfg }, &elf, &args)
                }
            }
        }
        "gdb" => {
            let cfg = Config::take(&mut args)?;
            gdb::gdb(cfg, &take_elf(&mut args)?)
        }
        "boot-time" => {
            let all = !args.iter().any(|arg| arg == "--boot")
                && std::env::var("BOOT").unwrap_or_default().is_empty();
            let cfg = Config::take(&mut args)?;
            let boots = if all {
                vec![Boot::Pvh, Boot::Bios, Boot::Uefi]
            } else {
                vec![cfg.boot]
            };
            boot_time::boot_time(&cfg, &take_elf(&mut args)?, &boots)
        }
        "net-bench" => {
            let cfg = Config::take(&mut args)?;
            netbench::bench(&cfg, &take_elf(&mut args)?, &args)
        }
        "net-scale" => {
            let cfg = Config::take(&mut args)?;
            netbench::many(&cfg, &take_elf(&mut args)?)
        }
        "examples" => {
            let cfg = Config::take(&mut args)?;
            let filters: Vec<String> = args
                .iter()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect();
            examples::examples(&cfg, &filters)
        }
        "soak" => {
            let number = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
            let count = number("N")
                .map_or(Ok(20), |n| n.parse())
                .context("N: not a number")?;
            let minutes = number("MINUTES")
                .map(|m| m.parse())
                .transpose()
                .context("MINUTES: not a number")?;
            soak::soak(count, minutes)
        }
        "golden" => golden::golden(&take_elf(&mut args)?),
        "lint" => match lint::check()? + doc_examples::check()? + coverage::check()? {
            0 => Ok(0),
            wrong => {
                eprintln!(
                    "burrow-boot: {wrong} places break a house rule (boot/src/lint.rs, doc_examples.rs, coverage.rs)"
                );
                Ok(1)
            }
        },
        "image" => {
            let cfg = Config::take(&mut args)?;
            let boot = if cfg.boot == Boot::Pvh {
                Boot::Bios
            } else {
                cfg.boot
            };
            let elf = take_elf(&mut args)?;
            let image = match &args[..] {
                [] => image::cached(&elf, boot)?,
                [flag, out] if flag == "-o" => {
                    let out = PathBuf::from(out);
                    image::write(&elf, boot, &out)?;
                    out
                }
                _ => bail!("{USAGE}"),
            };
            println!("{}", image.display());
            Ok(0)
        }
        "symbols" => {
            let elf = take_elf(&mut args)?;
            let out = match &args[..] {
                [] => symbols::cached(&elf)?,
                [flag, out] if flag == "-o" => {
                    let out = PathBuf::from(out);
                    symbols::write(&elf, &out)?;
                    out
                }
                _ => bail!("{USAGE}"),
            };
            println!("{}", out.display());
            Ok(0)
        }
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(0)
        }
        other => bail!("unknown command {other}\n{USAGE}"),
    }
}

fn take_elf(args: &mut Vec<OsString>) -> Result<PathBuf> {
    if args.is_empty() {
        bail!("which ELF?\n{USAGE}");
    }
    let elf = PathBuf::from(args.remove(0));
    elf.canonicalize()
        .with_context(|| format!("{}: no such file", elf.display()))
}
