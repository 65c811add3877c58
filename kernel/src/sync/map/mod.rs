//! `Map`: a map that many goroutines use at once, read without a lock. Go's `sync.Map`.
//!
//! Sixteen parts, by the top four bits of a key's hash; each a trie of hashes (`trie`) with a lock for its writers. Reading
//! takes none: it counts itself in (`readers`), follows links, and counts itself out. So readers never wait, and a
//! writer waits for writers of the same sixteenth only. A value comes out as a clone, or is looked at in place
//! ([`Map::load_with`], [`Map::range`]).
//!
//! Comparing keys (and values, in `compare_and_…`) and cloning the value that comes back are the user's code and run under
//! the part's lock when writing: they must not write to the same map. Drops may: none runs under a lock, neither of
//! what was in the map nor of what did not get in.

mod bag;
mod hash;
mod node;
mod readers;
mod trie;

use core::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, Hash},
};

pub use hash::{Folding, Seeded};
use readers::Readers;
use trie::{Edit, Part};

const PARTS: usize = 16;

/// A map that many goroutines use at once.
///
/// ```
/// use burrow::sync::Map;
/// static AGES: Map<&str, u32> = Map::new();
/// AGES.store("ada", 36);
/// assert_eq!(AGES.load("ada"), Some(36));
/// assert_eq!(AGES.load_or_store("ada", 1), (36, true));
/// assert!(AGES.compare_and_swap("ada", &36, 37));
/// assert_eq!(AGES.load_and_delete("ada"), Some(37));
/// assert!(AGES.is_empty());
/// ```
pub struct Map<K, V, S = Seeded> {
    readers: Readers,
    parts: [Part<K, V>; PARTS],
    hasher: S,
}

impl<K, V> Map<K, V> {
    shim_const_fn! {
        /// An empty map.
        ///
        /// ```
        /// static SEEN: burrow::sync::Map<u64, ()> = burrow::sync::Map::new();
        /// assert!(SEEN.is_empty());
        /// ```
        pub fn new() -> Self {
            Self::with_hasher(Seeded)
        }
    }
}

impl<K, V, S> Map<K, V, S> {
    shim_const_fn! {
        /// An empty map that hashes its own way.
        ///
        /// ```
        /// use burrow::sync::{Map, map::Seeded};
        /// let m = Map::with_hasher(Seeded);
        /// m.store(1, 2);
        /// assert_eq!(m.load(&1), Some(2));
        /// ```
        pub fn with_hasher(hasher: S) -> Self {
            #[cfg(not(loom))]
            let parts = [const { Part::new() }; PARTS];
            #[cfg(loom)]
            let parts = core::array::from_fn(|_| Part::new());
            Self { readers: Readers::new(), parts, hasher }
        }
    }

    /// How many keys there are; while others write, about.
    ///
    /// ```
    /// let m: burrow::sync::Map<_, _> = [(1, "a"), (2, "b"), (1, "c")].into_iter().collect();
    /// assert_eq!(m.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// Is there no key?
    ///
    /// ```
    /// assert!(burrow::sync::Map::<u8, u8>::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with each key and value until it says `false`. Each key is met at most once; of those that come, go or
    /// change meanwhile it is open whether and how they are met. `f` may use the map in any way.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// (1..=4).for_each(|i| m.store(i, i * i));
    /// let mut sum = 0;
    /// m.range(|k, v| {
    ///     sum += v;
    ///     m.delete(k);
    ///     true
    /// });
    /// assert_eq!((sum, m.len()), (30, 0));
    /// ```
    pub fn range(&self, mut f: impl FnMut(&K, &V) -> bool) {
        let _reading = self.readers.enter();
        for part in &self.parts {
            // SAFETY: 1. counted in.
            if !unsafe { part.walk(&mut |e| f(&e.key, &e.value)) } {
                return;
            }
        }
    }

    /// Removes every key.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store(1, 1);
    /// m.clear();
    /// assert!(m.is_empty());
    /// ```
    pub fn clear(&self) {
        for part in &self.parts {
            drop(part.clear(&self.readers));
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Map<K, V, S> {
    #[inline(always)]
    fn part(&self, hash: u64) -> &Part<K, V> {
        &self.parts[(hash >> 60) as usize]
    }

    fn edit<Q: Hash + Eq + ?Sized>(&self, key: &Q, decide: impl FnOnce(Option<(&K, &V)>) -> Edit<K, V>)
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let same = |k: &K| k.borrow() == key;
        // What is freed is dropped here, after the lock was released.
        drop(self.part(hash).edit(&self.readers, hash, same, |e| {
            decide(e.map(|e| (&e.key, &e.value)))
        }));
    }

    /// As `edit` with a key that may have to go into the map. A key (and what else of the caller's) that stays outside is
    /// dropped after the lock was released: so `decide` takes it out of the `Option` only to put it in.
    fn edit_owned(&self, key: K, decide: impl FnOnce(&mut Option<K>, Option<&V>) -> Edit<K, V>) {
        let hash = self.hasher.hash_one(&key);
        let key = core::cell::Cell::new(Some(key));
        let same = |k: &K| {
            let mine = key.take();
            let same = mine.as_ref() == Some(k);
            key.set(mine);
            same
        };
        drop(self.part(hash).edit(&self.readers, hash, same, |e| {
            let mut mine = key.take();
            let edit = decide(&mut mine, e.map(|e| &e.value));
            key.set(mine);
            edit
        }));
    }

    /// Calls `f` with the value of `key`, if there is one. Meanwhile others may replace it: this one stays as it is.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store("log", vec![1, 2, 3]);
    /// assert_eq!(m.load_with("log", Vec::len), Some(3)); // no clone
    /// ```
    #[inline]
    pub fn load_with<Q: Hash + Eq + ?Sized, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let _reading = self.readers.enter();
        // SAFETY: 1. counted in until the end.
        let entry = unsafe { self.part(hash).find(hash, |k| k.borrow() == key) };
        entry.map(|e| f(&e.value))
    }

    /// Is there a value for `key`?
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store("a".to_string(), ());
    /// assert!(m.contains_key("a") && !m.contains_key("b"));
    /// ```
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.load_with(key, |_| ()).is_some()
    }

    /// The value of `key`.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store(1, "one");
    /// assert_eq!((m.load(&1), m.load(&2)), (Some("one"), None));
    /// ```
    #[inline]
    pub fn load<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.load_with(key, V::clone)
    }

    /// Sets the value of `key`.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store(1, "one");
    /// m.store(1, "uno");
    /// assert_eq!(m.load(&1), Some("uno"));
    /// ```
    pub fn store(&self, key: K, value: V) {
        let mut value = Some(value);
        self.edit_owned(key, |key, _| Edit::put(key, &mut value));
    }

    /// Sets the value of `key`; the one before comes back.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// assert_eq!((m.swap(1, "a"), m.swap(1, "b")), (None, Some("a")));
    /// ```
    pub fn swap(&self, key: K, value: V) -> Option<V>
    where
        V: Clone,
    {
        let (mut before, mut value) = (None, Some(value));
        self.edit_owned(key, |key, old| {
            before = old.cloned();
            Edit::put(key, &mut value)
        });
        before
    }

    /// The value of `key` and `true`; if there is none, sets it to `value` and returns that and `false`.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// assert_eq!((m.load_or_store(1, "a"), m.load_or_store(1, "b")), (("a", false), ("a", true)));
    /// ```
    pub fn load_or_store(&self, key: K, value: V) -> (V, bool)
    where
        V: Clone,
    {
        if let Some(v) = self.load(&key) {
            return (v, true);
        }
        let (mut there, mut value) = (None, Some(value));
        self.edit_owned(key, |key, old| match old {
            Some(v) => {
                there = Some((v.clone(), true));
                Edit::Keep
            }
            None => {
                there = value.clone().map(|v| (v, false));
                Edit::put(key, &mut value)
            }
        });
        there.unwrap_or_else(|| unreachable!("decided above"))
    }

    /// Removes `key`; its value comes back.
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store(1, "a");
    /// assert_eq!((m.load_and_delete(&1), m.load_and_delete(&1)), (Some("a"), None));
    /// ```
    pub fn load_and_delete<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let mut before = None;
        self.edit(key, |old| {
            before = old.map(|(_, v)| v.clone());
            Edit::Remove
        });
        before
    }

    /// Removes `key`. Was it there?
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store(1, "a");
    /// assert!(m.delete(&1) && !m.delete(&1));
    /// ```
    pub fn delete<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let mut there = false;
        self.edit(key, |old| {
            there = old.is_some();
            Edit::Remove
        });
        there
    }

    /// Sets the value of `key` to `new` if it equals `old`. Did it?
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store("n", 1);
    /// assert!(m.compare_and_swap("n", &1, 2) && !m.compare_and_swap("n", &1, 3));
    /// ```
    pub fn compare_and_swap(&self, key: K, old: &V, new: V) -> bool
    where
        V: PartialEq,
    {
        let (mut done, mut new) = (false, Some(new));
        self.edit_owned(key, |key, v| {
            done = v == Some(old);
            if done {
                Edit::put(key, &mut new)
            } else {
                Edit::Keep
            }
        });
        done
    }

    /// Removes `key` if its value equals `old`. Did it?
    ///
    /// ```
    /// let m = burrow::sync::Map::new();
    /// m.store("n", 1);
    /// assert!(!m.compare_and_delete("n", &2) && m.compare_and_delete("n", &1));
    /// ```
    pub fn compare_and_delete<Q: Hash + Eq + ?Sized>(&self, key: &Q, old: &V) -> bool
    where
        K: Borrow<Q>,
        V: PartialEq,
    {
        let mut done = false;
        self.edit(key, |found| {
            done = found.is_some_and(|(_, v)| v == old);
            if done { Edit::Remove } else { Edit::Keep }
        });
        done
    }
}

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Default> FromIterator<(K, V)> for Map<K, V, S> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let map = Self::default();
        pairs.into_iter().for_each(|(k, v)| map.store(k, v));
        map
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Map<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_map();
        self.range(|k, v| {
            out.entry(k, v);
            true
        });
        out.finish()
    }
}
