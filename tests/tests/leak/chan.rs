//! Channels: sends, receives and selects.

use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

use burrow::{
    Chan, Receiver, Select, chan, context,
    runtime::{LeakCause, leaked},
    scope, select, spawn,
    sync::OnceLock,
    time::{self, Duration, sleep},
    yield_now,
};

use crate::{found, not_found, start};

#[burrow::test(timeout = 60)]
fn a_sender_whose_receiver_has_left() {
    let c = chan::<u32>(0);
    let late = c.clone();
    let g = start(move || late.send(42));
    not_found(g, "chan send");
    assert!(c.try_recv() == Ok(42) && leaked().is_empty());
    let late = c.clone();
    let g = start(move || late.send(42));
    drop(c);
    let leak = found(g);
    assert_eq!(leak.cause(), LeakCause::NoHandle { handles: 1 });
    let line = leak.to_string();
    assert!(
        line.starts_with(&format!(
            "goroutine {g} [chan send (leaked)]: it has the only handle"
        )),
        "{line}"
    );
    assert!(line.contains("created at tests/tests/leak/chan.rs:"), "{line}");
    assert!(leak.stack().contains("[chan send (leaked)]:"), "{}", leak.stack());
    assert!(burrow::runtime::stack(true).contains("[chan send (leaked)]:"));
}

#[burrow::test(timeout = 60)]
fn workers_on_a_channel_that_nobody_closed() {
    let jobs = chan::<u32>(4);
    let workers: Vec<u64> = (0..5)
        .map(|i| {
            let jobs = jobs.clone();
            if i % 2 == 0 {
                start(move || jobs.iter().for_each(drop))
            } else {
                start(move || for _ in jobs {})
            }
        })
        .collect();
    for n in 0..20 {
        jobs.send(n);
    }
    not_found(workers[0], "chan receive");
    drop(jobs);
    for g in workers {
        found(g);
    }
}

#[burrow::test(timeout = 60)]
fn receivers_are_left_and_one_is_busy() {
    let (jobs, busy) = (chan::<u32>(0), Arc::new(AtomicBool::new(true)));
    let (rx, other, b) = (jobs.receiver(), jobs.receiver(), busy.clone());
    let g = start(move || _ = rx.recv());
    let runs = start(move || {
        while b.load(Ordering::Acquire) {
            yield_now();
        }
        drop(other);
    });
    let tx = jobs.sender();
    drop(jobs);
    not_found(g, "chan receive");
    drop(tx); // nobody can send or close, though somebody can receive
    assert_eq!(found(g).cause(), LeakCause::NoSender { handles: 2 });
    assert!(leaked().iter().all(|l| l.goid() != runs));
    busy.store(false, Ordering::Release);
}

/// Wherever the handle is: if none can send, none will.
#[burrow::test(timeout = 60)]
fn receive_only_handles_in_a_shared_struct() {
    let jobs = chan::<u32>(0);
    let server = Arc::new(Receiver::from(jobs.clone()));
    let theirs = server.clone();
    let g = start(move || _ = theirs.recv());
    not_found(g, "chan receive");
    drop(jobs);
    found(g);
    drop(server);
}

#[burrow::test(timeout = 60)]
fn a_sender_that_others_may_close_is_not_leaked() {
    let c = chan::<u32>(0);
    let (tx, ended) = (c.sender(), spawn(|| ()));
    let theirs = tx.clone();
    let h = spawn(move || theirs.send(1));
    drop(c);
    not_found(h.id(), "chan send");
    tx.close();
    assert!(h.join().is_err());
    ended.join().unwrap();
}

#[burrow::test(timeout = 60)]
fn nil_channels_and_empty_selects() {
    let gs = [
        (start(|| _ = Chan::<u8>::nil().recv()), "chan receive (nil chan)"),
        (start(|| Chan::<u8>::nil().send(1)), "chan send (nil chan)"),
        (start(|| select! {}), "select (no cases)"),
        (
            start(|| {
                let nil = Receiver::<u8>::nil();
                select! { recv(nil) => {} }
            }),
            "select (no cases)",
        ),
    ];
    for (g, state) in gs {
        let leak = found(g);
        assert_eq!(leak.cause(), LeakCause::Never);
        assert!(
            leak.to_string().contains(&format!("[{state} (leaked)]")),
            "{leak}"
        );
    }
}

#[burrow::test(timeout = 60)]
fn one_live_case_keeps_a_select_alive() {
    let (a, b) = (chan::<u32>(0), chan::<u32>(0));
    let (c, d) = (a.clone(), b.clone());
    let g = start(move || {
        select! {
            recv(c) => {},
            send(d, 7) => {},
        }
    });
    not_found(g, "select");
    drop(a);
    not_found(g, "select"); // through b it may go on
    assert_eq!(b.recv(), Some(7));

    let (c, d) = (chan::<u32>(0), b.clone());
    let g = start(move || {
        select! {
            recv(c) => {},
            send(c, 1) => {}, // with itself it does not meet
            recv(d) => {},
        }
    });
    not_found(g, "select");
    drop(b);
    assert_eq!(found(g).cause(), LeakCause::NoCase { cases: 3 });
}

#[burrow::test(timeout = 60)]
fn a_deadline_is_a_way_out() {
    let c = chan::<u32>(0);
    let g = start(move || _ = c.recv_timeout(Duration::from_secs(3600)));
    not_found(g, "select");
    let c = chan::<u32>(0);
    let g = start(move || {
        select! {
            recv(c) => {},
            default(Duration::from_secs(3600)) => {},
        }
    });
    not_found(g, "select");
    let g = start(|| _ = time::after(Duration::from_secs(3600)).recv());
    not_found(g, "chan receive");
    let g = start(|| {
        let (ctx, _cancel) = context::background().with_timeout(Duration::from_secs(3600));
        ctx.done().recv();
    });
    not_found(g, "chan receive");
}

#[burrow::test(timeout = 60)]
fn who_can_be_cancelled_is_not_leaked() {
    let (ctx, cancel) = context::background().with_cancel();
    let results = chan::<u32>(0);
    let h = spawn(move || {
        let done = ctx.done();
        select! {
            send(results, 1) => {},
            recv(done) => {},
        }
    });
    not_found(h.id(), "select");
    cancel();
    h.join().unwrap();
}

/// A `Select` over handles in a `Vec`: the handles lie on the heap, so only what has no sender is known.
#[burrow::test(timeout = 60)]
fn a_dynamic_select() {
    let chans: Vec<_> = (0..100).map(|_| chan::<u32>(0)).collect();
    let rx: Vec<_> = chans.iter().map(Chan::receiver).collect();
    let g = start(move || {
        let mut got = [const { None }; 100];
        let mut s = Select::new();
        for (r, place) in rx.iter().zip(&mut got) {
            s.recv(r, place);
        }
        s.select();
    });
    not_found(g, "select");
    drop(chans);
    assert_eq!(found(g).cause(), LeakCause::NoCase { cases: 100 });
}

/// The handle is on the stack of who waits, but somebody borrows it.
#[burrow::test(timeout = 60)]
fn a_borrowed_handle_is_not_leaked() {
    let h = spawn(|| {
        let c = chan::<u32>(0);
        scope(|s| {
            s.spawn(|| {
                sleep(Duration::from_millis(20));
                c.send(1);
            });
            c.recv()
        })
    });
    while !h.is_finished() {
        assert!(leaked().iter().all(|l| l.goid() != h.id()));
    }
    assert_eq!(h.join().unwrap(), Some(1));
}

#[burrow::test(timeout = 60)]
fn a_handle_in_a_static_is_not_leaked() {
    static LINE: OnceLock<Chan<u32>> = OnceLock::new();
    let h = spawn(|| LINE.get_or_init(|| chan(0)).recv());
    not_found(h.id(), "chan receive");
    LINE.get_or_init(|| chan(0)).send(5);
    assert_eq!(h.join().unwrap(), Some(5));
}

#[burrow::test(timeout = 60)]
fn a_handle_in_a_box_is_not_known() {
    let c = Arc::new(Box::new(chan::<u32>(0)));
    let theirs = c.clone();
    let h = spawn(move || theirs.recv());
    not_found(h.id(), "chan receive");
    c.send(5);
    assert_eq!(h.join().unwrap(), Some(5));
}

/// A message may carry the handle.
#[burrow::test(timeout = 60)]
fn a_handle_on_its_way_is_not_leaked() {
    let (mail, c) = (chan::<Chan<u32>>(1), chan::<u32>(0));
    mail.send(c.clone());
    let h = spawn(move || c.recv());
    not_found(h.id(), "chan receive");
    mail.recv().unwrap().send(9);
    assert_eq!(h.join().unwrap(), Some(9));
}

/// Two wait for each other, each with both handles of what it does not wait for.
#[burrow::test(timeout = 60)]
fn a_ring_of_selects() {
    let c: [Chan<u32>; 3] = [chan(0), chan(0), chan(0)];
    let gs: Vec<u64> = (0..3)
        .map(|i| {
            let (a, b) = (c[i].clone(), c[(i + 1) % 3].clone());
            start(move || {
                select! {
                    recv(a) => {},
                    recv(b) => {},
                }
            })
        })
        .collect();
    not_found(gs[0], "select");
    drop(c);
    for g in gs {
        found(g);
    }
}

#[burrow::test(timeout = 60)]
fn a_forgotten_handle_is_a_handle() {
    let c = chan::<u32>(0);
    core::mem::forget(c.clone());
    let g = start(move || _ = c.recv());
    not_found(g, "chan receive");
}
