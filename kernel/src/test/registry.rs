//! The tests in this image: the linker section `.burrow_tests`, an array of references.

use alloc::vec::Vec;

use super::TestDesc;

unsafe extern "Rust" {
    static __burrow_tests_start: [&'static TestDesc; 0];
    static __burrow_tests_end: [&'static TestDesc; 0];
}

/// All tests by file position, as they read; the linker's order says nothing.
pub(crate) fn in_order() -> Vec<&'static TestDesc> {
    let mut tests = all().to_vec();
    tests.sort_by_key(|test| (test.file, test.line));
    tests
}

fn all() -> &'static [&'static TestDesc] {
    let start = (&raw const __burrow_tests_start).cast::<&'static TestDesc>();
    let end = (&raw const __burrow_tests_end).cast::<&'static TestDesc>();
    let len = (end.addr() - start.addr()) / size_of::<&TestDesc>();
    // SAFETY: kernel.ld puts both symbols around the section, 16-aligned, and only `#[burrow::test]` adds to
    // it, one reference each, 8-aligned and without gaps. The section is read-only for ever.
    unsafe { core::slice::from_raw_parts(start, len) }
}
