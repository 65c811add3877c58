//! The personality routine: given a frame and where it stands, which landing pad does it want?
//!
//! The unwinder calls this for each frame that has a language-specific data area (LSDA), twice: to find a
//! catcher, then to run cleanups. An LSDA is a header, a table of call sites (`start, length, landing pad,
//! action`, offsets from the function's start) and a table of actions. rustc emits three kinds: action 0 is
//! a cleanup (drops), a positive type index a catch, a negative one a filter (`extern "C"` functions, which
//! must not be left by a panic: their pad aborts).
//!
//! A panic that began with a CPU exception ignores filters, too: it may have stopped a function that the
//! compiler knows not to unwind.
//!
//! Ours differs from `unwinding`'s in one point: an address *outside* every call site means "nothing to do
//! here, go on", not "terminate". A CPU exception may stop any instruction, also a prologue (where every
//! stack overflow is met), and only calls that may unwind are in the table (DECISIONS 1).

use core::ffi::c_int;

use unwinding::abi::{
    _Unwind_GetIPInfo, _Unwind_GetLanguageSpecificData, _Unwind_GetRegionStart, _Unwind_SetGR, _Unwind_SetIP,
    UnwindAction, UnwindContext, UnwindException, UnwindReasonCode,
};

use super::catch::is_fault;

/// DWARF numbers of the registers in which a landing pad expects the exception and the selector.
const RAX: c_int = 0;
const RDX: c_int = 1;

/// What a frame wants done.
enum Action {
    Nothing,
    Cleanup(usize),
    Catch(usize),
    Filter(usize),
}

#[lang = "eh_personality"]
unsafe extern "C" fn rust_eh_personality(
    version: c_int,
    actions: UnwindAction,
    class: u64,
    exception: *mut UnwindException,
    ctx: &mut UnwindContext<'_>,
) -> UnwindReasonCode {
    let search = actions.contains(UnwindAction::SEARCH_PHASE);
    let error = if search {
        UnwindReasonCode::FATAL_PHASE1_ERROR
    } else {
        UnwindReasonCode::FATAL_PHASE2_ERROR
    };
    if version != 1 {
        return error;
    }
    let lsda = _Unwind_GetLanguageSpecificData(ctx).cast::<u8>();
    if lsda.is_null() {
        return UnwindReasonCode::CONTINUE_UNWIND;
    }
    let mut exact = 0;
    let ip = _Unwind_GetIPInfo(ctx, &mut exact);
    // A return address stands behind its call; a fault's address is exact.
    let ip = if exact != 0 { ip } else { ip - 1 };
    // SAFETY: the unwinder found this LSDA for this function.
    let Some(action) = (unsafe { find_action(lsda, _Unwind_GetRegionStart(ctx), ip) }) else {
        return error;
    };
    match action {
        Action::Nothing => UnwindReasonCode::CONTINUE_UNWIND,
        // SAFETY: 1. the unwinder passes what it raises.
        Action::Filter(_) if unsafe { is_fault(class, exception) } => UnwindReasonCode::CONTINUE_UNWIND,
        Action::Cleanup(_) if search => UnwindReasonCode::CONTINUE_UNWIND,
        Action::Catch(_) | Action::Filter(_) if search => UnwindReasonCode::HANDLER_FOUND,
        Action::Cleanup(pad) | Action::Catch(pad) | Action::Filter(pad) => {
            _Unwind_SetGR(ctx, RAX, exception as usize);
            _Unwind_SetGR(ctx, RDX, 0);
            _Unwind_SetIP(ctx, pad);
            UnwindReasonCode::INSTALL_CONTEXT
        }
    }
}

/// Looks `ip` up in the LSDA of the function at `start`; `None` if the table is not as rustc makes them.
///
/// # Safety
/// `lsda` is that function's, as the linker laid it out.
unsafe fn find_action(lsda: *const u8, start: usize, ip: usize) -> Option<Action> {
    let mut r = Reader(lsda);
    // Landing pads' base: always omitted, they are relative to the function.
    if r.u8() != OMIT {
        return None;
    }
    if r.u8() != OMIT {
        r.uleb(); // offset of the type table, which no Rust frame needs: every catch catches all
    }
    let encoding = r.u8();
    let table_len = r.uleb();
    let end = r.0.wrapping_add(table_len);
    while r.0 < end {
        let site = start + r.encoded(encoding)?;
        let len = r.encoded(encoding)?;
        let pad = r.encoded(encoding)?;
        let action = r.uleb();
        if ip < site {
            break; // sites are sorted
        }
        if ip >= site + len {
            continue;
        }
        return Some(match (pad, action) {
            (0, _) => Action::Nothing,
            (_, 0) => Action::Cleanup(start + pad),
            (_, n) => match Reader(end.wrapping_add(n - 1)).sleb() {
                0 => Action::Cleanup(start + pad),
                1.. => Action::Catch(start + pad),
                _ => Action::Filter(start + pad),
            },
        });
    }
    Some(Action::Nothing)
}

const OMIT: u8 = 0xff;

/// Reads the linker's tables byte by byte.
struct Reader(*const u8);

impl Reader {
    fn u8(&mut self) -> u8 {
        // SAFETY: made in `find_action` only, whose caller vouches for the table; reads stay inside it
        // because the table says how long it is.
        let b = unsafe { self.0.read() };
        self.0 = self.0.wrapping_add(1);
        b
    }

    fn uleb(&mut self) -> usize {
        self.leb().0
    }

    fn sleb(&mut self) -> isize {
        let (v, shift, last) = self.leb();
        let v = v as isize;
        if last & 0x40 != 0 && shift < usize::BITS {
            v | -1 << shift
        } else {
            v
        }
    }

    fn leb(&mut self) -> (usize, u32, u8) {
        let (mut v, mut shift) = (0, 0);
        loop {
            let b = self.u8();
            if shift < usize::BITS {
                v |= ((b & 0x7f) as usize) << shift;
            }
            shift += 7;
            if b & 0x80 == 0 {
                return (v, shift, b);
            }
        }
    }

    /// A call site's number: LLVM writes LEB128 or four bytes on this target.
    fn encoded(&mut self, encoding: u8) -> Option<usize> {
        match encoding {
            0x01 => Some(self.uleb()),
            0x03 => Some((0..4).fold(0, |v, i| v | (self.u8() as usize) << (8 * i))),
            _ => None,
        }
    }
}
