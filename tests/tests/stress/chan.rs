//! Channels under preemption: nothing lost, nothing twice, order kept.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{chan, debug, runtime, select, spawn, time::Instant};
use burrow_tests::{Rng, storm};

const PRODUCERS: usize = 8;
const CONSUMERS: usize = 8;

struct Slices(u64);

impl Slices {
    fn of_micros(us: u64) -> Self {
        Slices(debug::set_slice_ns(us * 1000))
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        debug::set_slice_ns(self.0);
    }
}

/// How consumers take.
#[derive(Clone, Copy)]
enum How {
    Recv,
    TryRecv,
    Select,
}

/// Eight producers number their messages; each consumer must see every producer's in order, together they must see
/// each exactly once.
fn eight_by_eight(cap: usize, each: u64) {
    let ch = chan::<(usize, u64)>(cap);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|id| {
            let tx = ch.sender();
            spawn(move || {
                let mut rng = Rng::new(id as u64);
                for seq in 0..each {
                    if rng.below(3) == 0 {
                        let other = chan::<u8>(0); // never ready
                        select! {
                            send(tx, (id, seq)) => {}
                            recv(other) -> _v => unreachable!("nobody sends there"),
                        }
                    } else {
                        tx.send((id, seq));
                    }
                }
            })
        })
        .collect();
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|id| {
            let rx = ch.receiver();
            let how = [How::Recv, How::TryRecv, How::Select][id % 3];
            spawn(move || {
                let mut last = [None::<u64>; PRODUCERS];
                let mut seen: Vec<Vec<u64>> = vec![Vec::new(); PRODUCERS];
                loop {
                    let message = match how {
                        How::Recv => rx.recv(),
                        How::TryRecv => match rx.try_recv() {
                            Ok(message) => Some(message),
                            Err(burrow::TryRecvError::Closed) => None,
                            Err(burrow::TryRecvError::Empty) => {
                                burrow::yield_now();
                                continue;
                            }
                        },
                        How::Select => {
                            let other = chan::<u8>(0);
                            select! {
                                recv(other) -> _v => unreachable!("nobody sends there"),
                                recv(rx) -> v => v,
                            }
                        }
                    };
                    let Some((producer, seq)) = message else {
                        return seen;
                    };
                    assert!(
                        last[producer].is_none_or(|l| l < seq),
                        "{seq} of {producer} after {:?}",
                        last[producer]
                    );
                    last[producer] = Some(seq);
                    seen[producer].push(seq);
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap_or_else(|p| panic!("{p}"));
    }
    ch.close();
    let mut all = vec![vec![0_u8; each as usize]; PRODUCERS];
    for consumer in consumers {
        for (producer, seqs) in consumer
            .join()
            .unwrap_or_else(|p| panic!("{p}"))
            .into_iter()
            .enumerate()
        {
            for seq in seqs {
                all[producer][seq as usize] += 1;
            }
        }
    }
    assert!(
        all.iter().flatten().all(|n| *n == 1),
        "a message was lost, or came twice"
    );
}

#[burrow::test(timeout = 120)]
fn eight_producers_eight_consumers_preempted_every_100_us() {
    let _slices = Slices::of_micros(100);
    let begin = Instant::now();
    let before = runtime::sched_stats().preemptions;
    let mut rounds = 0;
    loop {
        for cap in [0, 1, 7, 128] {
            eight_by_eight(cap, 1000);
        }
        rounds += 1;
        let preempted = runtime::sched_stats().preemptions > before;
        if preempted && begin.elapsed() >= storm(Duration::from_millis(500)) {
            break;
        }
    }
    let preemptions = runtime::sched_stats().preemptions - before;
    burrow::println!("{rounds} rounds of 4 x 8000 messages, {preemptions} preemptions");
}

/// Four channels that are always ready, 100,000 choices: chi-square with three degrees of freedom.
#[burrow::test]
fn select_is_fair() {
    const CHOICES: u64 = 100_000;
    let c: Vec<_> = (0..4).map(|_| chan::<()>(1)).collect();
    c.iter().for_each(|c| c.send(()));
    let mut counts = [0_u64; 4];
    for _ in 0..CHOICES {
        let chosen = select! {
            recv(c[0]) -> _v => 0,
            recv(c[1]) -> _v => 1,
            recv(c[2]) -> _v => 2,
            recv(c[3]) -> _v => 3,
        };
        counts[chosen] += 1;
        c[chosen].send(());
    }
    let expected = CHOICES as f64 / 4.0;
    let chi: f64 = counts
        .iter()
        .map(|n| (*n as f64 - expected) * (*n as f64 - expected) / expected)
        .sum();
    burrow::println!("choices {counts:?}, chi-square {chi:.2}");
    assert!(
        chi < 30.66,
        "chi-square {chi:.2}: not uniform (once in a million if it were)"
    );
}

/// Two arms on one channel and one on another: each arm a third.
#[burrow::test]
fn select_is_fair_between_arms_not_channels() {
    const CHOICES: u64 = 30_000;
    let (a, b) = (chan::<()>(1), chan::<()>(1));
    a.send(());
    b.send(());
    let mut counts = [0_u64; 3];
    for _ in 0..CHOICES {
        select! {
            recv(a) -> _v => { counts[0] += 1; a.send(()); }
            recv(b) -> _v => { counts[1] += 1; b.send(()); }
            recv(a) -> _v => { counts[2] += 1; a.send(()); }
        }
    }
    let expected = CHOICES as f64 / 3.0;
    let chi: f64 = counts
        .iter()
        .map(|n| (*n as f64 - expected) * (*n as f64 - expected) / expected)
        .sum();
    assert!(chi < 27.6, "chi-square {chi:.2} of {counts:?}");
}

/// Selects that cross: every goroutine waits on two channels of a ring, sending to one and receiving from the other.
#[burrow::test(timeout = 120)]
fn selects_in_a_ring_move_every_token() {
    const NODES: usize = 8;
    let length = storm(Duration::from_millis(500));
    let ring: Arc<Vec<_>> = Arc::new((0..NODES).map(|_| chan::<u64>(0)).collect());
    let quit = chan::<()>(0);
    let moved = Arc::new(AtomicU64::new(0));
    let nodes: Vec<_> = (0..NODES)
        .map(|i| {
            let (ring, quit, moved) = (ring.clone(), quit.clone(), moved.clone());
            spawn(move || {
                let (from, to) = (ring[i].clone(), ring[(i + 1) % NODES].clone());
                // Every second node starts with a token of its own number.
                let mut hand: Option<u64> = (i % 2 == 0).then_some(i as u64);
                loop {
                    match hand {
                        None => select! {
                            recv(from) -> v => hand = v,
                            recv(quit) -> _v => return hand,
                        },
                        Some(token) => select! {
                            send(to, token) => { hand = None; moved.fetch_add(1, Ordering::Relaxed); }
                            recv(quit) -> _v => return hand,
                        },
                    }
                }
            })
        })
        .collect();
    burrow::time::sleep(length);
    quit.close();
    let mut left: Vec<u64> = nodes
        .into_iter()
        .filter_map(|n| n.join().unwrap_or_else(|p| panic!("{p}")))
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..NODES as u64).step_by(2).collect::<Vec<_>>());
    burrow::println!("{} hops", moved.load(Ordering::Relaxed));
}
