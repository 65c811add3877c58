//! `gdb ELF`: QEMU waits before the first instruction, gdb attaches with symbols.

use std::{net::TcpListener, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    config::Config,
    qemu::{self, Event, Guest},
    run::payload,
};

/// Runs gdb in the foreground; the guest's console appears between its prompts.
pub(crate) fn gdb(mut cfg: Config, elf: &Path) -> Result<i32> {
    // A port that is free now; nobody else is likely to take it in between.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    cfg.gdb = Some(port);
    let payload = payload(&cfg, elf)?;
    eprintln!("burrow-boot: {}", qemu::describe(&cfg));
    eprintln!("burrow-boot: the guest waits for gdb on port {port}; `continue` starts it");
    let mut guest = Guest::start(&cfg, &payload, &cfg.cmdline(&[]))?;
    let _input = guest.take_input();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut gdb = Command::new("gdb")
        .arg("-q")
        .args(["-ex", "set confirm off", "-ex", "set pagination off"])
        .args(["-ex", &format!("target remote 127.0.0.1:{port}")])
        // Software breakpoints cannot be written before the kernel is mapped high: start with a hardware one.
        .args(["-ex", "hbreak __burrow_main"])
        .arg(elf)
        .spawn()
        .context("cannot start gdb (`tools/setup gdb` installs it)")?;
    // Ctrl-C is gdb's: it stops the guest. (The guest's QEMU is in a process group of its own.)
    // SAFETY: changes the disposition of one signal of this process, after gdb was started with the default one.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    loop {
        let tick = std::time::Instant::now() + std::time::Duration::from_millis(200);
        match guest.next(Some(tick)) {
            Event::Text(bytes) => eprint!("{}", String::from_utf8_lossy(&bytes)),
            Event::Machine(line) => eprintln!("[{line}]"),
            Event::Ended => break,
            Event::Timeout if gdb.try_wait()?.is_some() => return Ok(0),
            Event::Timeout => {}
        }
    }
    gdb.wait()?;
    Ok(0)
}
