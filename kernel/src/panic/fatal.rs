//! Fatal errors: the program cannot go on, and nothing can recover it.
//!
//! May be called from anywhere: a goroutine, g0, an interrupt, with any lock held. So: interrupts off, the
//! first core in wins and stops the others, output goes straight to the port, nothing is allocated. A fatal
//! error while reporting one says so in a line and ends.

use core::{
    arch::asm,
    fmt::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    backtrace::{self, write_frames},
    out::Out,
    seam,
};

/// The core that reports the end, plus 1; 0 while there is none.
static REPORTER: AtomicUsize = AtomicUsize::new(0);

/// What became of the attempt to be the core that reports the end.
#[must_use]
pub(super) enum Claim {
    /// This core is it; the others stand still.
    First,
    /// It already was: something went wrong while reporting.
    Nested,
}

/// Makes this core the one that reports the end. Does not return on a core that comes second.
pub(super) fn claim() -> Claim {
    crate::arch::irq_off();
    let me = seam::core_index() + 1;
    // AcqRel: the winner sees what other cores did before; losers never read anything.
    match REPORTER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            seam::stop_others();
            Claim::First
        }
        Err(owner) if owner == me => Claim::Nested,
        Err(_) => halt(),
    }
}

/// Stops this core for good.
pub(super) fn halt() -> ! {
    loop {
        // SAFETY: interrupts stay off; only an NMI can wake the core, and it comes back here.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Ends the program: prints `fatal error: msg` and every goroutine, exits with code 2.
///
/// Cannot be recovered; no drops or `defer!`s run.
///
/// ```
/// if burrow::spawn(|| 6 * 7).join().unwrap() != 42 {
///     burrow::panic::fatal("arithmetic is broken"); // no recover catches this
/// }
/// ```
pub fn fatal(msg: &str) -> ! {
    fatal_fmt(format_args!("{msg}"))
}

/// As [`fatal`], with a formatted message.
///
/// ```
/// let n = burrow::spawn(|| 6 * 7).join().unwrap();
/// if n != 42 {
///     burrow::panic::fatal_fmt(format_args!("arithmetic is broken: {n}"));
/// }
/// ```
#[inline(never)]
pub fn fatal_fmt(msg: fmt::Arguments<'_>) -> ! {
    let fp: usize;
    // SAFETY: reads this function's frame pointer.
    unsafe { asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    report(msg, None, fp, fatal_fmt as *const () as usize)
}

/// As [`fatal_fmt`], for a fault: the trace starts at the frame's registers.
pub fn fatal_at(msg: fmt::Arguments<'_>, frame: &crate::arch::x86_64::trap::TrapFrame) -> ! {
    report(msg, Some(frame), frame.rbp as usize, frame.rip as usize)
}

fn report(
    msg: fmt::Arguments<'_>,
    regs: Option<&crate::arch::x86_64::trap::TrapFrame>,
    fp: usize,
    pc: usize,
) -> ! {
    let out = &mut Out;
    // Write errors cannot happen: `Out` has none.
    if matches!(claim(), Claim::Nested) {
        let _ = writeln!(out, "\nfatal error while reporting the end: {msg}");
        seam::exit(2);
    }
    let _ = writeln!(out, "fatal error: {msg}");
    if let Some(f) = regs {
        let _ = registers(out, f);
    }
    let _ = match seam::goid() {
        0 => writeln!(out, "\nruntime stack (core {}):", seam::core_index()),
        id => writeln!(out, "\ngoroutine {id} [running]:"),
    };
    // On whatever stack this is: within 64 KiB above the frame pointer, never past the known stack's end.
    let end = match seam::stack() {
        s if s.contains(&fp) => s.end,
        _ => fp.saturating_add(64 * 1024) & !4095,
    };
    let walk = backtrace::from_regs(pc, fp, fp, fp..end);
    let _ = write_frames(out, walk.skip(usize::from(regs.is_none())).take(64));
    super::crash::created_by(out);
    seam::dump_others(out);
    seam::exit(2)
}

/// Prints the registers of a fault, three a line.
fn registers(w: &mut dyn Write, f: &crate::arch::x86_64::trap::TrapFrame) -> fmt::Result {
    writeln!(
        w,
        "vector {} error {:#x} cs {:#x} rflags {:#x} ss {:#x}",
        f.vector, f.error, f.cs, f.rflags, f.ss
    )?;
    writeln!(w, "rip {:016x} rsp {:016x} rbp {:016x}", f.rip, f.rsp, f.rbp)?;
    writeln!(w, "rax {:016x} rbx {:016x} rcx {:016x}", f.rax, f.rbx, f.rcx)?;
    writeln!(w, "rdx {:016x} rsi {:016x} rdi {:016x}", f.rdx, f.rsi, f.rdi)?;
    writeln!(w, "r8  {:016x} r9  {:016x} r10 {:016x}", f.r8, f.r9, f.r10)?;
    writeln!(w, "r11 {:016x} r12 {:016x} r13 {:016x}", f.r11, f.r12, f.r13)?;
    writeln!(w, "r14 {:016x} r15 {:016x}", f.r14, f.r15)
}
