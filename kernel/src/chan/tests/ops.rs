//! One channel, one operation at a time.
#![forbid(unsafe_code)]

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::util::{A_WHILE, Counted, panics, settle, until_waiting};
use crate::{Chan, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, chan, go, spawn};

#[test]
fn nil_never_proceeds() {
    let nil = Chan::<u32>::nil();
    assert_eq!(nil.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(nil.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(
        nil.send_timeout(2, Duration::from_millis(1)),
        Err(SendTimeoutError::Timeout(2))
    );
    assert_eq!(
        nil.recv_timeout(Duration::from_millis(1)),
        Err(RecvTimeoutError::Timeout)
    );
    assert_eq!((nil.len(), nil.cap(), nil.is_nil()), (0, 0, true));
    assert_eq!(panics(|| nil.close()), "close of nil channel");
}

#[test]
fn nil_blocks_for_ever() {
    let (a, b) = (
        thread::spawn(|| Chan::nil().send(1)),
        thread::spawn(|| Chan::<u8>::nil().recv()),
    );
    settle();
    assert!(!a.is_finished() && !b.is_finished());
}

#[test]
fn buffer_is_fifo_and_bounded() {
    let ch = chan(3);
    for round in 0..5 {
        for i in 0..3 {
            assert_eq!(ch.len(), i);
            ch.send(round * 10 + i);
        }
        assert_eq!(ch.try_send(99), Err(TrySendError::Full(99)));
        for i in 0..3 {
            assert_eq!(ch.try_recv(), Ok(round * 10 + i));
        }
        assert_eq!(ch.try_recv(), Err(TryRecvError::Empty));
    }
    assert_eq!((ch.len(), ch.cap()), (0, 3));
}

#[test]
fn ring_wraps_at_every_offset() {
    let ch = chan(3);
    let (mut sent, mut got) = (0, 0);
    for step in 0..100 {
        for _ in 0..1 + step % 3 {
            if ch.try_send(sent).is_ok() {
                sent += 1;
            }
        }
        for _ in 0..1 + (step / 3) % 3 {
            if let Ok(v) = ch.try_recv() {
                assert_eq!(v, got);
                got += 1;
            }
        }
    }
    assert!(sent > 50);
}

#[test]
fn unbuffered_meets() {
    let ch = chan::<String>(0);
    assert_eq!(ch.try_send("x".into()), Err(TrySendError::Full("x".into())));
    assert_eq!(ch.try_recv(), Err(TryRecvError::Empty));
    let tx = ch.sender();
    let h = spawn(move || tx.send("hello".into()));
    assert_eq!(ch.recv().as_deref(), Some("hello"));
    h.join().unwrap();

    let rx = ch.receiver();
    let h = spawn(move || rx.recv());
    while ch.try_send("again".into()).is_err() {
        thread::yield_now();
    }
    assert_eq!(h.join().unwrap().as_deref(), Some("again"));
}

#[test]
fn try_recv_takes_from_a_waiting_sender() {
    let ch = chan(0);
    let tx = ch.sender();
    let h = spawn(move || tx.send(5));
    while ch.try_recv() != Ok(5) {
        thread::yield_now();
    }
    h.join().unwrap();
}

#[test]
fn waiting_senders_are_served_in_order_after_the_buffer() {
    let ch = chan(1);
    ch.send(0);
    for i in 1..=4 {
        let tx = ch.sender();
        go(move || tx.send(i));
        until_waiting(&ch, i);
    }
    assert_eq!(ch.len(), 1);
    for i in 0..=4 {
        assert_eq!(ch.recv(), Some(i));
    }
}

#[test]
fn waiting_receivers_are_served_in_order() {
    let (ch, got) = (chan(0), chan(8));
    for i in 0..4 {
        let (rx, got) = (ch.receiver(), got.sender());
        go(move || got.send((i, rx.recv())));
        until_waiting(&ch, i + 1);
    }
    for i in 0..4 {
        ch.send(i * 10);
        assert_eq!(got.recv(), Some((i, Some(i * 10))));
    }
}

#[test]
fn close_drains_then_ends() {
    let ch = chan(4);
    ch.send(1);
    ch.send(2);
    ch.close();
    assert_eq!(ch.recv(), Some(1));
    assert_eq!(ch.try_recv(), Ok(2));
    assert_eq!(ch.try_recv(), Err(TryRecvError::Closed));
    assert_eq!((ch.recv(), ch.recv()), (None, None));
    assert_eq!(ch.recv_timeout(A_WHILE), Err(RecvTimeoutError::Closed));
    assert_eq!(ch.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!(ch.send_timeout(3, A_WHILE), Err(SendTimeoutError::Closed(3)));
    assert_eq!(panics(|| ch.send(3)), "send on closed channel");
    assert_eq!(panics(|| ch.close()), "close of closed channel");
}

#[test]
fn close_wakes_every_receiver() {
    let ch = chan::<u8>(0);
    let hs: Vec<_> = (0..8)
        .map(|_| {
            let rx = ch.receiver();
            spawn(move || rx.recv())
        })
        .collect();
    until_waiting(&ch, 8);
    ch.close();
    for h in hs {
        assert_eq!(h.join().unwrap(), None);
    }
}

#[test]
fn close_makes_waiting_senders_panic_and_drop_their_values() {
    let ch = chan::<Counted>(1);
    let (c, drops) = Counted::new();
    ch.send(c.clone());
    let hs: Vec<_> = (0..4)
        .map(|_| {
            let (tx, c) = (ch.sender(), c.clone());
            spawn(move || tx.send(c))
        })
        .collect();
    until_waiting(&ch, 4);
    ch.close();
    for h in hs {
        assert_eq!(h.join().unwrap_err().to_string(), "send on closed channel");
    }
    assert_eq!(drops.load(SeqCst), 4);
    assert!(ch.recv().is_some() && ch.recv().is_none());
}

#[test]
fn values_left_are_dropped_once_with_the_channel() {
    let (c, drops) = Counted::new();
    let ch = chan(8);
    for _ in 0..5 {
        ch.send(c.clone());
    }
    drop((ch.recv(), ch.recv()));
    assert_eq!(drops.load(SeqCst), 2);
    let (tx, rx) = (ch.sender(), ch.receiver());
    drop(ch);
    drop(tx);
    assert_eq!(drops.load(SeqCst), 2);
    drop(rx);
    assert_eq!(drops.load(SeqCst), 5);
}

#[test]
fn failed_sends_give_the_value_back() {
    let (c, drops) = Counted::new();
    let ch = chan(0);
    let back = ch.try_send(c.clone()).unwrap_err().into_inner();
    let back2 = ch
        .send_timeout(c.clone(), Duration::from_millis(1))
        .unwrap_err()
        .into_inner();
    assert_eq!(drops.load(SeqCst), 0);
    drop((back, back2));
    assert_eq!(drops.load(SeqCst), 2);
}

/// Panics when its number is dropped.
struct Bomb(usize, Arc<std::sync::Mutex<Vec<usize>>>, bool);
impl Drop for Bomb {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
        if self.2 {
            panic!("drop of {}", self.0);
        }
    }
}

#[test]
fn a_panicking_drop_does_not_stop_the_rest() {
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ch = chan(4);
    for i in 0..4 {
        ch.send(Bomb(i, log.clone(), i == 1));
    }
    assert_eq!(panics(|| drop(ch)), "drop of 1");
    assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn timeouts() {
    let ch = chan::<u8>(0);
    let t = Instant::now();
    assert_eq!(ch.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout));
    assert_eq!(ch.send_timeout(1, A_WHILE), Err(SendTimeoutError::Timeout(1)));
    assert!(t.elapsed() >= 2 * A_WHILE);
    let tx = ch.sender();
    go(move || {
        settle();
        tx.send(7);
    });
    assert_eq!(ch.recv_timeout(Duration::from_secs(10)), Ok(7));
    let rx = ch.receiver();
    let h = spawn(move || rx.recv());
    assert_eq!(ch.send_timeout(8, Duration::from_secs(10)), Ok(()));
    assert_eq!(h.join().unwrap(), Some(8));
    // What timed out has left no waiter behind.
    assert_eq!(ch.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(ch.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn iteration_ends_with_the_channel() {
    let ch = chan(2);
    let tx = ch.sender();
    go(move || {
        for i in 0..10 {
            tx.send(i);
        }
        tx.close();
    });
    let mut sum = 0;
    for v in &ch {
        sum += v;
    }
    assert_eq!(sum, 45);
    assert_eq!(ch.receiver().into_iter().next(), None);
}

#[test]
fn zero_sized_and_huge_values() {
    let ch = chan::<()>(2);
    ch.send(());
    ch.send(());
    assert_eq!(ch.try_send(()), Err(TrySendError::Full(())));
    assert_eq!(ch.recv(), Some(()));
    let big = chan::<[u64; 4096]>(1);
    let tx = big.sender();
    go(move || (0..4).for_each(|i| tx.send([i; 4096])));
    for i in 0..4 {
        assert!(big.recv().unwrap().iter().all(|&x| x == i));
    }
}

/// A buffer is made at once, however long it is.
#[test]
fn a_buffer_without_end() {
    let ch = chan::<()>(usize::MAX);
    (0..3).for_each(|_| ch.send(()));
    assert_eq!((ch.len(), ch.cap()), (3, usize::MAX));
    assert_eq!(ch.recv(), Some(()));
    drop(ch);
    assert!(panics(|| chan::<u64>(usize::MAX / 4)).contains("capacity overflow"));
}

#[test]
fn handles_compare_print_and_convert() {
    let (a, b) = (chan::<u8>(2), chan::<u8>(2));
    assert!(a == a.clone() && a != b && a.sender() == a.sender() && Chan::<u8>::nil() == Chan::default());
    a.send(1);
    assert_eq!(format!("{a:?} {:?}", Chan::<u8>::nil()), "Chan(1/2) Chan(nil)");
    a.close();
    assert_eq!(format!("{:?}", a.receiver()), "Receiver(Chan(1/2, closed))");
    fn is_error<E: core::error::Error>(e: E) -> String {
        e.to_string()
    }
    struct NotDebug;
    assert_eq!(is_error(TrySendError::Full(NotDebug)), "channel is full");
    assert_eq!(
        is_error(RecvTimeoutError::Timeout),
        "timed out receiving from a channel"
    );
    assert_eq!(format!("{:?}", TrySendError::Closed(NotDebug)), "Closed(..)");
}

#[test]
fn close_happens_before_the_receive_that_sees_it() {
    for _ in 0..200 {
        let ch = chan::<()>(0);
        let data = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (c, d) = (ch.clone(), data.clone());
        let h = spawn(move || {
            d.store(1, std::sync::atomic::Ordering::Relaxed);
            c.close();
        });
        assert_eq!(ch.recv(), None);
        assert_eq!(data.load(std::sync::atomic::Ordering::Relaxed), 1);
        h.join().unwrap();
    }
}
