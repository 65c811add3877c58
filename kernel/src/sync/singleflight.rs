//! `singleflight::Group`: many ask for the same thing at once, one goes and gets it, all have it.
//!
//! A call in flight is an entry of the map. Its first caller (the *leader*) runs the function; who comes meanwhile
//! finds the entry, waits for it and gets a clone of the result. The leader writes the outcome, takes the entry off the
//! map *if it is still its own* (`forget` may have removed it, and another call may fly under the same key), and
//! lets the others go on. Only comparisons of keys run under the map's mutex, no clone and no drop. The function's panic is raised in the leader, with its message in all the others; after a
//! `goexit` they leave, too: nobody can be given a result that does not exist.
#![forbid(unsafe_code)]

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
};
use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Mutex, OnceLock, WaitGroup};
use crate::{
    chan::{Receiver, chan},
    panic::{Unwound, catch, goexit},
    sched,
};

enum Outcome<V> {
    Value(V),
    Panicked(String),
    Exited,
}

struct Call<V> {
    /// One, until the outcome is there.
    flying: WaitGroup,
    outcome: OnceLock<Outcome<V>>,
    /// Callers besides the leader. Counted under the map's mutex.
    others: AtomicUsize,
}

/// Calls in flight, by key.
///
/// ```
/// use burrow::sync::singleflight::Group;
/// let group = Group::new();
/// let (page, shared) = group.do_call("/index", || "<html>".to_string());
/// assert_eq!((page.as_str(), shared), ("<html>", false));
/// ```
pub struct Group<K, V> {
    calls: Mutex<BTreeMap<K, Arc<Call<V>>>>,
}

impl<K: Ord + Clone, V: Clone> Group<K, V> {
    shim_const_fn! {
        /// Nothing in flight.
        ///
        /// ```
        /// static PAGES: burrow::singleflight::Group<String, String> = burrow::singleflight::Group::new();
        /// assert_eq!(PAGES.in_flight(), 0);
        /// ```
        pub fn new() -> Self {
            Self { calls: Mutex::new(BTreeMap::new()) }
        }
    }

    /// The result of `f`, or of the `f` that another caller with the same key is running; and whether it was given to
    /// more than one caller.
    ///
    /// # Panics
    /// If the function does that was run, here or there.
    ///
    /// ```
    /// let g = burrow::singleflight::Group::new();
    /// assert_eq!(g.do_call("answer", || 42), (42, false));
    /// ```
    pub fn do_call(&self, key: K, f: impl FnOnce() -> V) -> (V, bool) {
        let mine = key.clone();
        let mut calls = self.calls.lock();
        if let Some(call) = calls.get(&key).cloned() {
            call.others.fetch_add(1, Ordering::Relaxed); // under the mutex
            drop(calls);
            Self::follow(&call)
        } else {
            let call = Arc::new(Call::new());
            calls.insert(mine, call.clone());
            drop(calls);
            self.lead(key, &call, f)
        }
    }

    fn follow(call: &Call<V>) -> (V, bool) {
        call.flying.wait();
        match call.outcome.get() {
            Some(Outcome::Value(v)) => (v.clone(), true),
            Some(Outcome::Panicked(message)) => panic!("singleflight: {message}"),
            Some(Outcome::Exited) | None => goexit(),
        }
    }

    fn lead(&self, key: K, call: &Arc<Call<V>>, f: impl FnOnce() -> V) -> (V, bool) {
        // The clone is the user's code, too: it must not leave the others waiting.
        let mut result = catch(|| {
            let v = f();
            (Some(v.clone()), v)
        });
        let outcome = match &mut result {
            Ok((v, _)) => v.take().map_or(Outcome::Exited, Outcome::Value),
            Err(Unwound::Panic(p)) => Outcome::Panicked(p.to_string()),
            Err(Unwound::Goexit) => Outcome::Exited,
        };
        let _ = call.outcome.set(outcome); // only the leader sets it
        let mut calls = self.calls.lock();
        let own = calls.get(&key).is_some_and(|c| Arc::ptr_eq(c, call));
        let gone = own.then(|| calls.remove_entry(&key));
        // Whoever counted itself did so before we had the mutex, unless the key was forgotten: then it may be late.
        let shared = call.others.load(Ordering::Relaxed) > 0;
        drop(calls);
        drop(gone); // after the mutex: a key's drop is the user's code
        call.flying.done();
        match result {
            Ok((_, v)) => (v, shared),
            Err(u) => u.resume(),
        }
    }

    /// As [`do_call`](Self::do_call) in a goroutine of its own: the result comes through the channel. A panic of the
    /// function ends the program then, as in any goroutine.
    ///
    /// ```
    /// use burrow::sync::singleflight::Group;
    /// let group = std::sync::Arc::new(Group::new());
    /// let result = group.do_chan(7, || 49);
    /// assert_eq!(result.recv(), Some((49, false)));
    /// ```
    #[track_caller]
    pub fn do_chan(self: &Arc<Self>, key: K, f: impl FnOnce() -> V + Send + 'static) -> Receiver<(V, bool)>
    where
        K: Send + 'static,
        V: Send + Sync + 'static,
    {
        let (group, ch) = (self.clone(), chan(1));
        let rx = ch.receiver();
        sched::go(move || ch.send(group.do_call(key, f)));
        rx
    }

    /// The next caller with this key does not share a call that is in flight now.
    ///
    /// ```
    /// let g = burrow::singleflight::Group::<_, u8>::new();
    /// g.forget(&"key"); // nothing in flight: nothing happens
    /// ```
    pub fn forget(&self, key: &K) {
        let gone = self.calls.lock().remove_entry(key);
        drop(gone);
    }

    /// How many calls are in flight.
    ///
    /// ```
    /// let g = burrow::singleflight::Group::new();
    /// g.do_call(1, || assert_eq!(g.in_flight(), 1));
    /// assert_eq!(g.in_flight(), 0);
    /// ```
    pub fn in_flight(&self) -> usize {
        self.calls.lock().len()
    }

    /// How many share the call with this key, besides who runs it.
    #[cfg(all(test, not(loom)))]
    pub(super) fn followers(&self, key: &K) -> usize {
        let calls = self.calls.lock();
        calls.get(key).map_or(0, |c| c.others.load(Ordering::Relaxed))
    }
}

impl<V> Call<V> {
    fn new() -> Self {
        let call = Call {
            flying: WaitGroup::new(),
            outcome: OnceLock::new(),
            others: AtomicUsize::new(0),
        };
        call.flying.add(1);
        call
    }
}

impl<K: Ord + Clone, V: Clone> Default for Group<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: Clone> fmt::Debug for Group<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "singleflight::Group({} in flight)", self.in_flight())
    }
}
