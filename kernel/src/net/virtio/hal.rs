//! Memory for devices: contiguous frames, seen through the direct map, and uncached mappings of their registers.

use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::{
    arch::x86_64::paging,
    mem::frames::{self, Frame},
};

const PAGE: usize = 4096;

/// Contiguous memory that a device may use. Never given back: devices stay.
pub(super) struct Dma {
    start: NonNull<u8>,
    len: usize,
}

impl Dma {
    /// `len` bytes, zeroed.
    pub(super) fn new(len: usize) -> Option<Dma> {
        let start = alloc(len.div_ceil(PAGE))?.1;
        Some(Dma { start, len })
    }

    /// `len` bytes at `offset`.
    pub(super) fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset + len <= self.len, "outside the buffer area");
        // SAFETY: inside the allocation.
        unsafe { self.start.add(offset) }
    }
}

fn alloc(pages: usize) -> Option<(PhysAddr, NonNull<u8>)> {
    let first = frames::alloc_contig(pages)?;
    let phys = first.phys(); // the frame itself has no drop: it stays taken
    let at = NonNull::new(paging::phys_to_virt(phys))?;
    // SAFETY: the frames are ours and mapped.
    unsafe { at.write_bytes(0, pages * PAGE) };
    Some((phys, at))
}

/// See the file head.
pub(super) struct BurrowHal;

// SAFETY: memory is page aligned, zeroed, ours alone and mapped; registers get mappings of their own.
unsafe impl Hal for BurrowHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        alloc(pages).unwrap_or((0, NonNull::dangling())) // 0 is the library's word for no memory
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller gives it back.
        let first = unsafe { Frame::from_phys(paddr) };
        frames::free_contig(first, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        match paging::map_mmio(paddr, size).ok().and_then(NonNull::new) {
            Some(at) => at,
            None => panic!("no memory to map a device"),
        }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let at = buffer.cast::<u8>().as_ptr();
        // Only buffers of `Dma` come here, all in the direct map.
        assert!(
            (at as u64) >= paging::DIRECT_MAP && (at as u64) < paging::STACK_REGION,
            "a buffer outside the direct map is not contiguous for a device"
        );
        paging::virt_to_phys(at)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
