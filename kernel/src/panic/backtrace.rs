//! Backtraces: who called whom, for panics and for dumps.
//!
//! Two walkers. A panic's own trace is taken by the unwinder ([`Backtrace::capture`]): exact anywhere,
//! also in a prologue or below a fault, and the same tables are about to be trusted for the unwinding
//! anyway. Dumps of *other* goroutines follow frame pointers ([`from_regs`]; the whole image, `core`
//! included, is built with them): every step is checked against the stack's bounds, so that a corrupt stack
//! ends the trace and not the dump. In the two instructions of a prologue it misses one caller.

use core::{
    ffi::c_void,
    fmt::{self, Write},
    ops::Range,
};

use unwinding::abi::{
    _Unwind_Backtrace, _Unwind_GetIPInfo, _Unwind_GetRegionStart, UnwindContext, UnwindReasonCode,
};

use super::symbols;
use crate::arch::x86_64::KERNEL_BASE;

/// How many frames a panic remembers.
const DEPTH: usize = 32;

/// The calls that led to a panic, innermost first. No heap: offsets into the kernel image.
///
/// ```
/// use burrow::panic::Backtrace;
/// let p = burrow::recover(|| panic!("boom")).unwrap_err();
/// assert!(p.backtrace().frames().count() > 1);
/// assert_eq!(Backtrace::EMPTY.frames().count(), 0);
/// let here = Backtrace::capture(0);
/// for frame in here.frames().take(1) {
///     burrow::println!("called from {:#x}", frame.lookup());
/// }
/// ```
#[derive(Clone)]
pub struct Backtrace {
    len: u8,
    /// The trace went on.
    cut: bool,
    /// Bit i: frame i is the instruction itself and not a return address.
    exact: u32,
    pcs: [u32; DEPTH],
}

/// One frame of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pc {
    /// The address.
    pub addr: usize,
    /// The instruction itself (a fault, a preemption), not the return address behind a call.
    pub exact: bool,
}

impl Pc {
    /// The address to look up: inside the call.
    pub fn lookup(self) -> usize {
        if self.exact {
            self.addr
        } else {
            self.addr.wrapping_sub(1)
        }
    }
}

impl Backtrace {
    /// No frames.
    pub const EMPTY: Backtrace = Backtrace {
        len: 0,
        cut: false,
        exact: 0,
        pcs: [0; DEPTH],
    };

    /// The frames of this goroutine, innermost first.
    pub fn frames(&self) -> impl Iterator<Item = Pc> + '_ {
        self.pcs[..self.len as usize]
            .iter()
            .enumerate()
            .map(|(i, &off)| Pc {
                addr: (KERNEL_BASE as usize).wrapping_add(off as usize),
                exact: self.exact & 1 << i != 0,
            })
    }

    /// Traces the running goroutine, from the caller of the function that starts at `skip_to` on
    /// (0: from the caller of this one).
    ///
    /// ```
    /// let trace = burrow::panic::Backtrace::capture(0);
    /// assert!(trace.frames().count() > 0);
    /// ```
    #[inline(never)]
    pub fn capture(skip_to: usize) -> Backtrace {
        let skip_to = if skip_to == 0 {
            Self::capture as *const () as usize
        } else {
            skip_to
        };
        let mut c = Capture {
            trace: Self::EMPTY,
            skip_to,
            skipping: true,
        };
        _Unwind_Backtrace(step, (&raw mut c).cast());
        if c.skipping {
            // The machinery's frame was not met (inlined): better with it than nothing.
            c.skipping = false;
            _Unwind_Backtrace(step, (&raw mut c).cast());
        }
        c.trace
    }
}

struct Capture {
    trace: Backtrace,
    skip_to: usize,
    skipping: bool,
}

extern "C" fn step(ctx: &UnwindContext<'_>, arg: *mut c_void) -> UnwindReasonCode {
    // SAFETY: `capture` passes its own `Capture`, which nothing else uses meanwhile.
    let c = unsafe { &mut *arg.cast::<Capture>() };
    let mut exact = 0;
    let ip = _Unwind_GetIPInfo(ctx, &mut exact);
    if c.skipping {
        c.skipping = _Unwind_GetRegionStart(ctx) != c.skip_to;
        return UnwindReasonCode::NO_REASON;
    }
    let t = &mut c.trace;
    if ip == 0 {
        return UnwindReasonCode::NORMAL_STOP;
    }
    let i = t.len as usize;
    if i == DEPTH {
        t.cut = true;
        return UnwindReasonCode::NORMAL_STOP;
    }
    t.pcs[i] = ip.wrapping_sub(KERNEL_BASE as usize) as u32;
    if exact != 0 {
        t.exact |= 1 << i;
    }
    t.len += 1;
    UnwindReasonCode::NO_REASON
}

/// Walks a stack by frame pointers, from the registers of a parked or preempted goroutine.
///
/// `rip` comes out first, as exact. `stack` bounds every read: it must be memory that stays mapped and is
/// not being run on, else the trace is wrong (but reads nothing outside).
pub fn from_regs(rip: usize, rsp: usize, rbp: usize, stack: Range<usize>) -> Walk {
    let floor = rsp.max(stack.start);
    Walk {
        next: Some(Pc {
            addr: rip,
            exact: true,
        }),
        rbp,
        floor,
        end: stack.end,
    }
}

/// Walks the stack this runs on by frame pointers, from the caller's caller on: cheap, and allocates nothing. Empty on a
/// stack that is no goroutine's.
#[inline(never)]
pub fn callers() -> impl Iterator<Item = Pc> {
    let fp: usize;
    // SAFETY: reads this function's frame pointer.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    let end = crate::mem::stack::top_of(fp).unwrap_or(fp);
    from_regs(0, fp, fp, fp..end).skip(1)
}

/// The iterator of [`from_regs`].
pub struct Walk {
    next: Option<Pc>,
    rbp: usize,
    floor: usize,
    end: usize,
}

impl Iterator for Walk {
    type Item = Pc;

    fn next(&mut self) -> Option<Pc> {
        let now = self.next.take()?;
        let fp = self.rbp;
        if fp >= self.floor && fp & 7 == 0 && fp.checked_add(16).is_some_and(|top| top <= self.end) {
            // SAFETY: aligned and inside the stack's bounds.
            let (up, ret) = unsafe { *(fp as *const (usize, usize)) };
            // Callers are higher up: a chain that does not rise is corrupt.
            self.rbp = if up > fp { up } else { 0 };
            self.floor = fp + 16;
            if is_text(ret) {
                self.next = Some(Pc {
                    addr: ret,
                    exact: false,
                });
            }
        }
        Some(now)
    }
}

unsafe extern "C" {
    static __text_start: u8;
    static __etext: u8;
}

/// Is this address code of the kernel image?
pub fn is_text(addr: usize) -> bool {
    (&raw const __text_start as usize..&raw const __etext as usize).contains(&addr)
}

/// Prints frames as Go does: `func(...)`, then a tab, `file:line +0xoffset`.
///
/// Left out: the panic machinery above the cause, the frames of `catch`, and everything from a goroutine's
/// entry on. Recursion is counted.
pub fn write_frames(w: &mut dyn Write, frames: impl Iterator<Item = Pc>) -> fmt::Result {
    let mut started = false;
    let mut last = (0, "");
    let mut repeats = 0_usize;
    for pc in frames {
        if pc.addr == last.0 {
            repeats += 1;
            continue;
        }
        let mut sym = symbols::resolve(pc.lookup());
        let name = sym.map_or("", |s| s.name);
        if is_entry(name) {
            break;
        }
        let closure = called_closure(name);
        if is_catch(name) || closure == Some(last.1) || !started && is_machinery(name) {
            continue;
        }
        if let (Some(s), Some(c)) = (&mut sym, closure) {
            s.name = c;
        }
        write_repeats(w, core::mem::take(&mut repeats))?;
        started = true;
        last = (pc.addr, sym.map_or("", |s| s.name));
        write_frame(w, pc, sym)?;
    }
    write_repeats(w, repeats)
}

fn write_repeats(w: &mut dyn Write, n: usize) -> fmt::Result {
    if n > 0 {
        writeln!(w, "\t... and {n} more times")
    } else {
        Ok(())
    }
}

/// Prints one frame.
pub fn write_frame(w: &mut dyn Write, pc: Pc, sym: Option<symbols::Symbol<'_>>) -> fmt::Result {
    match sym {
        Some(s) if !s.name.is_empty() => {
            writeln!(w, "{}(...)", s.name)?;
            match s.file {
                Some(file) => writeln!(w, "\t{file}:{} +{:#x}", s.line, s.offset),
                None => writeln!(w, "\t{:#x} +{:#x}", pc.addr, s.offset),
            }
        }
        _ => writeln!(w, "{:#x}(...)", pc.addr),
    }
}

/// Frames between the cause and the panic handler, that tell a reader nothing.
fn is_machinery(name: &str) -> bool {
    let ours = name.strip_prefix("burrow::panic::").is_some_and(|rest| {
        [
            "backtrace::",
            "crash::",
            "entry::",
            "fatal::",
            "fault::",
            "recover::panic_any",
        ]
        .iter()
        .any(|p| rest.starts_with(p))
    });
    // The allocator's own frames, in a heap profile and in a report of `memdebug`.
    let heap = [
        "burrow::mem::",
        "<burrow::mem::",
        "__rustc::__rust_",
        "__rustc::__rg_",
    ]
    .iter()
    .any(|p| name.starts_with(p));
    ours || heap || name.starts_with("core::panicking::") || name.ends_with("rust_begin_unwind")
}

/// The frames that every `recover` and every goroutine's entry adds.
fn is_catch(name: &str) -> bool {
    name.starts_with("burrow::panic::catch::") || name.starts_with("burrow::panic::recover::recover::")
}

/// The closure whose `FnOnce` shim this is: shown by its own name, and not twice.
fn called_closure(name: &str) -> Option<&str> {
    name.strip_prefix('<')?
        .strip_suffix(" as core::ops::function::FnOnce<()>>::call_once")
}

/// Where a goroutine's user code ends and the runtime's trampoline begins.
fn is_entry(name: &str) -> bool {
    name.starts_with("burrow::sched::spawn::entry") || name.contains("burrow::sched::start::boot")
}
