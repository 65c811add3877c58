//! Port I/O and model-specific registers: the four instructions everything else is made of.

use core::arch::asm;

/// Reads a byte from a port.
///
/// # Safety
/// 1. Reading this port has no effect that breaks memory safety.
#[inline(always)]
pub unsafe fn inb(port: u16) -> u8 {
    let v: u8;
    // SAFETY: 1.
    unsafe { asm!("in al, dx", in("dx") port, out("al") v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Writes a byte to a port.
///
/// # Safety
/// 1. Writing this to the port has no effect that breaks memory safety.
#[inline(always)]
pub unsafe fn outb(port: u16, v: u8) {
    // SAFETY: 1.
    unsafe { asm!("out dx, al", in("dx") port, in("al") v, options(nomem, nostack, preserves_flags)) };
}

/// Writes 16 bits to a port.
///
/// # Safety
/// 1. As for [`outb`].
#[inline(always)]
pub unsafe fn outw(port: u16, v: u16) {
    // SAFETY: 1.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") v, options(nomem, nostack, preserves_flags)) };
}

/// Writes 32 bits to a port.
///
/// # Safety
/// 1. As for [`outb`].
#[inline(always)]
pub unsafe fn outl(port: u16, v: u32) {
    // SAFETY: 1.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") v, options(nomem, nostack, preserves_flags)) };
}

/// Reads 32 bits from a port.
///
/// # Safety
/// 1. As for [`inb`].
#[inline(always)]
pub unsafe fn inl(port: u16) -> u32 {
    let v: u32;
    // SAFETY: 1.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Reads a model-specific register.
///
/// # Safety
/// 1. The register exists.
#[inline(always)]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (lo, hi): (u32, u32);
    // SAFETY: 1.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") lo, out("edx") hi, options(nomem, nostack, preserves_flags))
    };
    u64::from(hi) << 32 | u64::from(lo)
}

/// Writes a model-specific register.
///
/// # Safety
/// 1. The register exists and the value breaks nothing.
#[inline(always)]
pub unsafe fn wrmsr(msr: u32, v: u64) {
    // SAFETY: 1. Not `nomem`: a write may send an interrupt, which earlier stores must precede.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") v as u32, in("edx") (v >> 32) as u32,
             options(nostack, preserves_flags))
    };
}

/// CPUID, all zero for a leaf the processor does not have.
pub fn cpuid(leaf: u32, sub: u32) -> core::arch::x86_64::CpuidResult {
    let base = core::arch::x86_64::__cpuid(leaf & 0xf000_0000).eax;
    if leaf > base {
        return core::arch::x86_64::CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        };
    }
    core::arch::x86_64::__cpuid_count(leaf, sub)
}
