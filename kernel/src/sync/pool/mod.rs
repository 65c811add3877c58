//! `Pool`: things used for a moment, kept for the next who needs one. Go's `sync.Pool`.
//!
//! Each core has a place for one value and a deque, twice: the *primary* and the *victim* generation.
//!
//! ```text
//!  put   own place ─ full? ─ own deque (head)
//!  get   own place ─ empty? ─ own deque (head) ─ empty? ─ others' deques (tail) ─ empty? ─ the victims ─ empty? ─ make one
//!  collection   drop the victims · the primaries become victims
//! ```
//! So a value that nobody asked for survives one collection and is gone after two, and a pool in steady use
//! keeps what it needs. A collection changes one number (`epoch`, whose parity says which generation is
//! primary), so it needs no lock against users: one that has just read the old number puts its value among the victims,
//! where it lives shorter, that is all. It takes values the way a thief does.
//!
//! Own place and own deque's head belong to the core (`pin`): pinned code moves values and runs nothing of the
//! user's. Values are made and dropped after the pin is gone.
//!
//! All pools in use are in a list of weak references for [`on_collection`], which the garbage collector calls.

mod cell;
mod deque;
#[cfg(all(test, loom))]
mod loom_models;
mod pin;
mod slot;

use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt;

use deque::Deque;
use pin::{pin, places};
use slot::Slot;

use super::{Mutex, OnceLock};
use crate::shim::{AtomicUsize, Ordering};

/// What a core has.
#[repr(align(128))]
struct Local<T> {
    own: Slot<T>,
    shared: Deque<T>,
}

struct Shared<T> {
    /// Its parity says which generation is primary.
    epoch: AtomicUsize,
    /// Two for each core, one of each generation, side by side.
    locals: Box<[Local<T>]>,
    /// One collection at a time.
    collecting: Mutex<()>,
}

/// The generation that is in use, the one that is on its way out.
const PRIMARY: usize = 0;
const VICTIM: usize = 1;

impl<T> Shared<T> {
    fn new() -> Self {
        let local = |_| Local {
            own: Slot::new(),
            shared: Deque::new(),
        };
        Shared {
            epoch: AtomicUsize::new(0),
            locals: (0..2 * places()).map(local).collect(),
            collecting: Mutex::new(()),
        }
    }

    #[inline(always)]
    fn local(&self, core: usize, generation: usize) -> &Local<T> {
        // Relaxed: either answer is right, see the file head; the values are ordered by their places.
        &self.locals[2 * core + (self.epoch.load(Ordering::Relaxed) + generation) % 2]
    }

    /// All of a generation, beginning behind `core`.
    fn generation(&self, core: usize, generation: usize) -> impl Iterator<Item = &Local<T>> {
        let n = self.locals.len() / 2;
        (1..=n).map(move |i| self.local((core + i) % n, generation))
    }

    fn steal(&self, me: usize) -> Option<T> {
        self.generation(me, PRIMARY)
            .find_map(|l| l.shared.steal())
            .or_else(|| self.local(me, VICTIM).own.take())
            .or_else(|| self.generation(me, VICTIM).find_map(|l| l.shared.steal()))
    }
}

/// A pool as the collection sees it.
trait Collected: Send + Sync {
    fn collect(&self);
}

impl<T: Send> Collected for Shared<T> {
    fn collect(&self) {
        let one_at_a_time = self.collecting.lock();
        for local in self.generation(0, VICTIM) {
            drop(local.own.take());
            while let Some(v) = local.shared.steal() {
                drop(v);
            }
        }
        self.epoch.fetch_add(1, Ordering::Relaxed); // see `local`
        drop(one_at_a_time);
    }
}

type Pools = OnceLock<Mutex<Vec<Weak<dyn Collected>>>>;

#[cfg(not(loom))]
static POOLS: Pools = OnceLock::new();
#[cfg(loom)]
loom::lazy_static! {
    static ref POOLS: Pools = OnceLock::new();
}

/// A collection begins: what no pool was asked for since the one before is dropped. The garbage collector calls it, in a
/// goroutine; so may tests.
///
/// ```
/// static POOL: burrow::sync::Pool<u8> = burrow::sync::Pool::new(|| 0);
/// POOL.put(7);
/// burrow::sync::pool::on_collection();
/// assert_eq!(POOL.get(), 7); // it survives one
/// POOL.put(7);
/// burrow::sync::pool::on_collection();
/// burrow::sync::pool::on_collection();
/// assert_eq!(POOL.get(), 0);
/// ```
pub fn on_collection() {
    let Some(pools) = POOLS.get() else { return };
    // The list is not locked while values are dropped: that is the user's code, which may use pools.
    let mut all = Vec::new();
    pools.lock().retain(|p| match p.upgrade() {
        Some(p) => {
            all.push(p);
            true
        }
        None => false,
    });
    all.iter().for_each(|p| p.collect());
}

/// Things used for a moment, kept for the next who needs one.
///
/// What is put in may be dropped at any collection, and a pool makes no promise which value comes out, or that one does
/// that was put in.
///
/// ```
/// use burrow::sync::Pool;
/// static BUFFERS: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(4096));
/// let mut b = BUFFERS.get();
/// b.extend_from_slice(b"hello");
/// b.clear();
/// BUFFERS.put(b);
/// ```
///
/// What was put in is the pool's: nobody uses it, or puts it in twice.
///
/// ```compile_fail,E0382
/// let pool = burrow::sync::Pool::new(String::new);
/// let s = pool.get();
/// pool.put(s);
/// pool.put(s);
/// ```
pub struct Pool<T: Send + 'static, F = fn() -> T> {
    shared: OnceLock<Arc<Shared<T>>>,
    make: F,
}

impl<T: Send + 'static, F: Fn() -> T> Pool<T, F> {
    shim_const_fn! {
        /// An empty pool; `make` makes a value when there is none.
        ///
        /// ```
        /// static BUFFERS: burrow::sync::Pool<Vec<u8>> = burrow::sync::Pool::new(Vec::new);
        /// assert!(BUFFERS.try_get().is_none());
        /// ```
        pub fn new(make: F) -> Self {
            Self { shared: OnceLock::new(), make }
        }
    }

    /// A value from the pool, or a new one.
    ///
    /// ```
    /// let pool = burrow::sync::Pool::new(|| String::from("new"));
    /// assert_eq!(pool.get(), "new");
    /// ```
    #[inline]
    pub fn get(&self) -> T {
        match self.try_get() {
            Some(v) => v,
            None => (self.make)(),
        }
    }

    /// A value from the pool.
    ///
    /// ```
    /// let pool = burrow::sync::Pool::new(|| 0);
    /// pool.put(7);
    /// assert_eq!((pool.try_get(), pool.try_get()), (Some(7), None));
    /// ```
    #[inline]
    pub fn try_get(&self) -> Option<T> {
        let shared = self.shared.get()?;
        {
            let (_pinned, me) = pin()?;
            if let Some(v) = shared.local(me, PRIMARY).own.take() {
                return Some(v);
            }
        }
        Self::get_slow(shared)
    }

    #[cold]
    #[inline(never)]
    fn get_slow(shared: &Shared<T>) -> Option<T> {
        let (mine, me) = {
            let (_pinned, me) = pin()?;
            (shared.local(me, PRIMARY).shared.pop(), me)
        };
        mine.or_else(|| shared.steal(me))
    }

    /// Puts a value in, for whoever needs one next.
    ///
    /// ```
    /// let pool = burrow::sync::Pool::new(|| 0);
    /// pool.put(7);
    /// assert_eq!((pool.get(), pool.get()), (7, 0));
    /// ```
    #[inline]
    pub fn put(&self, value: T) {
        let Some(shared) = self.shared.get() else {
            return Self::put_slow(self.start(), value);
        };
        let left = match pin() {
            Some((_pinned, me)) => shared.local(me, PRIMARY).own.put(value),
            None => Err(value),
        };
        if let Err(v) = left {
            Self::put_slow(shared, v);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_slow(shared: &Shared<T>, value: T) {
        let left = match pin() {
            Some((_pinned, me)) => {
                let local = shared.local(me, PRIMARY);
                local.own.put(value).or_else(|v| local.shared.push(v))
            }
            None => Err(value),
        };
        drop(left); // no room: nothing is promised
    }

    #[cold]
    fn start(&self) -> &Arc<Shared<T>> {
        self.shared.get_or_init(|| {
            let shared = Arc::new(Shared::new());
            let weak: Weak<dyn Collected> = Arc::downgrade(&(shared.clone() as Arc<dyn Collected>));
            POOLS.get_or_init(Mutex::default).lock().push(weak);
            shared
        })
    }
}

impl<T: Send + 'static, F> fmt::Debug for Pool<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
