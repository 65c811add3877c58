//! PVH entry: from the 32-bit physical entry point to 64-bit Rust at the linked address.
//!
//! QEMU `-kernel`, Firecracker and Cloud Hypervisor find the Xen note below, load the ELF by physical
//! address and jump here in 32-bit protected mode, paging off, `EBX` = physical address of
//! `hvm_start_info`. The stub builds the first page tables (identity and direct map of 4 GiB with
//! 2 MiB pages, kernel image at -2 GiB), turns on PAE, long mode, SSE, and jumps high. 32-bit code may
//! only name symbols as `sym - KERNEL_BASE`.

use core::{arch::global_asm, ffi::CStr, ops::Range};

use super::{
    bootinfo::{self, BootInfo, BootPath},
    paging::{self, phys_to_virt},
    percpu,
};
use crate::mem::map::RangeSet;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start32 - {base}

    .section .bss.boot, "aw", @nobits
    .align 4096
    .global boot_tables
boot_tables:
boot_pml4:   .skip 4096
boot_pdpt_lo: .skip 4096
boot_pdpt_hi: .skip 4096
boot_pds:    .skip 4096 * 4
    .global boot_tables_end
boot_tables_end:
boot_stack:  .skip 65536
    .global boot_stack_top
boot_stack_top:

    .section .rodata.boot, "a"
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdtr:
    .word 23
    .quad boot_gdt - {base}

    .section .text.boot, "ax"
    .code32
    .global pvh_start32
pvh_start32:
    cli
    cld
    mov esp, offset boot_stack_top - {base}
    mov ebp, ebx
    mov edi, offset boot_pds - {base}
    mov eax, 0x83
    mov ecx, 2048
2:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    mov edi, offset boot_pdpt_lo - {base}
    mov eax, offset boot_pds - {base} + 3
    mov ecx, 4
3:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 4096
    add edi, 8
    dec ecx
    jnz 3b
    mov edi, offset boot_pdpt_hi - {base}
    mov eax, offset boot_pds - {base} + 3
    mov [edi + 510 * 8], eax
    mov edi, offset boot_pml4 - {base}
    mov eax, offset boot_pdpt_lo - {base} + 3
    mov [edi], eax
    mov [edi + 256 * 8], eax
    mov eax, offset boot_pdpt_hi - {base} + 3
    mov [edi + 511 * 8], eax
    mov cr3, edi
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0xfffffffb
    or eax, 0x80010022
    mov cr0, eax
    lgdt [boot_gdtr - {base}]
    .byte 0xea
    .long pvh_start64_lo - {base}
    .word 8
    .code64
pvh_start64_lo:
    movabs rax, offset pvh_start64
    jmp rax
pvh_start64:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    lea rsp, [rip + boot_stack_top]
    mov edi, ebp
    xor ebp, ebp
    call {main}
    ud2
"#,
    base = const super::KERNEL_BASE,
    main = sym pvh_main,
);

unsafe extern "C" {
    static boot_tables: u8;
    static boot_tables_end: u8;
}

/// The first page tables, in the image: nobody's once the kernel has its own.
pub(super) fn first_tables() -> Range<u64> {
    &raw const boot_tables as u64..&raw const boot_tables_end as u64
}

/// Memory below this is shown by the first page tables.
const EARLY_LIMIT: u64 = 4 << 30;

const MAGIC: u32 = 0x336e_c578;

#[derive(Clone, Copy)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modlist: u64,
    cmdline: u64,
    rsdp: u64,
    memmap: u64,
    memmap_entries: u32,
    reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Module {
    start: u64,
    size: u64,
    cmdline: u64,
    reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct MapEntry {
    start: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// `n` items of the loader's at a physical address, copied: nothing promises their alignment (QEMU's microvm packs
/// them behind the command line).
///
/// # Safety
/// 1. The loader put them there, and nothing has written there since.
/// 2. Any bits are valid for `T`.
unsafe fn items<T: Copy>(phys: u64, n: usize) -> impl Iterator<Item = T> + Clone {
    let n = if phys == 0 || phys >= EARLY_LIMIT { 0 } else { n };
    let first = phys_to_virt(phys).cast::<T>();
    // SAFETY: 1., 2.; mapped below 4 GiB; the read asks for no alignment.
    (0..n).map(move |i| unsafe { first.wrapping_add(i).read_unaligned() })
}

/// First Rust code on the PVH path. `start_info` is the physical address of `hvm_start_info`.
extern "C" fn pvh_main(start_info: u64) -> ! {
    // SAFETY: the time-stamp counter exists.
    let boot_tsc = unsafe { core::arch::x86_64::_rdtsc() };
    percpu::init(0, super::apic::own_id());
    super::serial::init();
    // SAFETY: 1. by the boot protocol; 2. integers.
    let si = unsafe { items::<StartInfo>(start_info, 1) }.next();
    let si = si.filter(|si| si.magic == MAGIC).expect("PVH: no start info");

    let (mut free, mut ram) = (RangeSet::new(), RangeSet::new());
    // SAFETY: 1. by the boot protocol; 2. integers.
    let map = unsafe { items::<MapEntry>(si.memmap, si.memmap_entries as usize) };
    for e in map.clone() {
        let end = e.start.saturating_add(e.size);
        // 1 = RAM, 3 and 4 = RAM with ACPI tables in it.
        if matches!(e.kind, 1 | 3 | 4) {
            ram.insert(e.start, end);
        }
        if e.kind == 1 {
            free.insert(e.start, end);
        }
    }
    for e in map.filter(|e| e.kind != 1) {
        free.remove(e.start, e.start.saturating_add(e.size));
    }
    let image = paging::kernel_image();
    free.remove(image.start - super::KERNEL_BASE, image.end - super::KERNEL_BASE);
    free.remove(0, 4096);
    let mut later = RangeSet::new();
    let tables = first_tables();
    later.insert(tables.start - super::KERNEL_BASE, tables.end - super::KERNEL_BASE);

    // SAFETY: 1. by the boot protocol; 2. integers.
    let mut modules = unsafe { items::<Module>(si.modlist, si.modules as usize) };
    for m in modules.clone() {
        free.remove(m.start, m.start + m.size);
    }
    let symbols = modules
        .next()
        .filter(|m| m.start != 0 && m.start < EARLY_LIMIT)
        .map(|m| {
            let bytes = phys_to_virt(m.start).cast::<u8>();
            // SAFETY: the loader put them there; the pages have just been kept from the allocator for ever.
            unsafe { core::slice::from_raw_parts(bytes.cast_const(), m.size as usize) }
        });

    let cmdline = match si.cmdline {
        0 => &[],
        // SAFETY: the loader's NUL-terminated string, below 4 GiB.
        at => unsafe { CStr::from_ptr(phys_to_virt(at).cast()) }.to_bytes(),
    };
    bootinfo::set(BootInfo {
        path: BootPath::Pvh,
        free,
        later,
        ram,
        rsdp: (si.version >= 1 && si.rsdp != 0).then_some(si.rsdp),
        cmdline: bootinfo::keep_cmdline(cmdline),
        symbols: symbols.filter(|s: &&[u8]| !s.is_empty()),
        boot_tsc,
    });
    crate::boot::start(EARLY_LIMIT)
}
