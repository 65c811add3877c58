//! `Map`: against a model, and on threads.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use crate::{recover, scope, sync::Map};

/// Leaves few hashes, which agree in their first bits: chains and deep branches.
#[derive(Default)]
struct Bad(u64);

impl Hasher for Bad {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |h, b| h.wrapping_mul(31) + u64::from(*b))
            % 37;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn agrees_with_a_model<S: std::hash::BuildHasher + Default>() {
    let counted = Arc::new(());
    let map = Map::<u32, (u32, Arc<()>), S>::default();
    let mut model = HashMap::new();
    let mut rng = 88_172_645_463_325_252_u64;
    for step in 0..60_000_u32 {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        let k = (rng >> 20) as u32 % 500;
        let new = || (step, counted.clone());
        let num = |v: Option<(u32, Arc<()>)>| v.map(|v| v.0);
        match rng % 8 {
            0 => {
                map.store(k, new());
                model.insert(k, step);
            }
            1 => assert_eq!(num(map.swap(k, new())), model.insert(k, step)),
            2 => {
                let there = model.contains_key(&k);
                let want = *model.entry(k).or_insert(step);
                let (v, loaded) = map.load_or_store(k, new());
                assert_eq!((v.0, loaded), (want, there));
            }
            3 | 4 => assert_eq!(num(map.load_and_delete(&k)), model.remove(&k)),
            5 => {
                let old = model.get(&k).copied().unwrap_or(step);
                let done = map.compare_and_swap(k, &(old, counted.clone()), new());
                assert_eq!(done, model.contains_key(&k));
                if done {
                    model.insert(k, step);
                }
            }
            6 => {
                let gone = map.compare_and_delete(&k, &new());
                assert!(!gone, "no value is of this step");
                assert_eq!(map.delete(&k), model.remove(&k).is_some());
            }
            _ => assert_eq!(num(map.load(&k)), model.get(&k).copied()),
        }
        assert_eq!(map.len(), model.len());
        if step % 5_000 == 4_999 {
            let mut seen = HashMap::new();
            map.range(|k, v| seen.insert(*k, v.0).is_none());
            assert_eq!(seen, model);
        }
    }
    assert_eq!(
        Arc::strong_count(&counted),
        1 + model.len(),
        "nobody reads: all garbage is gone"
    );
    map.clear();
    assert!(map.is_empty() && map.load(&1).is_none());
    drop(map);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn map_agrees_with_a_model() {
    agrees_with_a_model::<crate::sync::map::Seeded>();
}

#[test]
fn map_agrees_with_a_model_when_hashes_collide() {
    agrees_with_a_model::<BuildHasherDefault<Bad>>();
}

#[test]
fn map_keeps_what_a_reader_looks_at() {
    let counted = Arc::new(());
    let map = Map::new();
    map.store("a", counted.clone());
    let there = map.load_with("a", |v| {
        map.delete("a");
        map.store("b", v.clone());
        (0..100).for_each(|i| map.store("c", if i == 99 { v.clone() } else { Arc::new(()) }));
        Arc::strong_count(v)
    });
    assert_eq!(there, Some(4), "the test's, a's, which is looked at, b's, c's");
    map.store("d", Arc::new(()));
    map.clear();
    map.store("e", Arc::new(()));
    assert!(map.load("a").is_none());
    drop(map);
    assert_eq!(Arc::strong_count(&counted), 1);
}

/// Readers see every key that is always there; the others come and go.
#[test]
fn map_under_range_and_delete() {
    const N: u64 = 300;
    let map: Map<u64, u64> = (0..N).map(|k| (2 * k, k)).collect();
    let ranges = AtomicUsize::new(0);
    scope(|s| {
        for t in 0..2 {
            let map = &map;
            s.spawn(move || {
                for i in 0..20_000 {
                    let k = 2 * (i * 7 % N) + 1;
                    if (i + t) % 3 == 0 {
                        map.delete(&k);
                    } else {
                        map.store(k, i);
                    }
                }
            });
        }
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..60 {
                    let mut even = 0;
                    map.range(|k, v| {
                        if k % 2 == 0 {
                            assert_eq!(k / 2, *v);
                            even += 1;
                        }
                        true
                    });
                    assert_eq!(even, N);
                    ranges.fetch_add(1, SeqCst);
                    assert_eq!(map.load(&200), Some(100));
                }
            });
        }
    });
    assert_eq!(ranges.load(SeqCst), 120);
}

/// A comparison that panics leaves the map usable.
#[test]
fn map_survives_a_panicking_comparison() {
    #[derive(Debug)]
    struct Touchy(u8);
    impl PartialEq for Touchy {
        fn eq(&self, o: &Self) -> bool {
            assert!(self.0 != 9 && o.0 != 9, "touchy");
            self.0 == o.0
        }
    }
    impl Eq for Touchy {}
    impl std::hash::Hash for Touchy {
        fn hash<H: Hasher>(&self, h: &mut H) {
            h.write_u8(1);
        }
    }
    let map = Map::new();
    map.store(Touchy(1), 1);
    assert!(recover(|| map.store(Touchy(9), 9)).is_err());
    assert!(recover(|| map.delete(&Touchy(9))).is_err());
    map.store(Touchy(2), 2);
    assert_eq!(
        (map.load(&Touchy(1)), map.load(&Touchy(2)), map.len()),
        (Some(1), Some(2), 2)
    );
    assert_eq!(format!("{:?}", Map::from_iter([(1, 2)]) as Map<_, _>), "{1: 2}");
}

/// A key that looks, when it is dropped, whether the map can be written: it is dropped under no lock.
mod nosy {
    use std::{
        hash::BuildHasherDefault,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Duration,
    };

    use super::Bad;
    use crate::{chan, go, sync::Map};

    static WRITABLE: AtomicUsize = AtomicUsize::new(0);
    pub(super) static MAP: crate::sync::LazyLock<Map<Nosy, Nosy, BuildHasherDefault<Bad>>> =
        crate::sync::LazyLock::new(Map::default);

    #[derive(Clone, PartialEq, Eq, Debug)]
    pub(super) struct Nosy(pub(super) u32);

    impl std::hash::Hash for Nosy {
        fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
            h.write_u8(0); // all in one part
        }
    }

    impl Drop for Nosy {
        fn drop(&mut self) {
            if self.0 < 100 {
                let wrote = chan::<()>(1);
                let tx = wrote.sender();
                go(move || {
                    MAP.store(Nosy(100), Nosy(100));
                    tx.send(());
                });
                if wrote.recv_timeout(Duration::from_secs(10)).is_ok() {
                    WRITABLE.fetch_add(1, SeqCst);
                }
            }
        }
    }

    /// How many of those that looked found the lock free.
    pub(super) fn writable() -> usize {
        WRITABLE.swap(0, SeqCst)
    }
}

#[test]
fn map_drops_nothing_under_its_lock() {
    use nosy::{MAP, Nosy, writable};
    MAP.store(Nosy(1), Nosy(1));
    assert_eq!(writable(), 0, "nothing to drop");
    MAP.store(Nosy(1), Nosy(2)); // the old entry
    assert_eq!(writable(), 2);
    assert!(!MAP.compare_and_swap(Nosy(1), &Nosy(101), Nosy(3))); // key and new value
    assert_eq!(writable(), 2);
    assert!(MAP.compare_and_swap(Nosy(1), &Nosy(2), Nosy(3))); // the old entry, and what it was compared with
    assert_eq!(writable(), 3);
    assert!(MAP.load_or_store(Nosy(1), Nosy(4)).1); // key, value, and the clone that came back
    assert_eq!(writable(), 3);
    drop(MAP.swap(Nosy(1), Nosy(5)));
    assert_eq!(writable(), 3);
    assert!(!MAP.compare_and_delete(&Nosy(1), &Nosy(6)));
    assert_eq!(writable(), 2);
    assert!(MAP.delete(&Nosy(1)));
    assert_eq!(writable(), 3);
    MAP.store(Nosy(1), Nosy(7));
    MAP.clear();
    assert_eq!(writable(), 2);
}

/// Two threads miss the same key: one of them stores, the other's value is dropped without the lock.
#[test]
fn map_load_or_store_when_somebody_is_faster() {
    #[derive(PartialEq, Eq, Debug)]
    struct Late(u32);
    impl std::hash::Hash for Late {
        fn hash<H: Hasher>(&self, h: &mut H) {
            h.write_u32(self.0);
        }
    }
    let map = Map::new();
    let firsts = AtomicUsize::new(0);
    for k in 0..200 {
        scope(|s| {
            for v in 0..3 {
                let (map, firsts) = (&map, &firsts);
                s.spawn(move || {
                    let (got, there) = map.load_or_store(Late(k), v);
                    assert!(there || got == v);
                    firsts.fetch_add(usize::from(!there), SeqCst);
                });
            }
        });
    }
    assert_eq!((firsts.into_inner(), map.len()), (200, 200));
}

/// A drop that panics does not keep the others from being dropped.
#[test]
fn map_survives_a_panicking_drop() {
    struct Bomb(u32, Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
            assert!(self.0 != 5, "bomb");
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let map = Map::new();
    // The old value alone: the new one is in the map, which is unlocked.
    map.store(0, Bomb(5, drops.clone()));
    assert!(recover(|| map.store(0, Bomb(6, drops.clone()))).is_err());
    assert_eq!((map.load_with(&0, |b| b.0), map.len()), (Some(6), 1));
    map.store(0, Bomb(7, drops.clone()));
    assert_eq!(drops.swap(0, SeqCst), 2);
    map.clear();
    assert_eq!(drops.swap(0, SeqCst), 1);
    (0..20).for_each(|i| map.store(i, Bomb(i, drops.clone())));
    assert!(recover(|| map.clear()).is_err());
    (100..104).for_each(|i| map.store(i, Bomb(i, drops.clone())));
    drop(map);
    assert_eq!(drops.load(SeqCst), 24);
}

/// Readers take turns so that one is always in, while every part of the map is written: what was thrown away before the
/// last two came is freed all the same.
#[test]
fn map_frees_behind_readers_that_take_turns() {
    const KEYS: u32 = 64;
    let counted = Arc::new(());
    let mut most = 0;
    let map = Map::<u32, Arc<()>>::new();
    let store = || (0..KEYS).for_each(|k| map.store(k, counted.clone()));
    let (inside, leave) = (crate::chan::<()>(0), [crate::chan::<()>(0), crate::chan::<()>(0)]);
    scope(|s| {
        let enter = |turn: usize| {
            let leave = &leave[turn % 2];
            let (map, inside) = (&map, &inside);
            let h = s.spawn(move || _ = map.load_with(&0, |_| (inside.send(()), leave.recv())));
            inside.recv();
            h
        };
        let goes = |turn: usize| leave[turn % 2].send(());
        store();
        let mut there = enter(0);
        for turn in 0..50 {
            store();
            let next = enter(turn + 1);
            goes(turn);
            std::mem::replace(&mut there, next).join().expect("it reads");
            store();
            most = most.max(Arc::strong_count(&counted));
        }
        goes(50);
    });
    assert!(most <= 8 * KEYS as usize, "{most} values at once");
}
