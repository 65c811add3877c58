//! `select!` and `Select`.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

use super::util::{A_WHILE, Counted, panics, settle};
use crate::{Chan, Select, TryRecvError, chan, go, select, spawn};

#[test]
fn default_when_nothing_is_ready() {
    let (a, b) = (chan::<u8>(1), chan::<u8>(0));
    let one = select! { recv(a) -> _ => 1, default => 2 };
    let two = select! { recv(a) -> _ => 1, send(b, 1) => 2, default => 3 };
    assert_eq!((one, two), (2, 3));
    a.send(7);
    let v = select! { recv(a) -> v => v, recv(b) -> v => v, default => None };
    assert_eq!(v, Some(7));
}

#[test]
fn arms_without_binding_and_with_patterns() {
    let ch = chan(2);
    ch.send((1, 2));
    ch.send((3, 4));
    let x = select! { recv(ch) -> pair => { let (a, b) = pair.unwrap(); a + b } };
    assert_eq!(x, 3);
    select! { recv(ch) => {} }
    select! {
        send(ch, (5, 6)) -> () => {}
        recv(ch) -> _ => unreachable!(),
    }
    assert_eq!(ch.len(), 1);
}

#[test]
fn blocks_until_a_peer_comes() {
    let (a, b) = (chan::<u32>(0), chan::<u32>(0));
    let tx = b.sender();
    go(move || {
        settle();
        tx.send(9);
    });
    let v = select! { recv(a) -> v => v.unwrap(), recv(b) -> v => v.unwrap() + 1 };
    assert_eq!(v, 10);

    let rx = a.receiver();
    let h = spawn(move || {
        settle();
        rx.recv()
    });
    select! { send(a, 4) => {}, recv(b) -> _ => unreachable!() }
    assert_eq!(h.join().unwrap(), Some(4));
    // No waiter was left behind.
    assert!(a.try_send(1).is_err() && b.try_send(1).is_err());
    assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn close_wakes_a_waiting_select() {
    let (a, b) = (chan::<u32>(0), chan::<u32>(0));
    let c = b.clone();
    go(move || {
        settle();
        c.close();
    });
    let v = select! { recv(a) -> v => (1, v), recv(b) -> v => (2, v) };
    assert_eq!(v, (2, None));
    let (d, msg) = (
        a.clone(),
        panics(|| select! { send(b, 1) => {}, recv(a) -> _ => {} }),
    );
    assert_eq!(msg, "send on closed channel");
    go(move || {
        settle();
        d.close();
    });
    assert_eq!(panics(|| select! { send(a, 1) => {} }), "send on closed channel");
}

#[test]
fn nil_is_never_ready() {
    let (nil, ch) = (Chan::<u32>::nil(), chan(1));
    for i in 0..10 {
        ch.send(i);
        let v = select! { recv(nil) -> _ => None, send(nil, 1) => None, recv(ch) -> v => v };
        assert_eq!(v, Some(i));
    }
    assert!(select! { recv(nil) -> _ => false, default => true });
    assert!(select! { recv(nil) -> _ => false, default(Duration::from_millis(1)) => true });
}

#[test]
fn empty_select_blocks_for_ever() {
    let (a, nil) = (thread::spawn(|| select! {}), Chan::<u8>::nil());
    let b = thread::spawn(move || select! { recv(nil) -> _ => () });
    settle();
    assert!(!a.is_finished() && !b.is_finished());
}

#[test]
fn times_out_and_not_before() {
    let (a, b) = (chan::<u8>(0), chan::<u8>(0));
    let t = Instant::now();
    assert_eq!(
        select! { recv(a) -> _ => 1, send(b, 1) => 2, default(A_WHILE) => 3 },
        3
    );
    assert!(t.elapsed() >= A_WHILE);
    let tx = a.sender();
    go(move || {
        settle();
        tx.send(1);
    });
    assert_eq!(
        select! { recv(a) -> v => v.unwrap(), default(Duration::from_secs(10)) => 0 },
        1
    );
    assert_eq!(select! { recv(a) -> _ => 1, default(Duration::ZERO) => 2 }, 2);
}

#[test]
fn evaluates_once_in_source_order() {
    let log = std::cell::RefCell::new(Vec::new());
    let (a, b) = (chan::<u32>(1), chan::<u32>(1));
    let say = |s| log.borrow_mut().push(s);
    let chan_of = |s, c: &Chan<u32>| {
        say(s);
        c.clone()
    };
    select! {
        recv(chan_of("a", &a)) -> _ => unreachable!(),
        send(chan_of("b", &b), { say("value"); 1 }) => say("sent"),
        recv(chan_of("a2", &a)) -> _ => unreachable!(),
    }
    assert_eq!(*log.borrow(), ["a", "b", "value", "a2", "sent"]);
}

#[test]
fn control_flow_leaves_the_macro() {
    fn first(ch: &Chan<u32>) -> Result<u32, &'static str> {
        loop {
            select! {
                recv(ch) -> v => match v {
                    Some(0) => continue,
                    Some(1) => break,
                    Some(n) => return Ok(n),
                    None => Err("closed")?,
                },
            }
        }
        Ok(1)
    }
    let ch = chan(8);
    for v in [0, 0, 5, 0, 1] {
        ch.send(v);
    }
    ch.close();
    assert_eq!(
        (first(&ch), first(&ch), first(&ch)),
        (Ok(5), Ok(1), Err("closed"))
    );
}

#[test]
fn unsent_values_are_dropped_or_kept() {
    let (c, drops) = Counted::new();
    let (a, b) = (chan::<Counted>(1), chan::<u8>(1));
    b.send(1);
    select! { send(Chan::nil(), c.clone()) => unreachable!(), recv(b) -> _ => assert_eq!(drops.load(SeqCst), 1) }
    let mut mine = Some(c.clone());
    select! { send(Chan::<Counted>::nil(), &mut mine) => unreachable!(), default => {} }
    assert!(mine.is_some());
    select! { send(a, &mut mine) => assert!(mine.is_none()), default => unreachable!() }
    assert_eq!(drops.load(SeqCst), 1);
    // Nothing to send: never ready.
    select! { send(a, &mut mine) => unreachable!(), default => {} }
    drop(a);
    assert_eq!(drops.load(SeqCst), 2);
    // A send that panics drops its value here.
    let closed = chan(1);
    closed.close();
    panics(|| select! { send(closed, c.clone()) => {} });
    assert_eq!(drops.load(SeqCst), 3);
}

#[test]
fn same_channel_on_both_sides() {
    let ch = chan::<u32>(1);
    for i in 0..50 {
        let sent = select! { send(ch, i) => true, recv(ch) -> _ => false };
        assert_eq!(sent, i % 2 == 0);
    }
    // Unbuffered, a select does not meet itself.
    let ch = chan::<u32>(0);
    assert!(select! { send(ch, 1) => false, recv(ch) -> _ => false, default(A_WHILE) => true });
    let other = ch.clone();
    let h = spawn(move || select! { send(other, 1) => 0, recv(other) -> v => v.unwrap() });
    let mine = select! { send(ch, 2) => 0, recv(ch) -> v => v.unwrap(), recv(ch) -> v => v.unwrap() };
    assert_eq!(mine + h.join().unwrap(), if mine == 0 { 2 } else { 1 });
}

#[test]
fn choice_is_uniform() {
    let (a, b, c, nil) = (chan::<u8>(1), chan::<u8>(1), chan::<u8>(1), Chan::<u8>::nil());
    a.close();
    c.close();
    let mut n = [0u32; 3];
    const ROUNDS: u32 = 30_000;
    for _ in 0..ROUNDS {
        let _ = b.try_send(1);
        let i = select! {
            recv(nil) -> _ => unreachable!(),
            recv(a) -> _ => 0,
            recv(b) -> _ => 1,
            recv(c) -> _ => 2,
        };
        n[i] += 1;
    }
    let expected = f64::from(ROUNDS) / 3.0;
    let chi2: f64 = n
        .iter()
        .map(|&x| (f64::from(x) - expected).powi(2) / expected)
        .sum();
    assert!(chi2 < 20.0, "{n:?}"); // p ≈ 5e-5 with 2 degrees of freedom
}

#[test]
fn dynamic_select() {
    let chans: Vec<_> = (0..40).map(|_| chan::<usize>(1)).collect();
    let rxs: Vec<_> = chans.iter().map(Chan::receiver).collect();
    let mut got = vec![None; 40];
    let mut sel = Select::new();
    for (rx, place) in rxs.iter().zip(&mut got) {
        sel.recv(rx, place);
    }
    assert_eq!(sel.try_select(), None);
    let tx = chans[33].sender();
    go(move || {
        settle();
        tx.send(5);
    });
    let mut sel = Select::new();
    for (rx, place) in rxs.iter().zip(&mut got) {
        sel.recv(rx, place);
    }
    assert_eq!(sel.select(), 33);
    assert_eq!(got[33], Some(5));
    let (tx, mut v) = (chans[0].sender(), Some(8));
    let mut sel = Select::new();
    assert_eq!(sel.send(&tx, &mut v), 0);
    assert_eq!(sel.select_timeout(A_WHILE), Some(0));
    assert_eq!((v, chans[0].recv()), (None, Some(8)));
    assert_eq!(Select::new().select_timeout(Duration::from_millis(1)), None);
}

#[test]
fn many_arms() {
    let c = chan::<u8>(1);
    let nil = Chan::<u8>::nil();
    c.send(3);
    let v = select! {
        recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0,
        recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0,
        recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0,
        recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0,
        recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0, recv(nil) => 0,
        recv(nil) => 0, recv(c) -> v => v.unwrap(), default => 0,
    };
    assert_eq!(v, 3);
}
