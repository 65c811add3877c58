//! Many threads at once.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{chan, go, select, spawn, sync::WaitGroup};

/// Every value arrives once, and those of one producer in order.
fn mpmc(cap: usize, producers: u64, consumers: u64, each: u64) {
    let ch = chan::<u64>(cap);
    let wg = Arc::new(WaitGroup::new());
    for p in 0..producers {
        let tx = ch.sender();
        wg.go(move || (0..each).for_each(|i| tx.send(p << 32 | i)));
    }
    let hs: Vec<_> = (0..consumers)
        .map(|_| {
            let rx = ch.receiver();
            spawn(move || rx.iter().collect::<Vec<_>>())
        })
        .collect();
    wg.wait();
    ch.close();
    let got: Vec<Vec<u64>> = hs.into_iter().map(|h| h.join().unwrap()).collect();
    for g in &got {
        for p in 0..producers {
            assert!(g.iter().filter(|v| *v >> 32 == p).is_sorted());
        }
    }
    let mut all: Vec<u64> = got.into_iter().flatten().collect();
    all.sort_unstable();
    let want: Vec<u64> = (0..producers)
        .flat_map(|p| (0..each).map(move |i| p << 32 | i))
        .collect();
    assert_eq!(all, want);
}

#[test]
fn mpmc_unbuffered() {
    mpmc(0, 4, 4, 500);
}

#[test]
fn mpmc_buffered() {
    mpmc(1, 4, 4, 1000);
    mpmc(7, 4, 4, 3000);
}

/// Two goroutines whose selects offer each other both directions must always pair up.
#[test]
fn selects_meet_each_other() {
    let (a, b) = (chan::<u32>(0), chan::<u32>(0));
    const N: u32 = 2000;
    let run = move |me: u32, a: crate::Chan<u32>, b: crate::Chan<u32>| {
        let (mut sent, mut got) = (0u64, 0u64);
        for i in 0..N {
            let v = i * 2 + me;
            if me == 0 {
                select! { send(a, v) => sent += u64::from(v), recv(b) -> w => got += u64::from(w.unwrap()) }
            } else {
                select! { send(b, v) => sent += u64::from(v), recv(a) -> w => got += u64::from(w.unwrap()) }
            }
        }
        (sent, got)
    };
    let (a2, b2) = (a.clone(), b.clone());
    let h = spawn(move || run(1, a2, b2));
    let (s0, g0) = run(0, a, b);
    let (s1, g1) = h.join().unwrap();
    assert_eq!((s0, s1), (g1, g0));
}

/// Four goroutines select on four channels in all directions; everything sent is received.
#[test]
fn selects_in_a_knot() {
    let chans: Vec<_> = (0..4).map(|_| chan::<u64>(0)).collect();
    let done = chan::<()>(0);
    let total = chan(8);
    let moved = Arc::new(AtomicUsize::new(0));
    for me in 0..4usize {
        let (c, done, total, moved) = (chans.clone(), done.clone(), total.clone(), moved.clone());
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
                moved.fetch_add(1, SeqCst);
            }
            total.send((sent, got));
        });
    }
    while moved.load(SeqCst) < 20_000 {
        std::thread::yield_now(); // a lost wake-up would hang here
    }
    done.close();
    let (mut sent, mut got) = (0, 0);
    for _ in 0..4 {
        let (s, g) = total.recv().unwrap();
        sent += s;
        got += g;
    }
    assert!(sent == got && sent + got >= 20_000, "{sent} sent, {got} received");
}

/// A timeout races with the hand-off: the value is received or still with the sender, never both or neither.
#[test]
fn timeouts_race_with_hand_offs() {
    let ch = chan::<u64>(0);
    let rx = ch.receiver();
    let h = spawn(move || {
        let (mut n, mut misses) = (0u64, 0u32);
        loop {
            match rx.recv_timeout(Duration::from_micros(u64::from(misses % 7) * 10)) {
                Ok(u64::MAX) => return n,
                Ok(_) => n += 1,
                Err(_) => misses += 1,
            }
        }
    });
    let mut sent = 0;
    for i in 0..3000u64 {
        if ch.send_timeout(i, Duration::from_micros(i % 5 * 10)).is_ok() {
            sent += 1;
        }
    }
    ch.send(u64::MAX);
    assert_eq!(h.join().unwrap(), sent);
}
