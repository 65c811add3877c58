//! Segments and the task state segment of each core.
//!
//! Long mode wants almost nothing of them: a code selector (0x08), a data selector (0x10), and a TSS
//! (0x18) for the interrupt stack table. Every core has its own table because every core has its own TSS.
//!
//! The five interrupt stacks of 16 KiB come from the frame allocator, except those of the boot core, which
//! are static: it takes exceptions before there are frames.

use core::{arch::asm, cell::UnsafeCell, mem::size_of};

use super::percpu::MAX_CORES;
use crate::mem::frames;

/// Selector of 64-bit kernel code.
pub const CODE: u16 = 0x08;
/// Selector of kernel data.
pub const DATA: u16 = 0x10;
const TSS: u16 = 0x18;

/// Bytes of one interrupt stack.
pub const IST_SIZE: usize = 16 * 1024;
/// Interrupt stacks per core.
pub const IST_COUNT: usize = 5;

#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct Tss {
    _0: u32,
    rsp: [u64; 3],
    _1: u64,
    ist: [u64; 7],
    _2: u64,
    _3: u16,
    iomap: u16,
}

#[repr(C, align(16))]
struct PerCore {
    gdt: [u64; 5],
    tss: Tss,
}

struct Tables([UnsafeCell<PerCore>; MAX_CORES]);
// SAFETY: slot i is written by core i alone, once.
unsafe impl Sync for Tables {}
static TABLES: Tables = Tables(
    [const {
        UnsafeCell::new(PerCore {
            gdt: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0],
            tss: Tss {
                _0: 0,
                rsp: [0; 3],
                _1: 0,
                ist: [0; 7],
                _2: 0,
                _3: 0,
                iomap: size_of::<Tss>() as u16,
            },
        })
    }; MAX_CORES],
);

#[repr(C, align(16))]
struct BootStacks(UnsafeCell<[u8; IST_SIZE * IST_COUNT]>);
// SAFETY: only ever used as the boot core's interrupt stacks, through their address.
unsafe impl Sync for BootStacks {}
static BOOT_STACKS: BootStacks = BootStacks(UnsafeCell::new([0; IST_SIZE * IST_COUNT]));

/// Loads this core's GDT, segments and TSS. Other cores than 0 need the frame allocator.
pub fn init_on_each_core(index: usize) {
    let stacks = if index == 0 {
        BOOT_STACKS.0.get() as u64
    } else {
        let frames =
            frames::alloc_contig(IST_SIZE * IST_COUNT / 4096).expect("no memory for interrupt stacks");
        frames.as_ptr() as u64
    };
    // SAFETY: our own slot, once.
    let t = unsafe { &mut *TABLES.0[index].get() };
    let mut ist = [0; 7];
    for (i, slot) in ist[..IST_COUNT].iter_mut().enumerate() {
        *slot = stacks + ((i + 1) * IST_SIZE) as u64;
    }
    t.tss.ist = ist;
    let base = &raw const t.tss as u64;
    let limit = size_of::<Tss>() as u64 - 1;
    t.gdt[3] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    t.gdt[4] = base >> 32;

    #[repr(C, packed)]
    struct Pointer(u16, u64);
    let p = Pointer(size_of::<[u64; 5]>() as u16 - 1, t.gdt.as_ptr() as u64);
    // SAFETY: the table is static and complete; the selectors are those of the code that runs. FS and GS
    // are left alone: loading them would clear the GS base.
    unsafe {
        asm!(
            "lgdt [{p}]",
            "push {code}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "mov ss, {data:x}",
            "ltr {tss:x}",
            p = in(reg) &p,
            code = const CODE,
            tmp = out(reg) _,
            data = in(reg) DATA,
            tss = in(reg) TSS,
        )
    };
}
