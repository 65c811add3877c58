//! `Semaphore`, `errgroup`, `singleflight`, `Value`, `Pool`, on threads.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use super::until;
use crate::{
    chan,
    context::{Canceled, Context},
    goexit, recover, scope, spawn,
    sync::{Pool, Semaphore, Snapshot, Value, errgroup, pool, singleflight},
};

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

#[test]
fn semaphore_serves_in_order() {
    let (s, log) = (Semaphore::new(3), std::sync::Mutex::new(Vec::new()));
    s.acquire(3);
    scope(|sc| {
        for (i, n) in [3, 1, 2].into_iter().enumerate() {
            let (s, log) = (&s, &log);
            sc.spawn(move || {
                s.acquire(n);
                log.lock().unwrap().push(n);
                s.release(n);
            });
            until(|| s.waiting() == i + 1);
        }
        s.release(2);
        assert!(
            s.waiting() == 3 && log.lock().unwrap().is_empty(),
            "the big one is first and is not overtaken"
        );
        assert!(!s.try_acquire(1), "nor by somebody new");
        s.release(1);
    });
    assert_eq!(log.lock().unwrap()[0], 3);
    assert_eq!(format!("{s:?}"), "Semaphore(3 of 3 free)");
}

#[test]
fn semaphore_gives_up_and_lets_the_next_one_by() {
    let s = Semaphore::new(2);
    let (ctx, cancel) = Context::background().with_cancel();
    s.acquire(1);
    scope(|sc| {
        let big = sc.spawn(|| s.acquire_ctx(&ctx, 2));
        until(|| s.waiting() == 1);
        let small = sc.spawn(|| s.acquire(1));
        until(|| s.waiting() == 2);
        assert!(!small.is_finished());
        cancel();
        assert_eq!(big.join().unwrap(), Err(Canceled));
        small.join().unwrap();
    });
    let soon = Duration::from_millis(1);
    assert!(!s.try_acquire_for(9, soon), "more than there are");
    assert_eq!(s.acquire_ctx(&ctx, 9), Err(Canceled));
    s.release(2);
    assert_eq!(s.available(), 2);
}

#[test]
fn semaphore_misuse() {
    let s = Semaphore::new(2);
    assert_eq!(panics(|| s.release(1)), "sync: semaphore released more than held");
    assert_eq!(panics(|| s.acquire(3)), "sync: 3 permits of a semaphore of 2");
    let permit = s.try_permit(1);
    assert!(permit.is_some() && s.try_permit(2).is_none());
    drop(permit);
    assert_eq!(s.available(), 2);
}

#[test]
fn errgroup_first_error_wins_and_stops() {
    let stops = Arc::new(AtomicUsize::new(0));
    let n = stops.clone();
    let g = errgroup::Group::with_stop(move |e: Option<&String>| {
        assert_eq!(e.unwrap(), "first");
        n.fetch_add(1, SeqCst);
    });
    let stopped = stops.clone();
    g.go(|| Err("first".into()));
    g.go(move || {
        until(|| stopped.load(SeqCst) == 1);
        Err("second".into())
    });
    g.go(|| Ok(()));
    g.go(|| goexit());
    assert_eq!(g.wait(), Err("first".to_string()));
    assert_eq!((g.wait(), stops.load(SeqCst)), (Ok(()), 1));
}

#[test]
fn errgroup_stops_at_the_end_of_wait() {
    let done = chan::<()>(0);
    let tx = done.clone();
    let g = errgroup::Group::<()>::with_stop(move |e| {
        assert!(e.is_none());
        tx.close();
    });
    g.go(|| Ok(()));
    assert_eq!(g.wait(), Ok(()));
    assert_eq!(done.recv(), None);
}

#[test]
fn errgroup_raises_panics_in_wait() {
    let g = errgroup::Group::<&str>::new();
    g.go(|| Err("an error"));
    g.go(|| panic!("child {}", 7));
    assert_eq!(panics(|| _ = g.wait()), "child 7");
}

#[test]
fn errgroup_limit() {
    let g = errgroup::Group::<()>::new();
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    g.set_limit(3);
    for _ in 0..20 {
        let (busy, most) = (busy.clone(), most.clone());
        g.go(move || {
            most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
            until(|| most.load(SeqCst) >= 3);
            thread::sleep(Duration::from_millis(1)); // long enough for a fourth
            busy.fetch_sub(1, SeqCst);
            Ok(())
        });
    }
    g.wait().unwrap();
    assert_eq!(most.load(SeqCst), 3);

    let hold = chan::<()>(0);
    for _ in 0..3 {
        let hold = hold.clone();
        assert!(g.try_go(move || Ok(_ = hold.recv())));
    }
    assert!(!g.try_go(|| Ok(())));
    assert_eq!(
        panics(|| g.set_limit(None)),
        "errgroup: modify limit while 3 goroutines in the group are still active"
    );
    hold.close();
    g.wait().unwrap();
    g.set_limit(0);
    assert!(!g.try_go(|| Ok(())));
    g.set_limit(None);
    assert!(g.try_go(|| Ok(())));
    g.wait().unwrap();
}

#[test]
fn singleflight_shares() {
    let (g, calls) = (
        Arc::new(singleflight::Group::new()),
        Arc::new(AtomicUsize::new(0)),
    );
    let hs: Vec<_> = (0..5)
        .map(|_| {
            let (g, calls) = (g.clone(), calls.clone());
            spawn(move || {
                g.do_call("key", || {
                    calls.fetch_add(1, SeqCst);
                    until(|| g.followers(&"key") == 4);
                    7
                })
            })
        })
        .collect();
    for h in hs {
        assert_eq!(h.join().unwrap(), (7, true));
    }
    assert_eq!((calls.load(SeqCst), g.in_flight()), (1, 0));
    assert_eq!(g.do_call("key", || 8), (8, false));
}

#[test]
fn singleflight_forget_starts_another() {
    let g = Arc::new(singleflight::Group::new());
    let (started, go_on) = (chan::<()>(0), chan::<()>(0));
    let (s, o) = (started.clone(), go_on.clone());
    let first = g.do_chan("k", move || {
        s.send(());
        o.recv();
        1
    });
    started.recv();
    g.forget(&"k");
    assert_eq!(g.do_call("k", || 2), (2, false));
    go_on.send(());
    assert_eq!(first.recv(), Some((1, false)));
    assert_eq!(g.in_flight(), 0);
}

/// A key may use the group when it is dropped: the mutex is free then.
#[test]
fn singleflight_drops_keys_without_its_mutex() {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Key(u8);
    static GROUP: singleflight::Group<Key, u8> = singleflight::Group::new();
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    fn look() {
        let looked = chan::<usize>(1);
        let tx = looked.sender();
        crate::go(move || tx.send(GROUP.in_flight()));
        assert!(
            looked.recv_timeout(Duration::from_secs(10)).is_ok(),
            "dropped under the mutex"
        );
        SEEN.fetch_add(1, SeqCst);
    }
    impl Drop for Key {
        fn drop(&mut self) {
            look();
        }
    }
    impl Clone for Key {
        fn clone(&self) -> Self {
            look();
            Key(self.0)
        }
    }
    let (got, shared) = GROUP.do_call(Key(1), || {
        let late = spawn(|| GROUP.do_call(Key(1), || 9));
        until(|| GROUP.followers(&Key(1)) == 1);
        GROUP.forget(&Key(1));
        assert_eq!(GROUP.do_call(Key(1), || 4), (4, false));
        drop(late);
        1
    });
    assert_eq!((got, shared, GROUP.in_flight()), (1, true, 0));
    assert!(SEEN.load(SeqCst) >= 8);
}

#[test]
fn singleflight_panics_everywhere() {
    let g = Arc::new(singleflight::Group::<u8, u8>::new());
    let h = g.clone();
    let leader = spawn(move || {
        h.do_call(1, || {
            until(|| h.followers(&1) == 1);
            panic!("no luck")
        })
    });
    until(|| g.in_flight() == 1);
    let text = panics(|| _ = g.do_call(1, || 5));
    let first = leader.join().unwrap_err().to_string();
    assert_eq!((first.as_str(), g.in_flight()), ("no luck", 0));
    assert!(text == "singleflight: no luck", "{text}");
    let e = g.clone();
    let gone = spawn(move || e.do_call(2, || goexit()));
    assert!(gone.join().is_err());
    assert_eq!(g.do_call(2, || 3), (3, false));
}

#[test]
fn value_frees_what_it_held() {
    let counted = Arc::new(());
    let v = Value::new(counted.clone());
    let kept = v.load();
    for _ in 0..40_000 {
        drop(v.load()); // more often than the word can count
    }
    v.store(counted.clone());
    assert_eq!(Arc::strong_count(&counted), 3);
    let again = kept.clone();
    drop((kept, again));
    assert_eq!(Arc::strong_count(&counted), 2);
    let before = v.swap(counted.clone());
    assert_eq!(Arc::strong_count(&counted), 3);
    v.store(before.clone()); // back in, and a snapshot of it
    assert!(Snapshot::same(&v.load(), &before));
    assert!(v.compare_and_swap(&before, before.clone()));
    assert!(!v.compare_and_swap(&Snapshot::new(counted.clone()), counted.clone()));
    drop((v, before));
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn value_is_always_whole() {
    let v = Value::new((0u64, 0u64));
    scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..20_000 {
                    let x = v.load();
                    assert_eq!(x.0, x.1);
                }
            });
        }
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..5_000 {
                    v.update(|x| (x.0 + 1, x.1 + 1));
                }
            });
        }
    });
    assert_eq!(*v.load(), (10_000, 10_000));
}

/// A collection is one of all pools: tests of pools run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn pool_survives_one_collection() {
    let _alone = ALONE.lock();
    let p = Pool::new(|| 0);
    assert_eq!(p.get(), 0);
    (1..=100).for_each(|i| p.put(i));
    pool::on_collection();
    let mut got: Vec<_> = (0..50).map(|_| p.get()).collect();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 50, "each once");
    pool::on_collection();
    assert_eq!(p.try_get(), None);
}

#[test]
fn pool_serves_other_threads_and_drops_the_rest() {
    let _alone = ALONE.lock();
    let counted = Arc::new(());
    let p = Arc::new(Pool::new(|| unreachable!()));
    (0..30).for_each(|_| p.put(counted.clone()));
    let q = p.clone();
    let stolen = thread::spawn(move || (0..30).filter_map(|_| q.try_get()).count())
        .join()
        .unwrap();
    assert_eq!(stolen, 29, "all but the private one");
    drop(p);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn pool_under_collections() {
    let _alone = ALONE.lock();
    let p = Pool::new(Vec::<u8>::new);
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for i in 0..10_000 {
                    let mut v = p.get();
                    assert!(v.is_empty());
                    v.push(i as u8);
                    let w = p.get();
                    v.clear();
                    p.put(v);
                    p.put(w);
                }
            });
        }
        for _ in 0..200 {
            pool::on_collection();
        }
    });
}
