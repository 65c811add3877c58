//! PVH entry: from the 32-bit physical entry point to 64-bit Rust at the linked address.
//!
//! QEMU `-kernel`, Firecracker and Cloud Hypervisor find the Xen note below, load the ELF by physical
//! address and jump here in 32-bit protected mode, paging off, `EBX` = physical address of
//! `hvm_start_info`. The stub builds the first page tables (identity and direct map of 4 GiB with
//! 2 MiB pages, kernel image at -2 GiB), turns on PAE, long mode, SSE, and jumps high. 32-bit code may
//! only name symbols as `sym - KERNEL_BASE`.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start32 - {base}

    .section .bss.boot, "aw", @nobits
    .align 4096
boot_pml4:   .skip 4096
boot_pdpt_lo: .skip 4096
boot_pdpt_hi: .skip 4096
boot_pds:    .skip 4096 * 4
    .align 16
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
    .global bl_entry
bl_entry:
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

/// First Rust code on the PVH path. `start_info` is the physical address of `hvm_start_info`.
extern "C" fn pvh_main(start_info: usize) -> ! {
    crate::early(start_info)
}
