//! Burrow.
#![feature(lang_items)]
#![cfg_attr(target_os = "none", no_std)]
mod arch;

pub fn early(_si: usize) -> ! {
    for b in b"hello\n" {
        unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8u16, in("al") *b) };
    }
    unsafe { core::arch::asm!("out dx, eax", in("dx") 0xf4u16, in("eax") 0x10u32) };
    loop {}
}

#[panic_handler]
fn ph(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
#[lang = "eh_personality"]
extern "C" fn pers() {}
unsafe extern "C" {
    #[link_name = "bl_entry"]
    pub fn __boot_entry();
}
