//! The user's terminal during an interactive run: raw, so that every key reaches the guest.
//!
//! `Ctrl-\` is the guest's (goroutine dump). `Ctrl-C` ends the run here, because a guest that hangs cannot
//! obey. The terminal is put back when the guard drops.

use std::{
    io::{IsTerminal, Read},
    process::ChildStdin,
    sync::mpsc::{Receiver, Sender},
};

use crate::qemu::feed;

/// Puts the terminal back on drop.
pub(crate) struct Raw(libc::termios);

impl Raw {
    /// Makes standard input raw if it is a terminal.
    pub(crate) fn enter() -> Option<Raw> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        // SAFETY: termios is plain data; all zeroes is a value of it.
        let mut old: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: `old` is valid for writes.
        if unsafe { libc::tcgetattr(0, &mut old) } != 0 {
            return None;
        }
        let mut raw = old;
        raw.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN);
        raw.c_iflag &= !(libc::IXON | libc::ICRNL);
        // SAFETY: `raw` is a valid termios that came from tcgetattr.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw) };
        Some(Raw(old))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the saved termios came from tcgetattr.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &self.0) };
    }
}

/// Copies standard input to the guest once `gate` opens. Sends on `quit` when the user typed Ctrl-C in raw mode.
pub(crate) fn pump(mut input: ChildStdin, raw: bool, gate: Receiver<()>, quit: Sender<()>) {
    std::thread::spawn(move || {
        // What arrives before the guest has set its UART up is lost; what it prints shows that it has. A user who
        // sees nothing at all may still want to end the run, so a terminal does not wait.
        if !raw {
            let _ = gate.recv();
        }
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
            if raw && buffer[..n].contains(&3) {
                let _ = quit.send(());
                return;
            }
            feed(&mut input, &buffer[..n]);
        }
        // End of a script: keep the pipe open, the guest is not done with its line.
        loop {
            std::thread::park();
        }
    });
}
