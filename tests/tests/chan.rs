//! Channels and `select!` on goroutines: what the host's threads cannot show is that no core is blocked, that
//! preemption may strike anywhere, and that thousands wait at once.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};

use burrow::{
    Chan, RecvTimeoutError, Select, TryRecvError, TrySendError, chan, go,
    sched::WaitReason,
    select, spawn,
    sync::{Condvar, Mutex, WaitGroup},
    time::{Duration, Instant},
    yield_now,
};
use burrow_tests::{Procs, at_the_end, until_parked};

burrow::test_main!();

#[burrow::test]
fn ping_pong() {
    let (ping, pong) = (chan::<u32>(0), chan::<u32>(0));
    let (rx, tx) = (ping.receiver(), pong.sender());
    go(move || {
        for v in &rx {
            tx.send(v + 1);
        }
        tx.close();
    });
    for i in 0..1000 {
        ping.send(i);
        assert_eq!(pong.recv(), Some(i + 1));
    }
    ping.close();
    assert_eq!(pong.recv(), None);
}

#[burrow::test]
fn operations_that_do_not_wait() {
    let ch = chan(1);
    assert_eq!(ch.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(ch.try_send(1), Ok(()));
    assert_eq!(ch.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(ch.try_recv(), Ok(1));
    ch.close();
    assert_eq!(ch.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(ch.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!(Chan::<u8>::nil().try_recv(), Err(TryRecvError::Empty));
}

#[burrow::test]
#[should_panic(expected = "send on closed channel")]
fn send_on_closed() {
    let ch = chan(1);
    ch.close();
    ch.send(1);
}

#[burrow::test]
#[should_panic(expected = "close of closed channel")]
fn close_twice() {
    let ch = chan::<u8>(0);
    ch.close();
    ch.close();
}

#[burrow::test]
#[should_panic(expected = "close of nil channel")]
fn close_of_nil() {
    Chan::<u8>::nil().close();
}

#[burrow::test]
fn close_wakes_all() {
    let ch = chan::<u32>(0);
    let receivers: Vec<_> = (0..100)
        .map(|_| {
            let rx = ch.receiver();
            spawn(move || rx.recv())
        })
        .collect();
    until_parked(WaitReason::ChanRecv, 100);
    ch.close();
    for r in receivers {
        assert_eq!(r.join().unwrap(), None);
    }
}

#[burrow::test]
fn close_makes_waiting_senders_panic() {
    let ch = chan::<u32>(0);
    let senders: Vec<_> = (0..10)
        .map(|i| {
            let tx = ch.sender();
            spawn(move || tx.send(i))
        })
        .collect();
    until_parked(WaitReason::ChanSend, 10);
    ch.close();
    for s in senders {
        assert!(
            s.join()
                .is_err_and(|p| alloc::format!("{p}") == "send on closed channel")
        );
    }
}

#[burrow::test]
fn waiters_are_served_in_order() {
    let (ch, out) = (chan::<u32>(0), chan(16));
    for i in 0..10 {
        let (rx, out) = (ch.receiver(), out.sender());
        go(move || out.send((i, rx.recv())));
        // Until it waits: the next one must come after it, however long a busy host keeps us off.
        until_parked(WaitReason::ChanRecv, i as usize + 1);
    }
    for i in 0..10 {
        ch.send(i);
    }
    let mut got: Vec<_> = (0..10).map(|_| out.recv().expect("open")).collect();
    got.sort_unstable();
    assert!(got.iter().all(|&(i, v)| v == Some(i)), "{got:?}");
}

#[burrow::test]
fn values_are_dropped_once() {
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let n = Arc::new(AtomicU32::new(0));
    let ch = chan(8);
    for _ in 0..8 {
        ch.send(Counted(n.clone()));
    }
    drop(ch.recv());
    assert!(ch.try_send(Counted(n.clone())).is_ok());
    assert!(ch.try_send(Counted(n.clone())).is_err());
    assert_eq!(n.load(Ordering::Relaxed), 2);
    drop(ch);
    assert_eq!(n.load(Ordering::Relaxed), 10);
}

#[burrow::test]
fn big_values_cross_stacks_page_by_page() {
    const N: usize = 4096;
    let ch = chan::<[u64; N]>(0);
    let tx = ch.sender();
    go(move || (0..8).for_each(|i| tx.send([i; N])));
    for i in 0..8 {
        assert!(ch.recv().expect("open").iter().all(|&x| x == i));
    }
    // A parked receiver with a place that was never touched.
    let rx = ch.receiver();
    let h = spawn(move || rx.recv().expect("open")[N - 1]);
    until_parked(WaitReason::ChanRecv, 1);
    ch.send([9; N]);
    assert_eq!(h.join().unwrap(), 9);
}

#[burrow::test]
fn select_takes_what_is_ready() {
    let (a, b, nil) = (chan::<u32>(1), chan::<u32>(1), Chan::<u32>::nil());
    assert_eq!(
        select! { recv(a) -> v => v, recv(nil) -> v => v, default => Some(99) },
        Some(99)
    );
    b.send(5);
    let v = select! {
        recv(a) -> _ => 0,
        recv(b) -> v => v.unwrap(),
        send(nil, 1) => 1,
    };
    assert_eq!(v, 5);
    let mut offer = Some(7);
    select! { send(a, &mut offer) => {}, default => panic!("a has room") }
    assert_eq!((offer, a.recv()), (None, Some(7)));
}

#[burrow::test]
fn select_with_a_deadline() {
    let ch = chan::<u32>(0);
    let t = Instant::now();
    let timed_out = select! { recv(ch) -> _ => false, default(Duration::from_millis(10)) => true };
    assert!(timed_out && t.elapsed() >= Duration::from_millis(10));
    assert_eq!(
        ch.recv_timeout(Duration::from_millis(2)),
        Err(RecvTimeoutError::Timeout)
    );
    let tx = ch.sender();
    go(move || {
        until_parked(WaitReason::Select, 1);
        tx.send(3);
    });
    assert_eq!(ch.recv_timeout(Duration::from_secs(20)), Ok(3));
}

#[burrow::test]
fn select_is_fair() {
    const ROUNDS: u32 = 100_000;
    let (a, b, c) = (chan::<u32>(1), chan::<u32>(1), chan::<u32>(1));
    let mut n = [0u32; 3];
    for _ in 0..ROUNDS {
        for ch in [&a, &b, &c] {
            let _ = ch.try_send(0);
        }
        let i = select! { recv(a) -> _ => 0, recv(b) -> _ => 1, recv(c) -> _ => 2 };
        n[i] += 1;
    }
    let expected = f64::from(ROUNDS) / 3.0;
    let chi2: f64 = n
        .iter()
        .map(|&x| (f64::from(x) - expected) * (f64::from(x) - expected) / expected)
        .sum();
    assert!(chi2 < 30.0, "{n:?}"); // p = 3e-7 with two degrees of freedom
}

#[burrow::test]
fn selects_in_a_knot() {
    let chans: Vec<Chan<u64>> = (0..4).map(|_| chan(0)).collect();
    let (done, total) = (chan::<()>(0), chan::<(u64, u64)>(8));
    let moved = Arc::new(AtomicU32::new(0));
    for me in 0..8usize {
        let (c, done, total, moved) = (chans.clone(), done.receiver(), total.sender(), moved.clone());
        go(move || {
            let (mut sent, mut got) = (0u64, 0u64);
            loop {
                let [w, x, y, z] = [me, me + 1, me + 2, me + 3].map(|i| &c[i % 4]);
                select! {
                    send(w, 1) => sent += 1,
                    recv(x) -> v => got += v.unwrap(),
                    send(y, 1) => sent += 1,
                    recv(z) -> v => got += v.unwrap(),
                    recv(done) -> _ => break,
                }
                moved.fetch_add(1, Ordering::Relaxed);
            }
            total.send((sent, got));
        });
    }
    while moved.load(Ordering::Relaxed) < 20_000 {
        yield_now();
    }
    done.close();
    let (mut sent, mut got) = (0, 0);
    for _ in 0..8 {
        let (s, g) = total.recv().expect("open");
        sent += s;
        got += g;
    }
    assert!(sent == got && sent >= 9_000, "{sent} sent, {got} received");
}

#[burrow::test]
fn timeouts_race_with_hand_offs() {
    let ch = chan::<u64>(0);
    let rx = ch.receiver();
    let h = spawn(move || {
        let (mut n, mut misses) = (0u64, 0u64);
        loop {
            match rx.recv_timeout(Duration::from_micros(misses % 7 * 10)) {
                Ok(u64::MAX) => return n,
                Ok(_) => n += 1,
                Err(_) => misses += 1,
            }
        }
    });
    let mut sent = 0;
    for i in 0..2000u64 {
        if ch.send_timeout(i, Duration::from_micros(i % 5 * 10)).is_ok() {
            sent += 1;
        }
    }
    ch.send(u64::MAX);
    assert_eq!(h.join().unwrap(), sent);
}

#[burrow::test]
fn dynamic_select_over_many() {
    let chans: Vec<Chan<usize>> = (0..50).map(|_| chan(0)).collect();
    for (i, ch) in chans.iter().enumerate() {
        let tx = ch.sender();
        go(move || tx.send(i));
    }
    let receivers: Vec<_> = chans.iter().map(Chan::receiver).collect();
    let mut seen = [false; 50];
    for _ in 0..50 {
        let mut places = vec![None; 50];
        let mut sel = Select::new();
        for (rx, place) in receivers.iter().zip(&mut places) {
            sel.recv(rx, place);
        }
        let i = sel.select();
        assert_eq!(places[i], Some(i));
        assert!(!core::mem::replace(&mut seen[i], true));
    }
}

#[burrow::test]
fn every_value_arrives_once() {
    const PRODUCERS: u32 = 8;
    const CONSUMERS: u32 = 8;
    const EACH: u32 = 2000;
    for cap in [0, 1, 128] {
        let ch = chan::<u32>(cap);
        let seen: Arc<Vec<AtomicU32>> = Arc::new((0..PRODUCERS * EACH).map(|_| AtomicU32::new(0)).collect());
        let (producers, consumers) = (Arc::new(WaitGroup::new()), Arc::new(WaitGroup::new()));
        for p in 0..PRODUCERS {
            let tx = ch.sender();
            producers.go(move || (0..EACH).for_each(|i| tx.send(p * EACH + i)));
        }
        for _ in 0..CONSUMERS {
            let (rx, seen) = (ch.receiver(), seen.clone());
            consumers.go(move || {
                let mut last = [None; PRODUCERS as usize];
                for v in &rx {
                    assert_eq!(seen[v as usize].fetch_add(1, Ordering::Relaxed), 0);
                    let of = &mut last[(v / EACH) as usize];
                    assert!(*of < Some(v), "out of order");
                    *of = Some(v);
                }
            });
        }
        producers.wait();
        ch.close();
        consumers.wait();
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }
}

#[burrow::test]
fn thousands_wait_at_once() {
    let (gate, out) = (chan::<()>(0), chan::<u32>(64));
    for i in 0..5000 {
        let (gate, out) = (gate.receiver(), out.sender());
        go(move || {
            gate.recv();
            out.send(i);
        });
    }
    yield_now();
    gate.close();
    let sum: u64 = (0..5000).map(|_| u64::from(out.recv().expect("open"))).sum();
    assert_eq!(sum, 5000 * 4999 / 2);
}

/// Whom the last call of a goroutine wakes is awake, wherever in that call its stack ended. On one P he sleeps again before each
/// call.
#[burrow::test]
fn who_is_woken_at_the_end_of_a_stack() {
    let _one = Procs::one();
    // For one step of `at_the_end`: the end of the stack comes to be everywhere.
    for (shift, how) in (0..60).flat_map(|s| (0..3).map(move |h| (s, h))) {
        let (ch, done) = (chan::<u32>(0), chan::<()>(1));
        let pair = Arc::new((Mutex::new(0u32), Condvar::new()));
        let (rx, last, theirs) = (ch.receiver(), done.sender(), pair.clone());
        go(move || {
            match how {
                0 => while rx.recv().is_some() {},
                1 => while select! { recv(rx) -> v => v.is_some() } {},
                _ => {
                    let mut g = theirs.0.lock();
                    while *g != u32::MAX {
                        g = theirs.1.wait(g);
                    }
                }
            }
            last.send(());
        });
        let (tx, ours) = (ch.sender(), pair.clone());
        let p = spawn(move || {
            yield_now();
            at_the_end(shift, &|| {
                match how {
                    0 | 1 => tx.send(1),
                    _ => ours.1.notify_one(),
                }
                yield_now(); // it receives, and sleeps
            })
        });
        assert!(matches!(
            p.join().unwrap_err().kind(),
            burrow::panic::Kind::StackOverflow { .. }
        ));
        *pair.0.lock() = u32::MAX;
        pair.1.notify_one();
        ch.close();
        let begin = Instant::now();
        while done.try_recv().is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{how} at {shift}: who was woken sleeps on"
            );
            yield_now();
        }
    }
}
