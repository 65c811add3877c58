//! `Map` and `Pool` without memory.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use burrow::{
    recover,
    sync::{Map, Pool},
};
use burrow_tests::MemoryLimit;

use super::{is_out_of_memory, memory_comes_back};

/// A store that finds no memory leaves the map as it was, its lock free, and drops what it was given.
#[burrow::test(timeout = 120)]
fn a_map_at_the_limit() {
    static ALIVE: AtomicU64 = AtomicU64::new(0);
    struct Value(u64, #[expect(dead_code, reason = "fills memory")] [u64; 30]);
    impl Value {
        fn new(n: u64) -> Value {
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Value(n, [n; 30])
        }
    }
    impl Drop for Value {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let map: Map<u64, Value> = Map::new();
    memory_comes_back(|| {
        let _limit = MemoryLimit::to(2 << 20);
        let (mut stored, mut refused) = (Vec::with_capacity(20_000), 0);
        for k in 0..20_000_u64 {
            match recover(|| map.store(k, Value::new(k))) {
                Ok(()) => stored.push(k),
                Err(p) => {
                    assert!(is_out_of_memory(&p), "{p}");
                    refused += 1;
                }
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "there is an end to memory");
        assert_eq!(
            (map.len(), ALIVE.load(Ordering::Relaxed)),
            (stored.len(), stored.len() as u64)
        );
        assert!(stored.iter().all(|k| map.load_with(k, |v| v.0) == Some(*k)));
        let mut met = 0;
        map.range(|_, _| {
            met += 1;
            true
        });
        assert_eq!(met, stored.len());
        assert!(map.delete(&stored[0])); // takes no memory
        map.clear();
        map.store(1, Value::new(1));
        map.clear();
        assert_eq!((map.len(), ALIVE.load(Ordering::Relaxed)), (0, 0));
    });
}

/// A pool without memory keeps less; it never panics when something is put in.
#[burrow::test(timeout = 120)]
fn a_pool_at_the_limit() {
    let pool = Pool::new(|| 0_u64);
    pool.put(1); // it has its places from here on
    memory_comes_back(|| {
        let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(40_000);
        let _limit = MemoryLimit::to(256 << 10);
        for size in [4096, 512, 64, 16] {
            while hoard.len() < hoard.capacity() {
                let mut v = Vec::new();
                if v.try_reserve_exact(size).is_err() {
                    break;
                }
                hoard.push(v);
            }
        }
        (0..10_000).for_each(|i| pool.put(i));
        drop(hoard);
    });
    (0..10_000).for_each(|i| pool.put(i));
    assert!(core::iter::from_fn(|| pool.try_get()).count() > 5_000);
}
