//! What a part of a map is made of: links, entries, inner nodes. (`trie` says how they hang together.)
//!
//! A link is one word, so that one store changes it: null, an entry, or (tagged 1) an inner node. Both have a field for
//! the list they are thrown away in (`bag`).
#![forbid(unsafe_code)]

use core::ptr;

use crate::shim::AtomicPtr;

/// Null, an entry, or an inner node with the tag.
pub(super) type Link = AtomicPtr<()>;

const TAG: usize = 1;
const WIDTH: usize = 16;
/// The top four bits have chosen the part.
const TOP: u32 = 56;
pub(super) const LEVELS: usize = 15;

#[repr(align(8))]
pub(super) struct Entry<K, V> {
    pub(super) hash: u64,
    pub(super) next: Link,
    /// The next one in its bag, once it is unlinked.
    pub(super) bag: *mut Entry<K, V>,
    pub(super) key: K,
    pub(super) value: V,
}

#[repr(align(8))]
pub(super) struct Inner {
    pub(super) links: [Link; WIDTH],
    /// The next one in its bag, once it is unlinked.
    pub(super) bag: *mut Inner,
}

pub(super) fn null() -> Link {
    Link::new(ptr::null_mut())
}

pub(super) fn is_inner(p: *mut ()) -> bool {
    p.addr() & TAG != 0
}

/// The node behind a tagged link.
pub(super) fn inner(p: *mut ()) -> *mut Inner {
    p.wrapping_byte_sub(TAG).cast()
}

pub(super) fn tagged(n: *mut Inner) -> *mut () {
    n.cast::<()>().wrapping_byte_add(TAG)
}

pub(super) fn nibble(hash: u64, level: usize) -> usize {
    (hash >> (TOP - 4 * level as u32)) as usize % WIDTH
}
