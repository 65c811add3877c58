//! Page tables: one address space for every core, built once, grown in two places.
//!
//! | from | what | pages |
//! | --- | --- | --- |
//! | 0 | nothing: a null pointer faults | |
//! | `0xffff_8000_0000_0000` | direct map of all RAM | 1 GiB or 2 MiB, RW, NX |
//! | `0xffff_c000_0000_0000` | goroutine stacks: leaf tables come with a slot, pages by fault | 4 KiB |
//! | `0xffff_d000_0000_0000` | devices, uncached; address = physical + this | 4 KiB |
//! | `0xffff_e000_0000_0000` | the heap: frames come and go behind free pages | 4 KiB |
//! | `0xffff_fff8_0000_0000` | the map from heap pages to spans, as far as there are arenas | 4 KiB |
//! | `0xffff_ffff_8000_0000` | the kernel image: text RX, rodata R, data RW+NX | 4 KiB |
//!
//! **Who may do what.** Intermediate entries only ever go from absent to present, under `GROW`, and stay; so a
//! walk needs no lock. Leaf entries of the stack region belong to `mem::stack`, which changes them by CAS
//! through [`leaf_pte`]. The rest is written at boot.
//!
//! Refused: a second level of laziness (allocating leaf tables in the fault handler): the fault path must not
//! take `GROW`. And the crate `x86_64`'s mapper, which wants `&mut` of the whole tree for one entry.

use core::{
    arch::asm,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{KERNEL_BASE, bootinfo::BootInfo, port, pvh::first_tables};
use crate::{
    lock::{Rank, SpinLock},
    mem::{frames, map::PAGE},
};

/// Where the direct map of physical memory starts.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Where goroutine stacks live.
pub const STACK_REGION: u64 = 0xffff_c000_0000_0000;
/// First address above the stack region (16 TiB).
pub const STACK_REGION_END: u64 = MMIO;
/// Where the heap lies (1 TiB).
pub const HEAP_REGION: u64 = 0xffff_e000_0000_0000;
/// The map from the heap's pages to their spans (1 GiB): where it lies makes the slot of an address two shifts, with sign
/// extension (`mem::backing::slot`).
pub const SPAN_MAP_REGION: u64 = (HEAP_REGION as i64 >> 13 << 3) as u64;
/// Where devices are mapped.
const MMIO: u64 = 0xffff_d000_0000_0000;

/// The entry is valid.
pub const PRESENT: u64 = 1;
/// Writes are allowed.
pub const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const NO_CACHE: u64 = 1 << 4;
/// The processor has used the page.
pub const ACCESSED: u64 = 1 << 5;
/// The processor has written the page.
pub const DIRTY: u64 = 1 << 6;
const HUGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// No instruction fetches.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The physical address in an entry.
pub const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// Out of memory for a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFrames;

/// The lock under which tables grow.
static GROW: SpinLock<()> = SpinLock::new(Rank::PageTables, ());
/// Physical address of the root; 0 before `init`.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Does the processor know no-execute?
static NX: AtomicBool = AtomicBool::new(false);

/// Where the direct map shows a physical address. Of RAM, that is; devices go through [`map_mmio`].
#[inline(always)]
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    (DIRECT_MAP + phys) as *mut u8
}

/// The physical address behind an address in the direct map.
#[inline(always)]
pub fn virt_to_phys(direct: *const u8) -> u64 {
    direct as u64 - DIRECT_MAP
}

/// The entry of `virt` in the table at physical address `table`, for level 4 (root) … 1 (leaf).
#[inline(always)]
fn entry(table: u64, level: u32, virt: u64) -> &'static AtomicU64 {
    let i = virt >> (12 + 9 * (level - 1)) & 511;
    // SAFETY: page tables are frames of the direct map that are never freed; index below 512.
    unsafe { &*phys_to_virt(table + i * 8).cast::<AtomicU64>() }
}

/// The table below an entry, allocated if need be. Only under `GROW` or alone at boot.
fn descend(e: &AtomicU64) -> Result<u64, NoFrames> {
    let v = e.load(Ordering::Relaxed);
    if v & PRESENT != 0 {
        assert!(v & HUGE == 0, "a table is wanted where a huge page is");
        return Ok(v & ADDR);
    }
    let table = frames::alloc_zeroed().ok_or(NoFrames)?.phys();
    // Release: pairs with the Acquire loads of `walk`: the table is zeroed before it is seen.
    e.store(table | PRESENT | WRITABLE, Ordering::Release);
    Ok(table)
}

/// The leaf entry of `virt`, with the tables above it. Under `GROW` or alone at boot.
fn make_leaf(root: u64, virt: u64) -> Result<&'static AtomicU64, NoFrames> {
    let mut table = root;
    for level in [4, 3, 2] {
        table = descend(entry(table, level, virt))?;
    }
    Ok(entry(table, 1, virt))
}

/// The leaf entry of `virt` in any tree, or the huge page's (with its size).
fn walk(root: u64, virt: u64) -> Option<(&'static AtomicU64, u64)> {
    let mut table = root;
    for level in [4, 3, 2] {
        let e = entry(table, level, virt);
        let v = e.load(Ordering::Acquire); // pairs with the Release in `descend`
        if v & PRESENT == 0 {
            return None;
        }
        if v & HUGE != 0 {
            return Some((e, PAGE << (9 * (level - 1))));
        }
        table = v & ADDR;
    }
    Some((entry(table, 1, virt), PAGE))
}

pub(super) fn translate_in(root: u64, virt: u64) -> Option<u64> {
    let (e, size) = walk(root, virt)?;
    let v = e.load(Ordering::Relaxed);
    (v & PRESENT != 0).then(|| (v & ADDR & !(size - 1)) + (virt & (size - 1)))
}

/// The physical address behind any kernel address, if it is mapped.
pub fn translate(virt: usize) -> Option<u64> {
    translate_in(ROOT.load(Ordering::Relaxed), virt as u64)
}

/// The page-table entry of an address whose leaf table exists, else null. Lock-free; for addresses in the
/// stack region (elsewhere there are huge pages, which answer null).
#[inline]
pub fn leaf_pte(virt: usize) -> *const AtomicU64 {
    match walk(ROOT.load(Ordering::Relaxed), virt as u64) {
        Some((e, PAGE)) => e,
        _ => core::ptr::null(),
    }
}

/// Makes sure that every page of `range` has a leaf table, so that [`leaf_pte`] answers. Takes a lock of
/// rank `PageTables`, then `Frames`.
pub fn ensure_leaf_tables(range: core::ops::Range<usize>) -> Result<(), NoFrames> {
    let root = ROOT.load(Ordering::Relaxed);
    let _lock = GROW.lock();
    const LEAF_SPAN: usize = 512 * PAGE as usize;
    let mut at = range.start & !(LEAF_SPAN - 1);
    while at < range.end {
        make_leaf(root, at as u64)?;
        at += LEAF_SPAN;
    }
    Ok(())
}

/// Maps device registers, uncached. The same registers map to the same address, so repeating is fine.
pub fn map_mmio(phys: u64, len: usize) -> Result<*mut u8, NoFrames> {
    let root = ROOT.load(Ordering::Relaxed);
    let _lock = GROW.lock();
    let mut at = phys & !(PAGE - 1);
    while at < phys + len as u64 {
        let e = make_leaf(root, MMIO + at)?;
        e.store(
            at | PRESENT | WRITABLE | NO_CACHE | WRITE_THROUGH | GLOBAL | nx(),
            Ordering::Release,
        );
        at += PAGE;
    }
    Ok((MMIO + phys) as *mut u8)
}

/// Makes sure that the direct map shows `phys..phys+len` (firmware tables may lie outside the RAM ranges).
pub fn ensure_direct(phys: u64, len: usize) -> Result<*const u8, NoFrames> {
    let root = ROOT.load(Ordering::Relaxed);
    let _lock = GROW.lock();
    let mut at = phys & !(PAGE - 1);
    while at < phys + len as u64 {
        if translate_in(root, DIRECT_MAP + at).is_none() {
            let big = at & !((PAGE << 9) - 1);
            map_huge(root, big, 2)?;
        }
        at += PAGE;
    }
    Ok(phys_to_virt(phys))
}

fn nx() -> u64 {
    if NX.load(Ordering::Relaxed) { NO_EXECUTE } else { 0 }
}

/// One 1 GiB (level 3) or 2 MiB (level 2) page of the direct map.
fn map_huge(root: u64, phys: u64, level: u32) -> Result<(), NoFrames> {
    let virt = DIRECT_MAP + phys;
    let mut table = root;
    let mut l = 4;
    while l > level {
        let e = entry(table, l, virt);
        if e.load(Ordering::Relaxed) & (PRESENT | HUGE) == PRESENT | HUGE {
            return Ok(()); // a larger page covers it
        }
        table = descend(e)?;
        l -= 1;
    }
    let e = entry(table, level, virt);
    if e.load(Ordering::Relaxed) & PRESENT == 0 {
        e.store(
            phys | PRESENT | WRITABLE | HUGE | GLOBAL | nx(),
            Ordering::Release,
        );
    }
    Ok(())
}

unsafe extern "C" {
    static __kernel_start: u8;
    static __text_start: u8;
    static __etext: u8;
    static __kernel_end: u8;
}

/// First and last + 1 address of the kernel image.
pub fn kernel_image() -> core::ops::Range<u64> {
    &raw const __kernel_start as u64..&raw const __kernel_end as u64
}

/// Control bits every core wants: WP, NE; SSE; global pages; no-execute.
fn set_control_bits() {
    // SAFETY: turns on protection bits of the running mode; SSE is on already.
    unsafe {
        asm!(
            "mov {t}, cr0", "or {t}, 0x10022", "and {t}, -13", "mov cr0, {t}",
            "mov {t}, cr4", "or {t}, 0x6a0", "mov cr4, {t}",
            t = out(reg) _, options(nostack))
    };
    if NX.load(Ordering::Relaxed) {
        const EFER: u32 = 0xc000_0080;
        // SAFETY: 1. EFER exists in long mode.
        let efer = unsafe { port::rdmsr(EFER) };
        // SAFETY: 1. sets NXE, which CPUID offers.
        unsafe { port::wrmsr(EFER, efer | 1 << 11) };
    }
}

/// Builds the final tables from the loader's and switches to them. Frames so far come from memory that the
/// loader's direct map shows. Once, on the boot core.
pub fn init_on_bsp(info: &BootInfo) {
    NX.store(port::cpuid(0x8000_0001, 0).edx & 1 << 20 != 0, Ordering::Relaxed);
    set_control_bits();
    build(info).expect("no memory for page tables");
    load_root();
}

fn build(info: &BootInfo) -> Result<(), NoFrames> {
    let old = current_root();
    let root = frames::alloc_zeroed().ok_or(NoFrames)?.phys();
    const M2: u64 = PAGE << 9;
    const G1: u64 = PAGE << 18;
    let giant = port::cpuid(0x8000_0001, 0).edx & 1 << 26 != 0;
    // The first GiB whatever the map says: legacy areas, and the identity map shares these tables.
    for range in core::iter::once(0..G1).chain(info.ram.iter()) {
        let mut at = range.start & !(M2 - 1);
        while at < range.end {
            if giant && at.is_multiple_of(G1) && at != 0 && at + G1 <= range.end {
                map_huge(root, at, 3)?;
                at += G1;
            } else {
                map_huge(root, at, 2)?;
                at += M2;
            }
        }
    }
    // The image, page by page, from wherever the loader put it.
    let text = &raw const __text_start as u64..&raw const __etext as u64;
    let image = kernel_image();
    let mut virt = image.start;
    while virt < image.end {
        if first_tables().contains(&virt) {
            virt += PAGE;
            continue;
        }
        let phys = translate_in(old, virt).unwrap_or(virt - KERNEL_BASE);
        let flags = if virt < text.start {
            nx()
        } else if virt < text.end {
            0
        } else {
            WRITABLE | nx()
        };
        make_leaf(root, virt)?.store(phys | PRESENT | GLOBAL | flags, Ordering::Relaxed);
        virt += PAGE;
    }
    // The devices' and stacks' top entries, so that the root never changes again.
    for region in (STACK_REGION..STACK_REGION_END).step_by(1 << 39).take(1).chain([
        MMIO,
        HEAP_REGION,
        HEAP_REGION + (1 << 39),
        SPAN_MAP_REGION,
    ]) {
        descend(entry(root, 4, region))?;
    }
    ROOT.store(root, Ordering::Release);
    Ok(())
}

pub(super) fn current_root() -> u64 {
    let v: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v & ADDR
}

/// Physical address of the root table.
pub fn root() -> u64 {
    ROOT.load(Ordering::Acquire)
}

fn load_root() {
    // SAFETY: the tree maps the running code, its stack and all data at the addresses they are used at.
    unsafe { asm!("mov cr3, {}", in(reg) root(), options(nostack, preserves_flags)) };
}

/// A starting core: control bits. It runs on the final tables already.
pub fn init_on_ap() {
    set_control_bits();
}

/// A root for starting cores: the kernel's entries, and the 2 MiB around `page` at their own address. Other
/// cores leave it at once for the kernel's root, whose low half is always empty.
pub fn make_startup_root(page: u64) -> Result<u64, NoFrames> {
    let new = frames::alloc_zeroed().ok_or(NoFrames)?.phys();
    for i in 256..512u64 {
        let v = entry(root(), 4, i << 39).load(Ordering::Relaxed);
        entry(new, 4, i << 39).store(v, Ordering::Relaxed);
    }
    let mut table = new;
    for level in [4, 3] {
        table = descend(entry(table, level, page))?;
    }
    entry(table, 2, page).store(
        (page & !((PAGE << 9) - 1)) | PRESENT | WRITABLE | HUGE,
        Ordering::Release,
    );
    Ok(new)
}

/// Frees what [`make_startup_root`] made for `page`. No core is on these tables any more.
pub fn free_startup_root(root: u64, page: u64) {
    let mut table = root;
    for level in [4, 3, 2] {
        let below = entry(table, level, page).load(Ordering::Relaxed) & ADDR;
        frames::free_many(&[table]);
        table = below;
    }
}

/// Forgets every non-global translation on this core (stacks are non-global).
pub fn flush() {
    load_root();
}

/// Forgets the translation of one page on this core.
#[inline(always)]
pub fn flush_page(virt: usize) {
    // SAFETY: dropping a cached translation is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) virt, options(nostack, preserves_flags)) };
}
