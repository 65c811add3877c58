//! `atomic::Value`: a whole value that is read and replaced without a lock. For configurations that are copied,
//! changed and put back.
//!
//! A reader gets a [`Snapshot`]: the value as it was, for as long as the snapshot is kept, whatever is stored meanwhile.
//! The trouble of such a thing is the moment between reading the pointer and counting oneself as its user, in
//! which a writer might free it. Here the two are one step: pointer and count of readers share a word.
//!
//! ```text
//!  word:  | pointer to the node: 48 bits | loads since it is here: 16 bits |
//!  node:  | refs | value |      refs = BIAS per cell it is in + loads that were moved here - snapshots dropped
//!
//!  load   word+1: the node is ours, one addition
//!  swap   exchange the word, then refs += loads - BIAS: what the word knew, the node knows now
//!  drop   refs-1; 0: nobody has it and it is in no cell: free it
//! ```
//! While a node is in a cell, BIAS keeps its refs from reaching 0, so no snapshot's drop frees it, although the loads are
//! not in `refs` yet. When it has left, refs is exactly the number of snapshots alive.
//!
//! The 16 bits last for 65,535 loads between two stores, so a load that finds `FOLD` or more of them moves `FOLD` to
//! the node: refs first, then the word. Between its addition and that a reader is not preempted, so at most one per core
//! is there and the count stays far below its end.
//!
//! Memory ordering: `swap` is AcqRel; its Release half publishes the node to the Acquire of `load`. A snapshot's drop is
//! Release and the last one fences Acquire before it frees: all uses happen before.
//!
//! Refused: `Arc` and hazard pointers (a load is then two read-modify-writes and a fence, not one addition).

use alloc::boxed::Box;
use core::{fmt, marker::PhantomData, ops::Deref, ptr::NonNull};

use crate::{
    lock::PreemptGuard,
    shim::{AtomicU64, Ordering, fence},
};

/// What being in a cell counts for: more than there can be snapshots.
const BIAS: u64 = 1 << 62;
const COUNT: u64 = 0xffff;
#[cfg(not(loom))]
const FOLD: u64 = 0x4000;
#[cfg(loom)]
const FOLD: u64 = 2;

struct Node<T> {
    refs: AtomicU64,
    value: T,
}

fn pack<T>(node: NonNull<Node<T>>) -> u64 {
    (node.as_ptr().expose_provenance() as u64) << 16
}

fn unpack<T>(word: u64) -> NonNull<Node<T>> {
    // Arithmetic shift: addresses have their 48th bit repeated above it.
    let p = core::ptr::with_exposed_provenance_mut((word as i64 >> 16) as usize);
    // SAFETY: only addresses of nodes are packed.
    unsafe { NonNull::new_unchecked(p) }
}

/// The value of a [`Value`] as it was when loaded. Cheap to clone.
///
/// ```
/// let v = burrow::sync::Value::new("a".to_string());
/// let (a, b) = (v.load(), v.load().clone());
/// assert_eq!(a.len() + b.len(), 2);
/// ```
pub struct Snapshot<T> {
    node: NonNull<Node<T>>,
    _owns: PhantomData<Node<T>>,
}

// SAFETY: like `Arc`: shared by its holders (`Sync`), dropped by any of them (`Send`).
unsafe impl<T: Send + Sync> Send for Snapshot<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Snapshot<T> {}

impl<T> Snapshot<T> {
    /// A value that is in no cell yet.
    ///
    /// ```
    /// use burrow::sync::{Snapshot, Value};
    /// let v = Value::new(1);
    /// let two = Snapshot::new(2);
    /// v.store(two.clone());
    /// assert!(Snapshot::same(&v.load(), &two));
    /// ```
    pub fn new(value: T) -> Self {
        Self::of(
            Box::leak(Box::new(Node {
                refs: AtomicU64::new(1),
                value,
            }))
            .into(),
        )
    }

    /// Takes over one reference.
    fn of(node: NonNull<Node<T>>) -> Self {
        Snapshot {
            node,
            _owns: PhantomData,
        }
    }

    fn node(&self) -> &Node<T> {
        // SAFETY: our reference keeps it.
        unsafe { self.node.as_ref() }
    }

    /// Gives the reference to a cell.
    fn into_cell(self) -> u64 {
        self.node().refs.fetch_add(BIAS - 1, Ordering::Relaxed); // published by the exchange
        let word = pack(self.node);
        core::mem::forget(self);
        word
    }

    /// Are these the same value in the same place, not merely equal ones?
    ///
    /// ```
    /// use burrow::sync::Snapshot;
    /// let (a, b) = (Snapshot::new(1), Snapshot::new(1));
    /// assert!(*a == *b && !Snapshot::same(&a, &b) && Snapshot::same(&a, &a.clone()));
    /// ```
    pub fn same(a: &Self, b: &Self) -> bool {
        a.node == b.node
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        self.node().refs.fetch_add(1, Ordering::Relaxed); // we have one: it stays
        Self::of(self.node)
    }
}

impl<T> Drop for Snapshot<T> {
    fn drop(&mut self) {
        // Release: our uses, before whoever frees it.
        if self.node().refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire); // pairs with the Release of all the others
            // SAFETY: in no cell and nobody else's; it came from a box.
            drop(unsafe { Box::from_raw(self.node.as_ptr()) });
        }
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.node().value
    }
}

impl<T> From<T> for Snapshot<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Display> fmt::Display for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A value that is read and replaced as a whole.
///
/// ```
/// use burrow::sync::atomic::Value;
/// let limits = Value::new(vec![10, 20]);
/// let before = limits.load();
/// limits.store(vec![30]);
/// assert_eq!((*before).as_slice(), [10, 20]);
/// limits.update(|l| l.iter().map(|x| x + 1).collect());
/// assert_eq!((*limits.load()).as_slice(), [31]);
/// ```
///
/// A value of another type does not go in, and there is always one:
///
/// ```compile_fail,E0277
/// burrow::sync::Value::new(10_u32).store("eleven");
/// ```
pub struct Value<T> {
    word: AtomicU64,
    _owns: PhantomData<Node<T>>,
}

// SAFETY: readers share the value (`Sync`), and any of them may come to drop it (`Send`).
unsafe impl<T: Send + Sync> Sync for Value<T> {}
// SAFETY: owning the cell is owning the value.
unsafe impl<T: Send + Sync> Send for Value<T> {}

impl<T> Value<T> {
    /// A cell with `value` in it.
    ///
    /// ```
    /// let v = burrow::sync::Value::new([1, 2]);
    /// assert_eq!(v.load()[1], 2);
    /// ```
    pub fn new(value: T) -> Self {
        Value {
            word: AtomicU64::new(Snapshot::new(value).into_cell()),
            _owns: PhantomData,
        }
    }

    /// The value as it is now. Never waits, whatever others do.
    ///
    /// ```
    /// let v = burrow::sync::Value::new(1);
    /// let before = v.load();
    /// v.store(2);
    /// assert_eq!((*before, *v.load()), (1, 2));
    /// ```
    #[inline]
    pub fn load(&self) -> Snapshot<T> {
        let _here = PreemptGuard::new();
        // Acquire: pairs with the Release half of the exchange that put it here.
        let old = self.word.fetch_add(1, Ordering::Acquire);
        let loaded = Snapshot::of(unpack(old));
        if old & COUNT >= FOLD {
            self.fold(&loaded);
        }
        loaded
    }

    /// Moves `FOLD` loads from the word to the node, if it is still here and nobody has done it.
    #[cold]
    fn fold(&self, loaded: &Snapshot<T>) {
        let refs = &loaded.node().refs;
        let mut word = self.word.load(Ordering::Relaxed);
        while word & !COUNT == pack(loaded.node) && word & COUNT >= FOLD {
            refs.fetch_add(FOLD, Ordering::Relaxed);
            // Release: the addition above, before whoever takes the node out.
            match self
                .word
                .compare_exchange_weak(word, word - FOLD, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => {
                    // We have the node loaded: it does not come to 0 by this.
                    refs.fetch_sub(FOLD, Ordering::Relaxed);
                    word = now;
                }
            }
        }
    }

    /// What a word that was taken out of the cell says about its node; one reference is the caller's.
    fn taken_out(word: u64) -> Snapshot<T> {
        let s = Snapshot::of(unpack::<T>(word));
        let moved = (word & COUNT).wrapping_sub(BIAS).wrapping_add(1);
        s.node().refs.fetch_add(moved, Ordering::Relaxed); // with the reference that this makes ours it cannot be 0
        s
    }

    /// Puts `new` in.
    ///
    /// ```
    /// let v = burrow::sync::Value::new(1);
    /// v.store(2);
    /// assert_eq!(*v.load(), 2);
    /// ```
    pub fn store(&self, new: impl Into<Snapshot<T>>) {
        drop(self.swap(new));
    }

    /// Puts `new` in; what was there comes back.
    ///
    /// ```
    /// let v = burrow::sync::Value::new(1);
    /// assert_eq!((*v.swap(2), *v.load()), (1, 2));
    /// ```
    pub fn swap(&self, new: impl Into<Snapshot<T>>) -> Snapshot<T> {
        // AcqRel: publishes the new node; the old one's counts are ours to see.
        Self::taken_out(self.word.swap(new.into().into_cell(), Ordering::AcqRel))
    }

    /// Puts `new` in if what is there is still `old`, the same and not merely equal. Did it?
    ///
    /// ```
    /// let v = burrow::sync::atomic::Value::new(1);
    /// let one = v.load();
    /// assert!(v.compare_and_swap(&one, 2));
    /// assert!(!v.compare_and_swap(&one, 3));
    /// assert_eq!(*v.load(), 2);
    /// ```
    pub fn compare_and_swap(&self, old: &Snapshot<T>, new: impl Into<Snapshot<T>>) -> bool {
        let new = new.into();
        let (want, put) = (pack(old.node), pack(new.node));
        let refs = &new.node().refs;
        refs.fetch_add(BIAS, Ordering::Relaxed); // published by the exchange
        let mut word = self.word.load(Ordering::Relaxed);
        // `old` is alive, so its address is nobody else's.
        while word & !COUNT == want {
            // AcqRel: as in `swap`. It fails when somebody loaded meanwhile: the count is part of the word.
            match self
                .word
                .compare_exchange_weak(word, put, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    drop(Self::taken_out(word));
                    return true;
                }
                Err(now) => word = now,
            }
        }
        refs.fetch_sub(BIAS, Ordering::Relaxed); // `new` is still ours: not 0
        false
    }

    /// Replaces the value by what `f` makes of it; again if somebody else was faster.
    ///
    /// ```
    /// let v = burrow::sync::Value::new(1);
    /// burrow::scope(|s| (0..4).for_each(|_| _ = s.spawn(|| v.update(|n| n + 1))));
    /// assert_eq!(*v.load(), 5);
    /// ```
    pub fn update(&self, mut f: impl FnMut(&T) -> T) {
        loop {
            // not a spin: who fails has seen somebody else succeed
            let old = self.load();
            if self.compare_and_swap(&old, f(&old)) {
                return;
            }
        }
    }
}

impl<T> Drop for Value<T> {
    fn drop(&mut self) {
        drop(Self::taken_out(self.word.load(Ordering::Acquire)));
    }
}

impl<T: Default> Default for Value<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&*self.load()).finish()
    }
}
