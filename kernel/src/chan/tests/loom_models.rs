//! Models of channels under loom: every interleaving (up to `LOOM_MAX_PREEMPTIONS`) of two or three threads.
//!
//! What travels is a cell that loom watches: the sender writes it before it sends, the receiver reads it after
//! it received, so a hand-off without a happens-before edge fails the model. A lost wake-up shows as a deadlock.
//! The locks, queues, tokens and park/ready are the real ones over the host back end.

use loom::{cell::UnsafeCell, sync::Arc, thread};

use crate::{Chan, chan, chan::select::RETRIES, select};

/// Explores every interleaving with up to `LOOM_MAX_PREEMPTIONS` preemptions, 3 if that is not set: without a
/// bound three threads take hours.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(f);
}

/// A watched number.
#[derive(Clone)]
struct Word(Arc<UnsafeCell<u32>>);

// SAFETY: loom checks the accesses.
unsafe impl Send for Word {}

impl Word {
    fn new(v: u32) -> Self {
        let w = Word(Arc::new(UnsafeCell::new(0)));
        // SAFETY: not shared yet; loom would tell.
        w.0.with_mut(|p| unsafe { *p = v });
        w
    }
    fn get(&self) -> u32 {
        // SAFETY: the sender wrote before it sent; loom checks it.
        self.0.with(|p| unsafe { *p })
    }
}

fn start<T: 'static>(ch: &Chan<Word>, f: impl FnOnce(Chan<Word>) -> T + 'static) -> thread::JoinHandle<T> {
    let ch = ch.clone();
    thread::spawn(move || f(ch))
}

fn sends(v: u32) -> impl FnOnce(Chan<Word>) {
    move |ch| ch.send(Word::new(v))
}

fn get(v: Option<Word>) -> u32 {
    v.expect("open").get()
}

#[test]
fn loom_unbuffered_hand_off() {
    model(|| {
        let ch = chan(0);
        let h = start(&ch, sends(7));
        assert_eq!(get(ch.recv()), 7);
        h.join().unwrap();
    });
}

#[test]
fn loom_buffer_of_one_two_senders() {
    model(|| {
        let ch = chan(1);
        let (a, b) = (start(&ch, sends(1)), start(&ch, sends(2)));
        assert_eq!(get(ch.recv()) + get(ch.recv()), 3);
        a.join().unwrap();
        b.join().unwrap();
    });
}

#[test]
fn loom_two_receivers_one_sender() {
    model(|| {
        let ch = chan(0);
        let (a, b) = (start(&ch, |c| get(c.recv())), start(&ch, |c| get(c.recv())));
        ch.send(Word::new(1));
        ch.send(Word::new(2));
        assert_eq!(a.join().unwrap() + b.join().unwrap(), 3);
    });
}

/// What was written before `close` is seen by who sees the close; what was sent before it is received.
#[test]
fn loom_close_against_recv() {
    model(|| {
        let (ch, side) = (chan(1), Word::new(0));
        let theirs = side.clone();
        let h = start(&ch, move |c| {
            c.send(Word::new(5));
            // SAFETY: the reader waits for the close; loom checks it.
            theirs.0.with_mut(|p| unsafe { *p = 9 });
            c.close();
        });
        assert_eq!(get(ch.recv()), 5);
        assert!(ch.recv().is_none());
        assert_eq!(side.get(), 9);
        h.join().unwrap();
    });
}

#[test]
fn loom_close_wakes_two_receivers() {
    model(|| {
        let ch = chan(0);
        let (a, b) = (
            start(&ch, |c| c.recv().is_none()),
            start(&ch, |c| c.recv().is_none()),
        );
        ch.close();
        assert!(a.join().unwrap() && b.join().unwrap());
    });
}

/// `try_recv` without the lock never says "closed" while a value is there.
#[test]
fn loom_try_recv_against_send_and_close() {
    model(|| {
        let ch = chan(1);
        let h = start(&ch, |c| {
            c.send(Word::new(3));
            c.close();
        });
        let got = loop {
            match ch.try_recv() {
                Ok(v) => break v.get(),
                Err(crate::TryRecvError::Closed) => panic!("lost a value"),
                Err(crate::TryRecvError::Empty) => thread::yield_now(),
            }
        };
        assert_eq!(got, 3);
        h.join().unwrap();
    });
}

#[test]
fn loom_select_of_two_senders() {
    model(|| {
        let (a, b) = (chan(0), chan(0));
        let (x, y) = (start(&a, sends(1)), start(&b, sends(2)));
        let mut sum = 0;
        for _ in 0..2 {
            sum += select! { recv(a) -> v => get(v), recv(b) -> v => get(v) };
        }
        assert_eq!(sum, 3);
        x.join().unwrap();
        y.join().unwrap();
    });
}

/// A select that waits on both channels while both are closed at once is woken once.
#[test]
fn loom_select_against_two_closes() {
    model(|| {
        let (a, b) = (chan::<Word>(0), chan::<Word>(0));
        let (x, y) = (start(&a, |c| c.close()), start(&b, |c| c.close()));
        assert!(select! { recv(a) -> v => v.is_none(), recv(b) -> v => v.is_none() });
        x.join().unwrap();
        y.join().unwrap();
        assert!(a.recv().is_none() && b.recv().is_none());
    });
}

/// Two selects that offer each other both directions: they must meet.
#[test]
fn loom_select_meets_select() {
    model(|| {
        let (a, b) = (chan(0), chan(0));
        let other = b.clone();
        let h = start(&a, move |a| {
            select! { recv(a) -> v => get(v), send(other, Word::new(2)) => 0 }
        });
        let mine = select! { send(a, Word::new(1)) => 0, recv(b) -> v => get(v) };
        let theirs = h.join().unwrap();
        assert!((mine, theirs) == (0, 1) || (mine, theirs) == (2, 0));
    });
}

/// Two selects that send and receive on one channel meet, and never do both go back and try again, which they might for ever.
#[test]
fn loom_selects_meet_on_one_channel() {
    fn either(ch: &Chan<Word>, n: u32) -> u32 {
        select! { send(ch, Word::new(n)) => 0, recv(ch) -> v => get(v) }
    }
    model(|| {
        RETRIES.set(0);
        let ch = chan(0);
        let h = start(&ch, |ch| either(&ch, 2));
        let mine = either(&ch, 1);
        let theirs = h.join().unwrap();
        assert!((mine, theirs) == (0, 1) || (mine, theirs) == (2, 0));
        assert!(RETRIES.get() < 2);
    });
}

/// The waiter of a select that went another way takes nothing away from who comes later.
#[test]
fn loom_abandoned_waiter_swallows_nothing() {
    model(|| {
        let (a, b) = (chan(0), chan(1));
        let h = start(&a, sends(1));
        b.send(Word::new(2));
        let first = select! { recv(a) -> v => get(v), recv(b) -> v => get(v) };
        let second = if first == 1 { get(b.recv()) } else { get(a.recv()) };
        assert_eq!(first + second, 3);
        h.join().unwrap();
    });
}
