//! A kernel that misbehaves on command: the runner's own tests boot it and must name what it does.
//!
//! Pure 32-bit assembly behind the PVH entry, so that it depends on nothing of the runtime it helps to test.
//! It looks for `bad=X` on the kernel command line, prints the message of mode X (a real protocol exchange up to
//! the misdeed) and then does the mode's last act. After a reboot (`test_from=` on the command line) it behaves, so
//! that the runner can be seen to go on.
//!
//! | mode | prints | last act |
//! | --- | --- | --- |
//! | `g` | a good run of two tests | exit 0 |
//! | `f` | one test passes, one fails | exit 1 |
//! | `h` | starts test two | spins for ever |
//! | `t` | starts test two | triple fault |
//! | `e` | starts test two | exit 0, as if all were well |
//! | `c` | starts test two | program exit 2 (a crash) |
//! | `n` | nothing | exit 0 |
//! | `s` | nothing | spins for ever |
//! | `w` | a good run, `BURROW-EXIT` twice | exit 0 |
//! | `q` | a good run without `BURROW-EXIT` | exit 0 |
//! | `l` | a good run that says exit 0 | the port says 1 |
//! | `m` | a plan of two, one result, end | exit 0 |
//! | `x` | test two should exit 2 and say "deadlock" | does so |
//! | `y` | test two should exit 2 and say "deadlock" | exits 2 in silence |
#![no_std]
#![no_main]
#![feature(lang_items)] // the target unwinds, so a personality must exist even where nothing panics
#![allow(internal_features, reason = "lang_items")]

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start32 - {base}

    .section .bss.boot, "aw", @nobits
    .align 16
    .skip 4096
stack_top:

    .section .rodata.modes, "a"
plan:   .ascii "hello from a bad kernel\n\036BURROW-TEST plan 2 2 0\n\036BURROW-TEST start bad::one 5 - \n"
        .asciz "one says hi\n\036BURROW-TEST ok bad::one 100\n"
two:    .asciz "\036BURROW-TEST start bad::two 1 - \ntwo was here\n"
twox:   .asciz "\036BURROW-TEST start bad::two 1 2 deadlock\n"
dead:   .asciz "fatal error: deadlock!\n"
ok2:    .asciz "\036BURROW-TEST ok bad::two 100\n"
bad2:   .asciz "\036BURROW-TEST failed bad::two 100 two is \\nnot one\n"
endok:  .asciz "\036BURROW-TEST end 2 0 0\n"
endbad: .asciz "\036BURROW-TEST end 1 1 0\n"
exit0:  .asciz "BURROW-EXIT 0\n"
exit1:  .asciz "\036BURROW-EXIT 1\n"
exit2:  .asciz "BURROW-EXIT 2\n"
again:  .asciz "\036BURROW-TEST plan 2 2 2\n\036BURROW-TEST end 0 0 0\nBURROW-EXIT 0\n"

    .section .text.boot, "ax"
    .code32
    .global pvh_start32
pvh_start32:
    cli
    cld
    mov esp, offset stack_top - {base}
    mov esi, [ebx + 24]             # hvm_start_info.cmdline_paddr
    xor bl, bl                      # mode
    xor bh, bh                      # set on a reboot
scan:
    cmp byte ptr [esi], 0
    je  scanned
    cmp dword ptr [esi], 0x3d646162 # "bad="
    jne 1f
    mov bl, [esi + 4]
1:  cmp dword ptr [esi], 0x6d6f7266 # "from"
    jne 2f
    mov bh, 1
2:  inc esi
    jmp scan
scanned:
    test bh, bh
    jz  3f
    mov esi, offset again - {base}
    call print
    mov eax, 0x10
    jmp quit
3:  cmp bl, 'n'
    mov eax, 0x10
    je  quit
    cmp bl, 's'
    je  spin
    mov esi, offset plan - {base}
    call print
    cmp bl, 'f'
    je  fails
    cmp bl, 'h'
    je  hangs
    cmp bl, 't'
    je  triple
    cmp bl, 'e'
    je  early
    cmp bl, 'c'
    je  crash
    cmp bl, 'm'
    je  nomore
    cmp bl, 'x'
    je  exits
    cmp bl, 'y'
    je  exits_silent
    mov esi, offset two - {base}
    call print
    mov esi, offset ok2 - {base}
    call print
nomore:
    mov esi, offset endok - {base}
    call print
    cmp bl, 'q'
    mov eax, 0x10
    je  quit
    mov esi, offset exit0 - {base}
    call print
    cmp bl, 'l'
    mov eax, 0x11
    je  quit
    cmp bl, 'w'
    jne 4f
    mov esi, offset exit0 - {base}
    call print
4:  mov eax, 0x10
    jmp quit

fails:
    mov esi, offset two - {base}
    call print
    mov esi, offset bad2 - {base}
    call print
    mov esi, offset endbad - {base}
    call print
    mov esi, offset exit1 - {base}
    call print
    mov eax, 0x11
    jmp quit
hangs:
    mov esi, offset two - {base}
    call print
spin:
    pause
    jmp spin
triple:
    mov esi, offset two - {base}
    call print
    lidt [no_idt - {base}]
    ud2
early:
    mov esi, offset two - {base}
    call print
    mov esi, offset exit0 - {base}
    call print
    mov eax, 0x10
    jmp quit
crash:
    mov esi, offset two - {base}
    call print
    mov esi, offset exit2 - {base}
    call print
    mov eax, 0x12
    jmp quit
exits:
    mov esi, offset twox - {base}
    call print
    mov esi, offset dead - {base}
    call print
    mov esi, offset exit2 - {base}
    call print
    mov eax, 0x12
    jmp quit
exits_silent:
    mov esi, offset twox - {base}
    call print
    mov esi, offset exit2 - {base}
    call print
    mov eax, 0x12
quit:
    mov dx, 0xf4
    out dx, eax
    jmp spin

print:                              # esi = NUL-terminated text
    mov dx, 0x3fd
5:  in  al, dx
    test al, 0x20
    jnz 6f
    pause
    jmp 5b
6:  lodsb
    test al, al
    jz  7f
    mov dx, 0x3f8
    out dx, al
    jmp print
7:  ret

    .align 8
no_idt: .word 0
        .long 0

    .code64
    .global bl_entry
bl_entry:
    ud2
"#,
    base = const 0xffff_ffff_8000_0000_u64,
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[lang = "eh_personality"]
extern "C" fn personality() {}
