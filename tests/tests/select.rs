//! The corners of `select!` and of channels that Go's semantics have, one test each.
#![no_std]
#![no_main]
#![recursion_limit = "512"] // a `select!` with a hundred arms
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use burrow::{Chan, Receiver, Select, TryRecvError, chan, go, recover, select, spawn, time, yield_now};
use burrow_tests::{Procs, Rng, Until};

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);

#[burrow::test]
fn nil_arms_are_never_ready() {
    let (nil, live) = (Chan::<u32>::nil(), chan::<u32>(1));
    for _ in 0..100 {
        live.send(1);
        select! {
            recv(nil) -> _ => unreachable!("nil"),
            send(nil, 2) => unreachable!("nil"),
            recv(live) -> v => assert_eq!(v, Some(1)),
        }
    }
    select! {
        recv(nil) -> _ => unreachable!("nil"),
        send(nil, 2) => unreachable!("nil"),
        default => {}
    }
    select! {
        recv(nil) -> _ => unreachable!("nil"),
        default(MS) => {}
    }
}

/// An arm is turned off by making its channel nil: the idiom of merging loops.
#[burrow::test]
fn merging_until_both_are_closed() {
    let (mut a, mut b) = (chan::<u32>(0), chan::<u32>(0));
    for (ch, base) in [(a.clone(), 0), (b.clone(), 1000)] {
        go(move || {
            for i in 0..100 {
                ch.send(base + i);
            }
            ch.close();
        });
    }
    let mut sum = 0;
    while !(a.is_nil() && b.is_nil()) {
        select! {
            recv(a) -> v => match v { Some(v) => sum += v, None => a = Chan::nil() },
            recv(b) -> v => match v { Some(v) => sum += v, None => b = Chan::nil() },
        }
    }
    assert_eq!(sum, 2 * (99 * 50) + 100 * 1000);
}

/// Send and receive on one unbuffered channel in one select: it does not talk to itself.
#[burrow::test]
fn a_select_does_not_meet_itself() {
    let ch = chan::<u32>(0);
    select! {
        send(ch, 1) => unreachable!("nobody receives"),
        recv(ch) -> _ => unreachable!("nobody sends"),
        default(2 * MS) => {}
    }
    // Two such goroutines do meet, in either direction.
    let peer = {
        let ch = ch.clone();
        spawn(move || {
            select! {
                send(ch, 7) => 1,
                recv(ch) -> v => { assert_eq!(v, Some(8)); 2 }
            }
        })
    };
    let mine = select! {
        send(ch, 8) => 1,
        recv(ch) -> v => { assert_eq!(v, Some(7)); 2 }
    };
    assert_eq!(mine + peer.join().expect("no panic"), 3);
    // With a buffer it may.
    let own = chan::<u32>(1);
    for i in 0..10 {
        select! {
            send(own, i) => {}
            recv(own) -> v => assert_eq!(v, Some(i - 1)),
        }
    }
}

/// The same channel in many arms: one value makes one of them ready, and only one takes it.
#[burrow::test]
fn one_channel_in_several_arms() {
    let ch = chan::<u32>(0);
    let mut seen = [0; 3];
    let tx = ch.sender();
    go(move || (0..600).for_each(|i| tx.send(i)));
    for i in 0..600 {
        let (arm, v) = select! {
            recv(ch) -> v => (0, v),
            recv(ch) -> v => (1, v),
            recv(ch) -> v => (2, v),
        };
        assert_eq!(v, Some(i));
        seen[arm] += 1;
    }
    assert_eq!(seen.iter().sum::<u32>(), 600);
    // Which arm a waiting select is woken by is its peer's choice; among ready arms it is chance.
    let ready = chan::<u32>(600);
    (0..600).for_each(|i| ready.send(i));
    let mut seen = [0; 3];
    for _ in 0..600 {
        select! {
            recv(ready) => seen[0] += 1,
            recv(ready) => seen[1] += 1,
            recv(ready) => seen[2] += 1,
        }
    }
    assert!(seen.iter().all(|&n| n > 120), "{seen:?}");
}

#[burrow::test]
fn closed_while_selected() {
    for sending in [false, true] {
        let (ch, other) = (chan::<u32>(0), chan::<u32>(0));
        let waiter = {
            let (ch, other) = (ch.clone(), other.clone());
            spawn(move || {
                select! {
                    recv(other) -> _ => unreachable!("nobody sends"),
                    send(ch, 1) => unreachable!("closed"),
                }
            })
        };
        let reader = (!sending).then(|| {
            let other = other.clone();
            spawn(move || {
                select! {
                    recv(other) -> v => v,
                    default(Duration::from_secs(60)) => unreachable!("closed"),
                }
            })
        });
        time::sleep(3 * MS);
        ch.close();
        let said = waiter
            .join()
            .expect_err("a chosen send on a closed channel panics");
        assert_eq!(format!("{said}"), "send on closed channel");
        if let Some(reader) = reader {
            other.close();
            assert_eq!(reader.join().expect("no panic"), None);
        }
    }
}

#[burrow::test]
fn a_chosen_send_on_a_closed_channel_panics_and_drops_its_value() {
    let value = Arc::new(());
    let ch = chan::<Arc<()>>(1);
    ch.close();
    let sent = value.clone();
    let said = recover(|| {
        select! {
            send(ch, sent) => {}
            default => unreachable!("closed is ready"),
        }
    });
    assert_eq!(format!("{}", said.expect_err("panics")), "send on closed channel");
    assert_eq!(Arc::strong_count(&value), 1);
}

#[burrow::test]
fn a_buffer_drains_after_close() {
    let ch = chan::<u32>(10);
    (0..10).for_each(|i| ch.send(i));
    ch.close();
    for i in 0..10 {
        select! {
            recv(ch) -> v => assert_eq!(v, Some(i)),
            default => unreachable!("drained too early"),
        }
    }
    for _ in 0..3 {
        select! {
            recv(ch) -> v => assert_eq!(v, None),
            default => unreachable!("closed is ready"),
        }
    }
    assert_eq!(ch.try_recv(), Err(TryRecvError::Closed));
}

#[burrow::test]
fn zero_sized_and_page_sized_values() {
    let (unit, page) = (chan::<()>(0), chan::<[u8; 4096]>(0));
    let (u, p) = (unit.sender(), page.sender());
    go(move || {
        for i in 0..50_u8 {
            select! { send(u, ()) => {} }
            select! { send(p, [i; 4096]) => {} }
        }
    });
    let (mut units, mut pages) = (0, 0_u8);
    while pages < 50 {
        select! {
            recv(unit) -> v => { assert_eq!(v, Some(())); units += 1 }
            recv(page) -> v => { assert_eq!(v, Some([pages; 4096])); pages += 1 }
        }
    }
    assert_eq!(units, 50);
    let held = chan::<()>(1 << 16); // a buffer of nothing takes no memory
    (0..1000).for_each(|_| held.send(()));
    assert_eq!(held.len(), 1000);
}

/// A select with a hundred arms on four channels, from all sides.
#[burrow::test]
fn a_hundred_arms_on_four_channels() {
    let c: Vec<_> = (0..4).map(|_| chan::<u32>(0)).collect();
    for ch in &c {
        let tx = ch.sender();
        go(move || (0..100).for_each(|i| tx.send(i)));
    }
    let (a, b, d, e) = (&c[0], &c[1], &c[2], &c[3]);
    macro_rules! arms {
        ($n:ident; $($skip:tt)*) => {
            select! { $(
                recv(*a) -> v => { let _ = $skip; $n += v.unwrap_or(0) }
                recv(*b) -> v => $n += v.unwrap_or(0),
                recv(*d) -> v => $n += v.unwrap_or(0),
                recv(*e) -> v => $n += v.unwrap_or(0),
            )* }
        };
    }
    let mut sum = 0;
    for _ in 0..400 {
        arms!(sum; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25);
    }
    assert_eq!(sum, 4 * 99 * 50);
}

fn over<'a>(rx: &'a [Receiver<u32>], got: &'a mut [Option<u32>]) -> Select<'a> {
    let mut sel = Select::new();
    for (rx, place) in rx.iter().zip(got) {
        sel.recv(rx, place);
    }
    sel
}

/// As many cases as reflect.Select allows; none is favoured, all are found.
#[burrow::test]
fn sixty_five_thousand_cases() {
    const N: usize = 65_536;
    let few: Vec<_> = (0..64).map(|_| chan::<u32>(0)).collect();
    let mut rng = Rng::new(1);
    let rx: Vec<_> = (0..N).map(|_| few[rng.below(64) as usize].receiver()).collect();
    let mut got = vec![None; N];
    assert_eq!(over(&rx, &mut got).try_select(), None);
    assert_eq!(over(&rx, &mut got).select_timeout(MS), None);
    for ch in few.iter().step_by(9) {
        let tx = ch.sender();
        go(move || tx.send(5));
        let i = over(&rx, &mut got).select();
        assert_eq!(got[i].take(), Some(5));
        assert!(rx[i] == ch.receiver());
    }
}

/// Goroutines that each wait on a random set of channels, in either direction, with time limits that often win.
#[burrow::test]
fn a_knot_of_dynamic_selects_with_timeouts() {
    let until = Until::storm(Duration::from_secs(1));
    let chans: Arc<Vec<_>> = Arc::new((0..8).map(|i| chan::<u32>(i % 3)).collect());
    let (sent, received) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let handles: Vec<_> = (0..16_u64)
        .map(|id| {
            let (chans, sent, received) = (chans.clone(), sent.clone(), received.clone());
            spawn(move || {
                let mut rng = Rng::new(id);
                while !until.over() || sent.load(Ordering::Relaxed) == 0 {
                    let n = 1 + rng.below(12) as usize;
                    let picks: Vec<_> = (0..n).map(|_| rng.below(8) as usize).collect();
                    let tx: Vec<_> = picks.iter().map(|&i| chans[i].sender()).collect();
                    let rx: Vec<_> = picks.iter().map(|&i| chans[i].receiver()).collect();
                    let (mut out, mut got) = (vec![Some(1); n], vec![None; n]);
                    let mut sel = Select::new();
                    let mut senders = Vec::new();
                    for (((tx, rx), o), g) in tx.iter().zip(&rx).zip(&mut out).zip(&mut got) {
                        let sends = rng.below(2) == 0;
                        senders.push(sends);
                        if sends {
                            sel.send(tx, o)
                        } else {
                            sel.recv(rx, g)
                        };
                    }
                    match sel.select_timeout(Duration::from_nanos(rng.below(50_000))) {
                        Some(i) if senders[i] => {
                            assert_eq!(out[i], None);
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(i) => {
                            assert_eq!(got[i], Some(1));
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                        None => assert!(out.iter().all(Option::is_some) && got.iter().all(Option::is_none)),
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    let left: usize = chans.iter().map(Chan::len).sum();
    let (sent, received) = (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
    assert_eq!(sent, received + left as u32);
}

/// A select that always finds something ready does not starve the rest of its P.
#[burrow::test]
fn a_busy_select_lets_others_run() {
    let one = Procs::one();
    let (ch, turn) = (chan::<u32>(1), Arc::new(AtomicU32::new(0)));
    let other = turn.clone();
    go(move || other.store(1, Ordering::Release));
    let begin = time::Instant::now();
    while turn.load(Ordering::Acquire) == 0 {
        select! {
            send(ch, 1) => {}
            recv(ch) => {}
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    drop(one);
    yield_now();
}
