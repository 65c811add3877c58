//! One map for many goroutines, three ways: behind one lock, in shards with a lock each, and `sync::Map`.
//!
//! One lock is simplest and makes everybody wait for everybody. Shards divide the waiting by their number, for a hash
//! and a little arithmetic. `sync::Map` reads without a lock at all. All three count the same words.
// expect: exit=0 says=one lock:  16000 words, 500 different
// expect: says=sharded:   16000 words, 500 different
// expect: says=sync::Map: 16000 words, 500 different
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::collections::BTreeMap;
use core::{
    hash::BuildHasher,
    sync::atomic::{AtomicU32, Ordering},
};

use burrow::{
    prelude::*,
    sync::{Map, RwLock, map::Seeded},
};

const WORKERS: u32 = 8;
const EACH: u32 = 2_000;
const WORDS: u32 = 500;

/// What the three have in common.
trait Counts: Sync {
    fn count(&self, word: u32);
    fn totals(&self) -> Vec<u32>;
}

type Locked = RwLock<BTreeMap<u32, AtomicU32>>;

/// Most words are known: a read lock is enough to count one more. Only a new one needs the writer's.
fn count_in(map: &Locked, word: u32) {
    if let Some(n) = map.read().get(&word) {
        n.fetch_add(1, Ordering::Relaxed);
        return;
    }
    *map.write().entry(word).or_default().get_mut() += 1;
}

struct OneLock(Locked);

impl Counts for OneLock {
    fn count(&self, word: u32) {
        count_in(&self.0, word);
    }
    fn totals(&self) -> Vec<u32> {
        self.0
            .read()
            .values()
            .map(|n| n.load(Ordering::Relaxed))
            .collect()
    }
}

struct Sharded([Locked; 16]);

impl Counts for Sharded {
    fn count(&self, word: u32) {
        count_in(&self.0[(Seeded.hash_one(word) >> 60) as usize], word);
    }
    fn totals(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for shard in &self.0 {
            all.extend(shard.read().values().map(|n| n.load(Ordering::Relaxed)));
        }
        all
    }
}

struct LockFree(Map<u32, u32>);

impl Counts for LockFree {
    fn count(&self, word: u32) {
        loop {
            let (n, there) = self.0.load_or_store(word, 1);
            // Somebody else counted in between: look again.
            if !there || self.0.compare_and_swap(word, &n, n + 1) {
                return;
            }
        }
    }
    fn totals(&self) -> Vec<u32> {
        let mut all = Vec::new();
        self.0.range(|_, n| {
            all.push(*n);
            true
        });
        all
    }
}

fn run(name: &str, map: &dyn Counts) {
    let start = Instant::now();
    scope(|s| {
        for w in 0..WORKERS {
            s.spawn(move || (0..EACH).for_each(|i| map.count((i * 7 + w * 13) % WORDS)));
        }
    });
    let took = start.elapsed();
    let totals = map.totals();
    println!(
        "{name} {} words, {} different; {took:?}",
        totals.iter().sum::<u32>(),
        totals.len()
    );
}

#[burrow::main]
fn main() {
    run("one lock: ", &OneLock(Locked::default()));
    run("sharded:  ", &Sharded(Default::default()));
    run("sync::Map:", &LockFree(Map::new()));
}
