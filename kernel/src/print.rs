//! `print!`, `println!`, `eprint!`, `eprintln!`: formatted text to the serial port (on the host: stdout).
//!
//! Text is formatted into a line buffer on the caller's stack and handed to the port a line at a time: a user's
//! `Display` runs with no lock held and interrupts as they were, and lines of up to 256 bytes of different
//! cores do not mix. (Formatting under the port's lock would let a `Display` park or panic inside it.)
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

const LINE: usize = 256;

struct LineBuffer {
    len: usize,
    bytes: [u8; LINE],
}

impl LineBuffer {
    fn flush(&mut self) {
        if self.len > 0 {
            raw(&self.bytes[..self.len]);
            self.len = 0;
        }
    }
}

impl Write for LineBuffer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut rest = s.as_bytes();
        while !rest.is_empty() {
            if self.len == LINE {
                self.flush();
            }
            let n = rest.len().min(LINE - self.len);
            self.bytes[self.len..self.len + n].copy_from_slice(&rest[..n]);
            self.len += n;
            rest = &rest[n..];
        }
        Ok(())
    }
}

/// Writes bytes as they are. Any context.
///
/// ```
/// burrow::print::raw(b"bytes, also if they are no text\n");
/// ```
pub fn raw(bytes: &[u8]) {
    #[cfg(target_os = "none")]
    crate::arch::x86_64::serial::write(bytes);
    #[cfg(not(target_os = "none"))]
    {
        use std::io::Write;
        let _ = std::io::stdout().write_all(bytes);
    }
}

#[doc(hidden)]
pub fn print(args: fmt::Arguments<'_>) {
    let mut line = LineBuffer {
        len: 0,
        bytes: [0; LINE],
    };
    // Our buffer never fails; an error is the user's `Display` giving up, and what it wrote is kept.
    let _ = line.write_fmt(args);
    line.flush();
}

/// Prints to the console, without a newline.
///
/// ```
/// burrow::print!("one, ");
/// burrow::print!("{}\n", "two");
/// ```
#[macro_export]
macro_rules! print {
    ($($t:tt)*) => { $crate::print::print(::core::format_args!($($t)*)) };
}

/// Prints a line to the console.
///
/// ```
/// let n = 3;
/// burrow::println!("{n} goroutines, {:?}", [1, 2]);
/// burrow::println!();
/// ```
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($fmt:literal $($t:tt)*) => { $crate::print::print(::core::format_args!("{}\n", ::core::format_args!($fmt $($t)*))) };
}

/// As [`print!`]: there is one console.
///
/// ```
/// burrow::eprint!("{} %\n", 100);
/// ```
#[macro_export]
macro_rules! eprint {
    ($($t:tt)*) => { $crate::print!($($t)*) };
}

/// As [`println!`]: there is one console.
///
/// ```
/// burrow::eprintln!("disk on fire: {}", true);
/// ```
#[macro_export]
macro_rules! eprintln {
    ($($t:tt)*) => { $crate::println!($($t)*) };
}
