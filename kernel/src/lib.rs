//! Burrow.
#![cfg_attr(target_os = "none", no_std)]
#![feature(allow_internal_unsafe)] // attribute macros in crates that forbid unsafe code
#![feature(lang_items)] // the unwinder's personality is a lang item
#![feature(core_intrinsics)] // catch_unwind: there is no stable way to catch without std
#![cfg_attr(target_os = "none", feature(alloc_error_handler, panic_can_unwind))] // DECISIONS 12: out of memory is a panic; tell aborts apart
#![allow(
    internal_features,
    clippy::allow_attributes,
    reason = "the two above; a runtime has to"
)]
extern crate alloc;

#[macro_use]
mod shim;
#[macro_use]
mod print;
pub mod arch;
pub mod lock;
pub mod panic;
pub mod test;

pub use burrow_macros::{main, test};
pub use panic::{Panic, goexit, panic_any, recover};

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

    unsafe extern "C" {
        #[link_name = "bl_entry"]
        pub fn __boot_entry();
    }
}
#[cfg(target_os = "none")]
pub use metal_stub::*;

/// Placeholder until the allocator lands: delete with its `#[global_allocator]`.
#[cfg(target_os = "none")]
mod heap_stub {
    use core::{
        alloc::{GlobalAlloc, Layout},
        sync::atomic::{AtomicUsize, Ordering},
    };
    const SIZE: usize = 256 * 1024;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    #[repr(align(4096))]
    struct Pool(core::cell::UnsafeCell<[u8; SIZE]>);
    // SAFETY: handed out in disjoint pieces.
    unsafe impl Sync for Pool {}
    static POOL: Pool = Pool(core::cell::UnsafeCell::new([0; SIZE]));
    struct Bump;
    // SAFETY: pieces are aligned, disjoint and never reused.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, l: Layout) -> *mut u8 {
            let Ok(at) = NEXT.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                let at = n.next_multiple_of(l.align());
                at.checked_add(l.size()).filter(|&end| end <= SIZE)
            }) else {
                return core::ptr::null_mut();
            };
            POOL.0
                .get()
                .cast::<u8>()
                .wrapping_add(at.next_multiple_of(l.align()))
        }
        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }
    #[global_allocator]
    static HEAP: Bump = Bump;
}
