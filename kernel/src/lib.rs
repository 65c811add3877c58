//! Burrow.
#![cfg_attr(target_os = "none", no_std)]
#![feature(allow_internal_unsafe)] // attribute macros in crates that forbid unsafe code
#![feature(lang_items)] // the unwinder's personality is a lang item
#[macro_use]
mod shim;
#[macro_use]
mod print;
pub mod arch;
pub mod lock;
pub mod test;

pub use burrow_macros::{main, test};

#[cfg(target_os = "none")]
mod metal_stub {
    pub fn early(_si: usize) -> ! {
        crate::arch::x86_64::percpu::init(0, 0);
        drop(crate::lock::PreemptGuard::new());
        let l = crate::lock::SpinLock::new(crate::lock::Rank::Chan, 1);
        assert!(*l.lock() == 1);
        for b in b"hello\n" {
            // SAFETY: serial port.
            unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8u16, in("al") *b) };
        }
        // SAFETY: debug exit.
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
}
#[cfg(target_os = "none")]
pub use metal_stub::*;
