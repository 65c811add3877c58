//! What a part of a map has unlinked, until no reader can know it any more.
//!
//! A bag is lists through the nodes themselves: throwing away needs no memory. Writers put into `fresh`. If no reader is in
//! at all, as mostly, that is freed at once; else it is sealed and waits until every counter of readers was seen at 0
//! (`readers`), which each later edit looks after.
//!
//! A bag that may be freed is given to the caller, who drops it after unlocking: a key's and a value's drop is the user's
//! code, and may panic.

use alloc::boxed::Box;
use core::{mem, ptr};

use super::{
    node::{Entry, Inner},
    readers::{Readers, Unseen},
};

/// What was unlinked: two lists through the nodes, so that throwing away needs no memory.
pub(super) struct Bag<K, V> {
    entries: *mut Entry<K, V>,
    inners: *mut Inner,
}

// SAFETY: a bag owns what is in it.
unsafe impl<K: Send, V: Send> Send for Bag<K, V> {}

impl<K, V> Bag<K, V> {
    pub(super) const fn new() -> Self {
        Bag {
            entries: ptr::null_mut(),
            inners: ptr::null_mut(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.addr() | self.inners.addr() == 0
    }

    /// # Safety
    /// 1. It is unlinked, and in no bag.
    pub(super) unsafe fn add_entry(&mut self, e: *mut Entry<K, V>) {
        // SAFETY: 1.: writers have it alone as far as `bag` goes; readers do not look at that field.
        unsafe { (*e).bag = mem::replace(&mut self.entries, e) };
    }

    /// # Safety
    /// 1. As for `add_entry`.
    pub(super) unsafe fn add_inner(&mut self, n: *mut Inner) {
        // SAFETY: as in `add_entry`.
        unsafe { (*n).bag = mem::replace(&mut self.inners, n) };
    }
}

/// Frees what is in it: no reader knows it any more.
impl<K, V> Drop for Bag<K, V> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the bag owns it.
        let one = unsafe { self.entries.as_ref() }.is_some_and(|e| e.bag.is_null());
        if one && self.inners.is_null() {
            // SAFETY: as above, and it came from a box. (What a store leaves: it runs through no loop.)
            drop(unsafe { Box::from_raw(self.entries) });
        } else if !self.is_empty() {
            self.free_all();
        }
    }
}

impl<K, V> Bag<K, V> {
    /// As `drop`, of any number of nodes.
    #[cold]
    #[inline(never)]
    fn free_all(&mut self) {
        while !self.inners.is_null() {
            // SAFETY: the bag owns it, and it came from a box.
            let n = unsafe { Box::from_raw(self.inners) };
            self.inners = n.bag;
        }
        while !self.entries.is_null() {
            // SAFETY: as above.
            let e = unsafe { Box::from_raw(self.entries) };
            // The rest is a bag of its own, whose drop runs if this entry's unwinds.
            let rest = Bag {
                entries: e.bag,
                inners: ptr::null_mut(),
            };
            self.entries = ptr::null_mut();
            drop(e);
            self.entries = rest.entries;
            mem::forget(rest);
        }
    }
}

/// What a part has unlinked and not freed yet. Guarded by the part's lock.
pub(super) struct Garbage<K, V> {
    pub(super) fresh: Bag<K, V>,
    sealed: Bag<K, V>,
    /// What `sealed` waits for.
    unseen: Unseen,
}

impl<K, V> Garbage<K, V> {
    pub(super) const NONE: Self = Garbage {
        fresh: Bag::new(),
        sealed: Bag::new(),
        unseen: Unseen::NONE,
    };
}

/// What may be freed now. The lock is held.
#[inline(always)]
pub(super) fn collect<K, V>(g: &mut Garbage<K, V>, readers: &Readers) -> Bag<K, V> {
    match (g.fresh.is_empty(), g.sealed.is_empty()) {
        (true, true) => Bag::new(),
        (_, true) if readers.nobody() => mem::replace(&mut g.fresh, Bag::new()),
        _ => collect_slow(g, readers),
    }
}

#[cold]
#[inline(never)]
fn collect_slow<K, V>(g: &mut Garbage<K, V>, readers: &Readers) -> Bag<K, V> {
    let mut free = Bag::new();
    if !g.sealed.is_empty() {
        g.unseen = readers.tick_off(g.unseen);
        if !g.unseen.is_empty() {
            return free;
        }
        free = mem::replace(&mut g.sealed, Bag::new());
    }
    if !g.fresh.is_empty() {
        mem::swap(&mut g.sealed, &mut g.fresh);
        g.unseen = readers.tick_off(readers.seal());
        if g.unseen.is_empty() && free.is_empty() {
            free = mem::replace(&mut g.sealed, Bag::new());
        }
    }
    free
}
