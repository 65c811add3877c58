//! What the boot paths found out, in one form: memory, tables, command line, symbols.
//!
//! Every path copies what it needs out of the loader's memory before the frame allocator starts. After that only
//! its page tables are in use, for a while; they, and whatever else lies in memory that the loader took for
//! itself, are [`BootInfo::later`]'s.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

use super::fwcfg;
use crate::mem::map::RangeSet;

/// Who loaded us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootPath {
    /// `-kernel` by the PVH note.
    Pvh,
    /// The `bootloader` crate on BIOS.
    Bios,
    /// The `bootloader` crate on UEFI.
    Uefi,
}

/// Facts from the loader.
pub struct BootInfo {
    /// Who loaded us.
    pub path: BootPath,
    /// Memory the frame allocator may hand out (what it was given at boot).
    pub free: RangeSet,
    /// What it may hand out as well, once the loader's page tables are left.
    pub later: RangeSet,
    /// Memory that the direct map covers: all RAM, and what firmware put in it.
    pub ram: RangeSet,
    /// Physical address of the ACPI root pointer.
    pub rsdp: Option<u64>,
    /// Options, see [`crate::opts`].
    pub cmdline: &'static str,
    /// The symbols file, if one was passed.
    pub symbols: Option<&'static [u8]>,
    /// TSC at the first Rust code.
    pub boot_tsc: u64,
}

struct Slot(UnsafeCell<Option<BootInfo>>);
// SAFETY: written once by the boot core before other cores start, read-only after READY.
unsafe impl Sync for Slot {}
static INFO: Slot = Slot(UnsafeCell::new(None));
static READY: AtomicBool = AtomicBool::new(false);

const CMDLINE_MAX: usize = 4096;
struct Cmdline(UnsafeCell<[u8; CMDLINE_MAX]>);
// SAFETY: written once by `keep_cmdline` on the boot core, before `set`.
unsafe impl Sync for Cmdline {}
static CMDLINE: Cmdline = Cmdline(UnsafeCell::new([0; CMDLINE_MAX]));

/// Stores the facts. Once, on the boot core.
pub fn set(info: BootInfo) {
    assert!(!READY.load(Ordering::Relaxed), "boot information set twice");
    // SAFETY: the boot core alone, once (asserted).
    unsafe { *INFO.0.get() = Some(info) };
    READY.store(true, Ordering::Release); // pairs with the Acquire in `get`
}

/// The facts.
pub fn get() -> &'static BootInfo {
    try_get().expect("boot information is not there yet")
}

/// The facts, or `None` very early.
pub fn try_get() -> Option<&'static BootInfo> {
    if !READY.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: written before READY, never again.
    unsafe { (*INFO.0.get()).as_ref() }
}

/// Copies the command line; an empty one is looked for in fw_cfg. Once, on the boot core.
pub fn keep_cmdline(from_loader: &[u8]) -> &'static str {
    // SAFETY: the boot core alone; the only call.
    let buf = unsafe { &mut *CMDLINE.0.get() };
    let given = from_loader.trim_ascii();
    let n = if given.is_empty() {
        fwcfg::read_file("opt/burrow/cmdline", buf).unwrap_or(0)
    } else {
        let n = given.len().min(CMDLINE_MAX);
        buf[..n].copy_from_slice(&given[..n]);
        n
    };
    core::str::from_utf8(&buf[..n])
        .unwrap_or("")
        .trim_matches(['\0', '\n', ' '])
}
