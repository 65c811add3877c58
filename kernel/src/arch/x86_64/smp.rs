//! Starting the other cores.
//!
//! One after the other, in the order of the ACPI table: INIT, STARTUP, and the core begins in real mode at a page
//! below 640 KiB, goes straight to long mode on a *private* root table (identity for that page, the kernel's
//! entries above) and jumps high, where it claims the mailbox (stack and index), changes to the kernel's root,
//! sets itself up and compares clocks. The kernel's own low half is never mapped, so null faults throughout.
//!
//! The claim decides the race with our patience: the core exchanges 1 → 2, the boot core that gives up 1 → 0;
//! one wins, and a core that comes too late halts instead of running on another one's stack.
//!
//! Refused: starting all at once. It saves nothing here (no 10 ms delays: no processor of this century needs
//! them), and clocks must be compared one by one.

use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use super::{
    acpi, apic, clock, gdt, paging,
    percpu::{self, MAX_CORES},
    trap,
};
use crate::mem::{frames, map::RangeSet};

/// Bytes of a core's first stack, its g0's.
pub const STACK_SIZE: usize = 64 * 1024;

/// Page number of the trampoline, 0 = none.
static PAGE: AtomicU32 = AtomicU32::new(0);
/// 1 = offered, 2 = taken by the core, 0 = withdrawn.
static CLAIM: AtomicU32 = AtomicU32::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);
static INDEX: AtomicU64 = AtomicU64::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Index of the core that is ready for the clock comparison.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
/// Top of each core's first stack.
static STACK_TOPS: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0) }; MAX_CORES];

unsafe extern "C" {
    static ap_start: u8;
    static ap_far: u8;
    static ap_cr3: u8;
    static ap_gdtr: u8;
    static ap_end: u8;
    static boot_stack_top: u8;
}

global_asm!(
    r#"
    .section .rodata.ap, "a"
    .balign 16
    .code16
    .global ap_start
ap_start:
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16          # lgdt [ap_gdtr]
    .word ap_gdtr - ap_start
    .byte 0x66, 0xa1                      # mov eax, [ap_cr3]
    .word ap_cr3 - ap_start
    mov cr3, eax
    mov eax, 0x6a0
    mov cr4, eax
    mov ecx, 0xc0000080
    .byte 0x66, 0xa1                      # mov eax, [ap_efer]
    .word ap_efer - ap_start
    xor edx, edx
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    .byte 0x66, 0xff, 0x2e                # jmp far [ap_far]
    .word ap_far - ap_start
    .balign 8
    .global ap_far
ap_far:
    .long ap_long - ap_start              # + page, patched
    .word 8
    .balign 8
    .global ap_cr3
ap_cr3:
    .long 0                               # patched
ap_efer:
    .long 0x900
ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .global ap_gdtr
ap_gdtr:
    .word 23
    .long ap_gdt - ap_start               # + page, patched
    .balign 8
    .code64
ap_long:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    movabs rax, offset ap_high
    jmp rax
    .global ap_end
ap_end:

    .section .text.ap, "ax"
    .code64
ap_high:
    mov eax, 1
    mov ecx, 2
    lock cmpxchg [rip + {claim}], ecx
    jne 2f
    mov rax, [rip + {root}]
    mov cr3, rax
    mov rsp, [rip + {stack}]
    mov rdi, [rip + {index}]
    fninit
    push 0x1f80
    ldmxcsr [rsp]
    add rsp, 8
    xor ebp, ebp
    call {main}
2:  cli
    hlt
    jmp 2b
"#,
    claim = sym CLAIM,
    root = sym ROOT,
    stack = sym STACK,
    index = sym INDEX,
    main = sym ap_main,
);

/// Takes a page for the trampoline out of the memory map. Before the frame allocator.
pub fn reserve_trampoline(free: &mut RangeSet) {
    if let Some(at) = free.find(4096, 4096, 0x1000, 0xa_0000) {
        free.remove(at, at + 4096);
        PAGE.store((at >> 12) as u32, Ordering::Relaxed);
    }
}

/// Bottom and top of the first stack of a core that has come up: its g0 stack.
pub fn first_stack(index: usize) -> core::ops::Range<usize> {
    let top = match index {
        0 => &raw const boot_stack_top as usize,
        i => STACK_TOPS[i].load(Ordering::Relaxed) as usize,
    };
    top - STACK_SIZE..top
}

/// Copies the trampoline into place; returns the root table it loads.
fn prepare(page: u32) -> Option<u32> {
    let base = page << 12;
    let root = paging::make_startup_root(u64::from(base)).ok()?;
    let root = u32::try_from(root).ok()?;
    let start = &raw const ap_start;
    let len = &raw const ap_end as usize - start as usize;
    let to = paging::phys_to_virt(u64::from(base));
    // SAFETY: the page was reserved for this; source and length are the trampoline's.
    unsafe { core::ptr::copy_nonoverlapping(start, to, len) };
    let patch = |label: *const u8, offset: usize, add: u32| {
        let at = label as usize - start as usize + offset;
        // SAFETY: within the copy.
        let p = unsafe { to.add(at) }.cast::<u32>();
        // SAFETY: within the copy.
        let v = unsafe { p.read_unaligned() };
        // SAFETY: within the copy.
        unsafe { p.write_unaligned(v.wrapping_add(add)) };
    };
    patch(&raw const ap_far, 0, base);
    patch(&raw const ap_gdtr, 2, base);
    patch(&raw const ap_cr3, 0, root);
    Some(root)
}

/// No core will go through the trampoline (any more): its page is memory like any other.
fn release_trampoline(page: u32) {
    let base = u64::from(page) << 12;
    let mut back = RangeSet::new();
    back.insert(base, if page == 0 { base } else { base + 4096 });
    frames::add(&back);
}

/// Starts every core the tables name, up to `limit` cores in all; returns how many run. On the boot core. They
/// halt until [`open_gate`].
pub fn start_all(limit: usize) -> usize {
    let cpus = acpi::platform().cpus();
    let wanted = cpus.len().min(limit).min(MAX_CORES);
    let page = PAGE.load(Ordering::Relaxed);
    let Some(root) = (wanted > 1 && page != 0).then(|| prepare(page)).flatten() else {
        release_trampoline(page);
        return 1;
    };
    ROOT.store(paging::root(), Ordering::Relaxed);
    let (mut index, mut silent) = (1, false);
    for &id in cpus.iter().filter(|&&id| id != percpu::core(0).apic_id()) {
        if index == wanted {
            break;
        }
        if start(index, id, page as u8) {
            index += 1;
        } else {
            crate::println!("smp: core with APIC id {id} did not start");
            silent = true;
        }
    }
    if !silent {
        release_trampoline(page);
        paging::free_startup_root(u64::from(root), u64::from(page) << 12);
    }
    index
}

fn start(index: usize, id: u32, page: u8) -> bool {
    let Some(stack) = frames::alloc_contig(STACK_SIZE / 4096) else {
        return false;
    };
    let top = stack.as_ptr() as u64 + STACK_SIZE as u64;
    STACK_TOPS[index].store(top, Ordering::Relaxed);
    STACK.store(top, Ordering::Relaxed);
    INDEX.store(index as u64, Ordering::Relaxed);
    CLAIM.store(1, Ordering::Release); // pairs with the locked exchange in `ap_high`
    apic::send_init(id);
    // The second STARTUP is for processors that lost the first; seconds are for busy hosts.
    for patience_ns in [1_000_000, 5_000_000_000] {
        apic::send_startup(id, page);
        let end = clock::now_ns() + patience_ns;
        while CLAIM.load(Ordering::Acquire) != 2 && clock::now_ns() < end {
            core::hint::spin_loop();
        }
        if CLAIM.load(Ordering::Acquire) == 2 {
            break;
        }
    }
    if CLAIM
        .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
    {
        frames::free_contig(stack, STACK_SIZE / 4096);
        return false;
    }
    while ALIVE.load(Ordering::Acquire) != index {
        core::hint::spin_loop(); // pairs with the Release in `ap_main`
    }
    clock::compare_on_bsp(index);
    true
}

/// May the started cores enter the scheduler?
static GATE: AtomicBool = AtomicBool::new(false);

/// A started core halts here until [`open_gate`]. (Spinning, 63 cores of a machine with two would take the
/// boot core's time: 27 s to main, seen.)
fn wait_at_gate() {
    loop {
        percpu::irq_off();
        if GATE.load(Ordering::Acquire) {
            return; // pairs with the Release in `open_gate`
        }
        // SAFETY: no window between check and halt: `sti` takes effect after the next instruction. The only
        // interrupt that comes is the one of `open_gate`.
        unsafe { asm!("sti", "hlt", options(nomem, nostack)) };
    }
}

/// Lets the started cores into the scheduler. Once, when the interrupt hooks are set: it wakes by IPI.
pub fn open_gate() {
    GATE.store(true, Ordering::Release); // pairs with the Acquire in `wait_at_gate`
    for i in 1..percpu::core_count() {
        apic::send_ipi(percpu::core(i).apic_id(), trap::VEC_RESCHED);
    }
}

/// First Rust code of the other cores.
extern "C" fn ap_main(index: usize) -> ! {
    percpu::init(index, apic::own_id());
    paging::init_on_ap();
    gdt::init_on_each_core(index);
    trap::load_idt();
    apic::init_on_each_core();
    clock::init_on_each_core(index);
    ALIVE.store(index, Ordering::Release); // pairs with the Acquire in `start`
    clock::compare_on_ap(index);
    wait_at_gate();
    crate::boot::start_core(index)
}
