//! The host program: everything that happens outside the virtual machine.
//!
//! It owns every QEMU flag, turns an ELF into something bootable, watches the guest's serial line, and
//! decides whether a run passed. Cargo calls it as its runner (through `boot/run`), the Makefile calls it for
//! the rest. Files: `config` (parameters), `qemu` (flags, one guest), `serial` (machine lines),
//! `verdict` (did it pass), `run`, `test`, `image`, `symbols`, `gdb`, `bench`, `soak`, `lint`.

mod config;
mod image;
mod qemu;
mod run;
mod serial;
mod symbols;
mod term;
mod test;
mod verdict;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::config::Config;

const USAGE: &str = "\
usage: burrow-boot COMMAND [FLAGS] ELF…
  run ELF [WORDS…]        boot a program; exits with its code
  test ELF [ARGS…]        run a test image; ARGS as for libtest (filters, --exact, --list, --ignored, …)
  runner ELF [ARGS…]      what cargo calls: a test image is tested, anything else is run
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
                    args.retain(|arg| arg != "--bench");
                    run::run(&cfg, &elf, &args)
                }
            }
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
