//! One part of a map: a trie of hashes, read without a lock, changed under one.
//!
//! A link is null, an entry, or (tagged 1) an inner node with 16 links. Four bits of the hash choose the link on each
//! level, from the top. Entries with *the same* hash hang on one another; entries whose hashes agree only so far
//! get as many inner nodes as it takes to tell them apart. A change is one store of one link:
//!
//! | change | store |
//! | --- | --- |
//! | new key at a null link | the entry |
//! | new key beside one with the same hash | the entry, in front of it |
//! | new key beside one with another hash | inner nodes that hold both |
//! | new value | an entry that takes the old one's place |
//! | delete | what hung on the entry; then, going up, an inner node that is empty or holds one entry is replaced by null or that entry |
//!
//! So a reader always finds the trie in order, as it was at some moment of its way. Entries never change; what a store
//! unlinks goes into a bag and is freed when no reader can know it any more (`bag`, `readers`).
//!
//! Without memory a change leaves the trie as it was and panics, as any allocation does, after unlocking.
//!
//! Memory ordering: links are stored Release and read Acquire: who sees a node sees what is in it. Writers are ordered by
//! the lock.
//!
//! Refused: Go's earlier design, a read-only map beside a dirty one, with promotion after so many misses (each promotion
//! copies the map, and a key that comes and goes pays for the lock twice); and resizing tables (a resize stops all writers).

use alloc::boxed::Box;
use core::{cell::UnsafeCell, ptr};

use super::{
    bag::{Bag, Garbage, collect},
    node::{Entry, Inner, LEVELS, Link, inner, is_inner, nibble, null, tagged},
    readers::Readers,
};
use crate::{
    mem::try_box,
    shim::{AtomicUsize, Ordering},
    sync::RawMutex,
};

/// One of the parts of a map.
#[repr(align(64))]
pub(super) struct Part<K, V> {
    lock: RawMutex,
    root: Link,
    len: AtomicUsize,
    garbage: UnsafeCell<Garbage<K, V>>,
}

// SAFETY: readers share entries (`Sync`), writers move them in and drop them (`Send`); `garbage` is guarded by `lock`.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Part<K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Part<K, V> {}

/// What a writer wants done with the key it looked up.
pub(super) enum Edit<K, V> {
    Keep,
    Put(K, V),
    Remove,
}

impl<K, V> Edit<K, V> {
    /// `Put` of both, which are there.
    #[inline]
    pub(super) fn put(key: &mut Option<K>, value: &mut Option<V>) -> Self {
        match (key.take(), value.take()) {
            (Some(k), Some(v)) => Edit::Put(k, v),
            _ => unreachable!("a key or a value put twice"),
        }
    }
}

/// Unlocks a part, however the user's comparison ends.
struct Locked<'a>(&'a RawMutex);

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.unlock();
    }
}

impl<K, V> Part<K, V> {
    shim_const_fn! {
        pub(super) fn new() -> Self {
            Part {
                lock: RawMutex::new(),
                root: Link::new(ptr::null_mut()),
                len: AtomicUsize::new(0),
                garbage: UnsafeCell::new(Garbage::NONE),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The entry with this hash whose key is `same`.
    ///
    /// # Safety
    /// 1. The caller is counted in as a reader (or holds the lock) as long as it uses what it gets.
    #[inline]
    pub(super) unsafe fn find<'a>(&self, hash: u64, same: impl Fn(&K) -> bool) -> Option<&'a Entry<K, V>> {
        // Acquire, here and below: pairs with the Release stores of links.
        let mut p = self.root.load(Ordering::Acquire);
        let mut way = hash << 4; // the next nibble at the top
        while is_inner(p) {
            // SAFETY: 1.: linked when we came by, so not freed.
            let n = unsafe { &*inner(p) };
            p = n.links[(way >> 60) as usize].load(Ordering::Acquire);
            way <<= 4;
        }
        let mut e = p.cast::<Entry<K, V>>();
        // SAFETY: 1., as above.
        while let Some(entry) = unsafe { e.as_ref() } {
            if entry.hash == hash && same(&entry.key) {
                return Some(entry);
            }
            e = entry.next.load(Ordering::Acquire).cast();
        }
        None
    }

    /// Looks `hash` up under the lock and does what `decide` says of the entry found. Returns what was freed, for the
    /// caller to drop.
    pub(super) fn edit(
        &self,
        readers: &Readers,
        hash: u64,
        same: impl Fn(&K) -> bool,
        decide: impl FnOnce(Option<&Entry<K, V>>) -> Edit<K, V>,
    ) -> Bag<K, V> {
        self.lock.lock();
        let locked = Locked(&self.lock);
        let mut level = 0;
        let mut way = hash << 4; // the next nibble at the top
        let mut link = &self.root;
        let first = loop {
            let p = link.load(Ordering::Relaxed);
            if !is_inner(p) {
                break p.cast::<Entry<K, V>>();
            }
            // SAFETY: linked, and we hold the lock.
            link = unsafe { &(*inner(p)).links[(way >> 60) as usize] };
            way <<= 4;
            level += 1;
        };
        // All entries of a chain have one hash. `at` is the link that leads to the entry, or to the end.
        // SAFETY: linked, and we hold the lock.
        let same_hash = unsafe { first.as_ref() }.is_some_and(|e| e.hash == hash);
        let mut at = link;
        let mut found: *mut Entry<K, V> = if same_hash { first } else { ptr::null_mut() };
        // SAFETY: as above.
        while let Some(e) = unsafe { found.as_ref() } {
            if same(&e.key) {
                break;
            }
            at = &e.next;
            found = at.load(Ordering::Relaxed).cast();
        }
        // SAFETY: as above.
        let edit = decide(unsafe { found.as_ref() });
        // SAFETY: guarded by the lock.
        let garbage = unsafe { &mut *self.garbage.get() };
        match edit {
            Edit::Keep => {}
            Edit::Put(key, value) => {
                let new = Entry {
                    hash,
                    next: null(),
                    bag: ptr::null_mut(),
                    key,
                    value,
                };
                let new = match try_box(new) {
                    Ok(b) => Box::into_raw(b),
                    Err(new) => {
                        drop(locked); // before the user's drops
                        no_memory(new)
                    }
                };
                // SAFETY: just made, not linked yet.
                let next = unsafe { &(*new).next };
                // SAFETY: linked, and we hold the lock.
                if let Some(old) = unsafe { found.as_ref() } {
                    next.store(old.next.load(Ordering::Relaxed), Ordering::Relaxed);
                    at.store(new.cast(), Ordering::Release);
                    // SAFETY: 1. unlinked by the store.
                    unsafe { garbage.fresh.add_entry(found) };
                } else {
                    if first.is_null() || same_hash {
                        next.store(first.cast(), Ordering::Relaxed);
                        link.store(new.cast(), Ordering::Release);
                    } else {
                        // SAFETY: as above.
                        let other = unsafe { (*first).hash };
                        let Some(both) = branch(level, (hash, new.cast()), (other, first.cast())) else {
                            // SAFETY: from a box above, and linked nowhere.
                            let new = unsafe { Box::from_raw(new) };
                            drop(locked); // before the user's drops
                            no_memory(new)
                        };
                        link.store(both, Ordering::Release);
                    }
                    self.len.fetch_add(1, Ordering::Relaxed); // a figure
                }
            }
            Edit::Remove => {
                // SAFETY: linked, and we hold the lock.
                if let Some(old) = unsafe { found.as_ref() } {
                    at.store(old.next.load(Ordering::Relaxed), Ordering::Release);
                    // SAFETY: 1. unlinked by the store.
                    unsafe { garbage.fresh.add_entry(found) };
                    self.len.fetch_sub(1, Ordering::Relaxed);
                    self.prune(hash, garbage);
                }
            }
        }
        let free = collect(garbage, readers);
        drop(locked);
        free
    }

    /// Inner nodes on the way to `hash` that are empty or hold one entry only go away. The lock is held.
    fn prune(&self, hash: u64, garbage: &mut Garbage<K, V>) {
        // The way down again: only deleting needs it.
        let mut path: [*mut Inner; LEVELS] = [ptr::null_mut(); LEVELS];
        let mut levels = 0;
        let mut p = self.root.load(Ordering::Relaxed);
        while is_inner(p) {
            path[levels] = inner(p);
            // SAFETY: linked, and the lock is held.
            p = unsafe { (*inner(p)).links[nibble(hash, levels)].load(Ordering::Relaxed) };
            levels += 1;
        }
        for level in (0..levels).rev() {
            // SAFETY: as above.
            let links = unsafe { &(*path[level]).links };
            let mut left = links
                .iter()
                .map(|l| l.load(Ordering::Relaxed))
                .filter(|p| !p.is_null());
            let one = left.next().unwrap_or(ptr::null_mut());
            if is_inner(one) || left.next().is_some() {
                return;
            }
            let above = match level {
                0 => &self.root,
                // SAFETY: as above.
                _ => unsafe { &(*path[level - 1]).links[nibble(hash, level - 1)] },
            };
            above.store(one, Ordering::Release);
            // SAFETY: 1. unlinked by the store.
            unsafe { garbage.fresh.add_inner(path[level]) };
        }
    }

    /// Removes everything.
    pub(super) fn clear(&self, readers: &Readers) -> Bag<K, V> {
        self.lock.lock();
        let _locked = Locked(&self.lock);
        let root = self.root.swap(ptr::null_mut(), Ordering::AcqRel);
        self.len.store(0, Ordering::Relaxed);
        // SAFETY: guarded by the lock.
        let garbage = unsafe { &mut *self.garbage.get() };
        // SAFETY: 1. unlinked by the exchange.
        unsafe { throw_away(root, &mut garbage.fresh) };
        collect(garbage, readers)
    }

    /// Calls `f` with every entry until it says `false`. Did it ever?
    ///
    /// # Safety
    /// 1. The caller is counted in as a reader.
    pub(super) unsafe fn walk(&self, f: &mut dyn FnMut(&Entry<K, V>) -> bool) -> bool {
        // SAFETY: 1. is passed on.
        unsafe { walk(self.root.load(Ordering::Acquire), f) }
    }
}

impl<K, V> Drop for Part<K, V> {
    fn drop(&mut self) {
        let root = self.root.load(Ordering::Relaxed); // nobody else has the map any more
        // SAFETY: 1. nobody else can reach it.
        unsafe { throw_away(root, &mut self.garbage.get_mut().fresh) };
    }
}

/// The panic of an allocation that failed. What was to go into the map is dropped by it, with no lock held.
#[cold]
#[inline(never)]
fn no_memory<T>(_not_stored: T) -> ! {
    alloc::alloc::handle_alloc_error(core::alloc::Layout::new::<T>())
}

/// Inner nodes that tell two chains with different hashes apart, from `level` on. `None` without memory.
fn branch(level: usize, a: (u64, *mut ()), b: (u64, *mut ())) -> Option<*mut ()> {
    let node = try_box(Inner {
        links: core::array::from_fn(|_| null()),
        bag: ptr::null_mut(),
    })
    .ok()?;
    let (i, j) = (nibble(a.0, level), nibble(b.0, level));
    if i == j {
        node.links[i].store(branch(level + 1, a, b)?, Ordering::Relaxed);
    } else {
        node.links[i].store(a.1, Ordering::Relaxed);
        node.links[j].store(b.1, Ordering::Relaxed);
    }
    Some(tagged(Box::into_raw(node)))
}

/// # Safety
/// 1. Nothing below `p` is linked any more.
unsafe fn throw_away<K, V>(p: *mut (), bag: &mut Bag<K, V>) {
    if is_inner(p) {
        // SAFETY: 1.: ours alone but for readers, who only read.
        for l in unsafe { &(*inner(p)).links } {
            // SAFETY: 1. is passed on.
            unsafe { throw_away(l.load(Ordering::Relaxed), bag) };
        }
        // SAFETY: 1. unlinked.
        return unsafe { bag.add_inner(inner(p)) };
    }
    let mut e = p.cast::<Entry<K, V>>();
    while !e.is_null() {
        // SAFETY: as above.
        let next = unsafe { (*e).next.load(Ordering::Relaxed) };
        // SAFETY: 1. unlinked.
        unsafe { bag.add_entry(e) };
        e = next.cast();
    }
}

/// # Safety
/// 1. The caller is counted in as a reader.
unsafe fn walk<K, V>(p: *mut (), f: &mut dyn FnMut(&Entry<K, V>) -> bool) -> bool {
    if is_inner(p) {
        // SAFETY: 1.: linked when we came by, so not freed.
        let links = unsafe { &(*inner(p)).links };
        // SAFETY: 1. is passed on.
        return links
            .iter()
            .all(|l| unsafe { walk(l.load(Ordering::Acquire), f) });
    }
    let mut e = p.cast::<Entry<K, V>>();
    // SAFETY: as above.
    while let Some(entry) = unsafe { e.as_ref() } {
        if !f(entry) {
            return false;
        }
        e = entry.next.load(Ordering::Acquire).cast();
    }
    true
}
