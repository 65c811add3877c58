//! The entry from the `bootloader` crate (BIOS and UEFI): 64-bit, paging on, the kernel at its linked address.
//!
//! The config below (found by its section) asks for all physical memory at our direct map's address, so that
//! early code is the same on every path. SSE may be off (it is, on BIOS): the stub turns it on, and moves to
//! our own stack, before any compiled Rust runs. The loader's tables are left behind by [`super::paging`].

use core::arch::global_asm;

use bootloader_api::{BootloaderConfig, config::Mapping, info::MemoryRegionKind};

use super::{
    bootinfo::{self, BootInfo, BootPath},
    paging::{self, DIRECT_MAP},
    percpu, pvh,
};
use crate::mem::map::RangeSet;

#[used]
#[unsafe(link_section = ".bootloader-config")]
static CONFIG: [u8; BootloaderConfig::SERIALIZED_LEN] = {
    let mut c = BootloaderConfig::new_default();
    c.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP));
    // Everything the loader places by itself goes between the direct map and the stacks.
    c.mappings.dynamic_range_start = Some(0xffff_a000_0000_0000);
    c.mappings.dynamic_range_end = Some(0xffff_afff_ffff_ffff);
    c.kernel_stack_size = 64 * 1024;
    c.serialize()
};

global_asm!(
    r#"
    .section .text.boot, "ax"
    .code64
    .global bl_entry
bl_entry:
    cli
    cld
    mov rax, cr0
    and rax, -13
    or rax, 0x22
    mov cr0, rax
    mov rax, cr4
    or rax, 0x600
    mov cr4, rax
    lea rsp, [rip + boot_stack_top]
    xor ebp, ebp
    lea rsi, [rip + {config}]
    call {main}
    ud2
"#,
    main = sym bl_main,
    config = sym CONFIG,
);

/// First Rust code on the `bootloader` path.
extern "C" fn bl_main(info: &'static bootloader_api::BootInfo, _config: *const u8) -> ! {
    // SAFETY: the time-stamp counter exists.
    let boot_tsc = unsafe { core::arch::x86_64::_rdtsc() };
    percpu::init(0, super::apic::own_id());
    super::serial::init();
    assert_eq!(
        info.physical_memory_offset.into_option(),
        Some(DIRECT_MAP),
        "bootloader ignored the config"
    );

    let (mut free, mut later, mut ram) = (RangeSet::new(), RangeSet::new(), RangeSet::new());
    let mut path = BootPath::Bios;
    for r in info.memory_regions.iter() {
        match r.kind {
            MemoryRegionKind::Usable => {
                free.insert(r.start, r.end);
                ram.insert(r.start, r.end);
            }
            // The kernel and the ramdisk as files, page tables, this list.
            MemoryRegionKind::Bootloader => {
                later.insert(r.start, r.end);
                ram.insert(r.start, r.end);
            }
            // UEFI: ACPI tables to reclaim (9) and to keep (10).
            MemoryRegionKind::UnknownUefi(kind) => {
                path = BootPath::Uefi;
                if matches!(kind, 9 | 10) {
                    ram.insert(r.start, r.end);
                }
            }
            MemoryRegionKind::UnknownBios(3 | 4) => ram.insert(r.start, r.end),
            _ => {}
        }
    }
    free.remove(0, 4096);
    let root = paging::current_root();
    // The image lies wherever the loader put it, in part in the very file.
    let (image, unused) = (paging::kernel_image(), pvh::first_tables());
    for page in image.step_by(4096).filter(|page| !unused.contains(page)) {
        if let Some(phys) = paging::translate_in(root, page) {
            later.remove(phys, phys + 1);
        }
    }
    let symbols = info
        .ramdisk_addr
        .into_option()
        .filter(|_| info.ramdisk_len > 0)
        .and_then(|virt| {
            // The loader's mapping goes away; the pages are contiguous and not in `free` (kind Bootloader).
            let phys = paging::translate_in(root, virt)?;
            later.remove(phys, phys + info.ramdisk_len);
            let at = paging::phys_to_virt(phys);
            // SAFETY: the loader's ramdisk, in memory that is never handed out.
            Some(unsafe { core::slice::from_raw_parts(at.cast_const(), info.ramdisk_len as usize) })
        });
    bootinfo::set(BootInfo {
        path,
        free,
        later,
        ram,
        rsdp: info.rsdp_addr.into_option(),
        cmdline: bootinfo::keep_cmdline(&[]),
        symbols,
        boot_tsc,
    });
    crate::boot::start(u64::MAX)
}
