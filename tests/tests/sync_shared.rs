//! `Pool`, `Map` and `atomic::Value` on goroutines.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use burrow::{
    recover,
    runtime::{num_cpu, read_mem_stats},
    scope,
    sync::{Map, Pool, Value, pool},
    yield_now,
};

burrow::test_main!();

#[burrow::test]
fn pool_survives_one_collection_and_not_two() {
    let counted = Arc::new(());
    let p: Pool<Arc<()>> = Pool::new(|| Arc::new(()));
    for _ in 0..50 {
        p.put(counted.clone());
    }
    pool::on_collection();
    assert!(Arc::strong_count(&counted) > 40, "they are victims now");
    assert!(Arc::ptr_eq(&p.get(), &counted), "and may be saved");
    pool::on_collection();
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[burrow::test]
fn pool_gives_each_value_to_one() {
    let p = Pool::new(Vec::<u32>::new);
    let made = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    scope(|s| {
        let hs: Vec<_> = (0..8_u32)
            .map(|id| {
                let (p, made) = (&p, &made);
                s.spawn(move || {
                    for i in 0..2_000 {
                        let mut v = p.get();
                        if v.capacity() == 0 {
                            made.fetch_add(1, SeqCst);
                        }
                        assert!(v.is_empty(), "somebody else has it, too");
                        v.push(id);
                        if i % 64 == 0 {
                            yield_now();
                        }
                        assert_eq!(v.pop(), Some(id));
                        p.put(v);
                    }
                })
            })
            .collect();
        s.spawn(|| {
            while !stop.load(SeqCst) {
                pool::on_collection();
                yield_now();
            }
        });
        for h in hs {
            h.join().unwrap();
        }
        stop.store(true, SeqCst);
    });
    assert!(made.load(SeqCst) < 16_000, "some were used again");
}

/// What one P puts in others may have.
#[burrow::test]
fn pool_is_stolen_from() {
    let p = Pool::new(|| 0_usize);
    (1..=1000).for_each(|i| p.put(i));
    let mut got: Vec<usize> = Vec::new();
    scope(|s| {
        let hs: Vec<_> = (0..4)
            .map(|_| s.spawn(|| (0..400).map(|_| p.get()).filter(|v| *v != 0).collect::<Vec<_>>()))
            .collect();
        for h in hs {
            got.extend(h.join().unwrap());
        }
    });
    got.extend(core::iter::from_fn(|| p.try_get()));
    let n = got.len();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), n, "each once");
    // A private place of another P is not stolen from.
    assert!(n + num_cpu() > 1000, "{n}");
}

#[burrow::test]
fn pool_whose_values_panic_when_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let p: Pool<Bomb> = Pool::new(|| Bomb);
    p.put(Bomb);
    pool::on_collection();
    assert!(recover(pool::on_collection).is_err());
    assert!(p.try_get().is_none());
}

#[burrow::test]
fn map_operations() {
    let m: Map<String, u32> = Map::new();
    assert_eq!((m.load("a"), m.len()), (None, 0));
    m.store("a".into(), 1);
    assert_eq!(m.swap("a".into(), 2), Some(1));
    assert_eq!(m.load_or_store("a".into(), 3), (2, true));
    assert_eq!(m.load_or_store("b".into(), 3), (3, false));
    assert!(!m.compare_and_swap("a".into(), &9, 4) && m.compare_and_swap("a".into(), &2, 4));
    assert!(!m.compare_and_delete("a", &9) && m.compare_and_delete("a", &4));
    assert_eq!((m.load_and_delete("b"), m.load_and_delete("b")), (Some(3), None));
    assert!(!m.delete("b") && m.is_empty() && !m.contains_key("b"));
    m.store("c".into(), 5);
    m.clear();
    assert!(m.is_empty());
}

/// Every goroutine counts in its own key and in one that all share; others range and delete.
#[burrow::test]
fn map_storm() {
    const N: u64 = 3_000;
    let counted = Arc::new(());
    let m: Map<u64, (u64, Arc<()>)> = Map::new();
    let stop = AtomicBool::new(false);
    scope(|s| {
        let hs: Vec<_> = (0..6_u64)
            .map(|t| {
                let (m, counted) = (&m, &counted);
                s.spawn(move || {
                    for i in 0..N {
                        // My own key: nobody else writes it, so I see my last store.
                        let seen = m.load(&t).map_or(0, |v| v.0);
                        assert_eq!(seen, i);
                        m.store(t, (i + 1, counted.clone()));
                        // One that comes and goes.
                        let k = 1000 + i * 7 % 64;
                        match i % 3 {
                            0 => m.store(k, (k, counted.clone())),
                            1 => _ = m.load_or_store(k, (k, counted.clone())),
                            _ => _ = m.delete(&k),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(SeqCst) {
                    let mut keys = Vec::new();
                    m.range(|k, v| {
                        assert!(*k < 6 || *k == v.0);
                        keys.push(*k);
                        true
                    });
                    let n = keys.len();
                    keys.sort();
                    keys.dedup();
                    assert_eq!(keys.len(), n, "a key was met twice");
                    yield_now();
                }
            });
        }
        for h in hs {
            h.join().unwrap();
        }
        stop.store(true, SeqCst);
    });
    for t in 0..6 {
        assert_eq!(m.load(&t).map(|v| v.0), Some(N));
    }
    m.clear();
    drop(m);
    assert_eq!(Arc::strong_count(&counted), 1, "everything was dropped once");
}

#[burrow::test]
fn map_compare_and_swap_counts() {
    let m = Map::new();
    m.store("n", 0_u32);
    scope(|s| {
        for _ in 0..6 {
            s.spawn(|| {
                for _ in 0..500 {
                    while !m.load("n").is_some_and(|n| m.compare_and_swap("n", &n, n + 1)) {
                        yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(m.load("n"), Some(3_000));
}

/// A map whose keys come and go has the memory of those that are there: the nodes that led to the others have gone, too.
#[burrow::test]
fn map_holds_no_memory_of_what_was_deleted() {
    let m = Map::new();
    let turn = |base: u64| {
        (base..base + 1_000).for_each(|k| m.store(k, k));
        (base..base + 1_000).for_each(|k| assert!(m.delete(&k)));
    };
    turn(0);
    let before = read_mem_stats().heap_objects;
    (1..10).for_each(|i| turn(1_000 * i));
    let after = read_mem_stats().heap_objects;
    assert!(after < before + 500, "{before} objects, then {after}");
}

#[burrow::test]
fn map_keeps_what_a_reader_looks_at() {
    let m: Map<u32, Arc<u32>> = Map::new();
    m.store(1, Arc::new(1));
    m.load_with(&1, |one| {
        m.store(1, Arc::new(2));
        for i in 0..1000 {
            m.store(i % 50 + 2, Arc::new(i));
        }
        yield_now();
        assert_eq!(**one, 1);
    });
    assert_eq!(m.load(&1).as_deref(), Some(&2));
}

#[burrow::test]
fn value_is_whole_and_freed_once() {
    let counted = Arc::new(());
    let v = Value::new((0_u64, 0_u64, counted.clone()));
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for i in 0..10_000 {
                    let x = v.load();
                    assert_eq!(x.0, x.1);
                    if i % 1000 == 0 {
                        yield_now();
                    }
                    let y = v.load();
                    assert!(x.0 <= y.0);
                }
            });
        }
        for _ in 0..3 {
            s.spawn(|| {
                for _ in 0..1_000 {
                    v.update(|x| (x.0 + 1, x.1 + 1, x.2.clone()));
                }
            });
        }
    });
    assert_eq!(v.load().0, 3_000);
    for _ in 0..100_000 {
        drop(v.load()); // more than the word counts
    }
    drop(v);
    assert_eq!(Arc::strong_count(&counted), 1);
}
