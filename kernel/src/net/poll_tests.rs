//! pollDesc on the host: each edge by itself, then all of them at once.
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{Evicted, Mode, PollDesc, WAIT};
use crate::{
    sched::{self, now_ns, spawn},
    time::{Duration, Instant, sleep},
};

const MS: Duration = Duration::from_millis(1);

fn ready(pd: &PollDesc, mode: Mode) -> bool {
    match pd.ready(mode) {
        Some(g) => {
            sched::ready(g);
            true
        }
        None => false,
    }
}

/// Waits until somebody sleeps there.
fn until_parked(pd: &PollDesc, mode: Mode) {
    while pd.word(mode).load(Ordering::SeqCst) <= WAIT {
        sleep(MS / 10);
    }
}

fn in_ms(ms: u64) -> Option<u64> {
    Some(now_ns() + ms * 1_000_000)
}

#[test]
fn readiness_before_the_wait_lets_one_through() {
    let pd = PollDesc::try_new().unwrap();
    assert!(!ready(&pd, Mode::Read) && !ready(&pd, Mode::Read));
    assert_eq!(pd.wait(Mode::Read), Ok(()));
    pd.set_deadline(Mode::Read, in_ms(2));
    assert_eq!(pd.wait(Mode::Read), Err(Evicted::Timeout));
}

#[test]
fn directions_are_apart() {
    let pd = PollDesc::try_new().unwrap();
    let other = pd.clone();
    let h = spawn(move || other.wait(Mode::Write));
    until_parked(&pd, Mode::Write);
    ready(&pd, Mode::Read);
    pd.set_deadline(Mode::Read, Some(0));
    sleep(2 * MS);
    assert!(!h.is_finished());
    assert!(ready(&pd, Mode::Write));
    assert_eq!(h.join().unwrap(), Ok(()));
}

#[test]
fn close_ends_waits_for_ever() {
    let pd = PollDesc::try_new().unwrap();
    let hs = [Mode::Read, Mode::Write].map(|m| {
        let pd = pd.clone();
        spawn(move || pd.wait(m))
    });
    [Mode::Read, Mode::Write].map(|m| until_parked(&pd, m));
    assert!(pd.close());
    for h in hs {
        assert_eq!(h.join().unwrap(), Err(Evicted::Closed));
    }
    assert!(!pd.close());
    pd.set_deadline(Mode::Read, None);
    assert_eq!(pd.wait(Mode::Read), Err(Evicted::Closed));
}

#[test]
fn deadlines_end_move_and_go() {
    let pd = PollDesc::try_new().unwrap();
    let begin = Instant::now();
    pd.set_deadline(Mode::Read, in_ms(5));
    assert_eq!(pd.wait(Mode::Read), Err(Evicted::Timeout));
    assert!(begin.elapsed() >= 5 * MS);
    assert_eq!(pd.check(Mode::Read), Err(Evicted::Timeout));
    assert_eq!(pd.check(Mode::Write), Ok(()));
    pd.set_deadline(Mode::Read, None);
    assert_eq!(pd.check(Mode::Read), Ok(()));

    // Moved while somebody waits: the later one counts, then an earlier one, then one in the past.
    let waiter = |pd: &Arc<PollDesc>| {
        let pd = pd.clone();
        spawn(move || pd.wait(Mode::Read))
    };
    let first = in_ms(3);
    pd.set_deadline(Mode::Read, first);
    let h = waiter(&pd);
    pd.set_deadline(Mode::Read, in_ms(3_600_000));
    let in_time = Some(now_ns()) < first; // else the host kept us from moving it
    sleep(10 * MS);
    assert!(!in_time || !h.is_finished());
    pd.set_deadline(Mode::Read, in_ms(1));
    assert_eq!(h.join().unwrap(), Err(Evicted::Timeout));
    pd.set_deadline(Mode::Read, None);
    let h = waiter(&pd);
    until_parked(&pd, Mode::Read);
    pd.set_deadline(Mode::Read, Some(1));
    assert_eq!(h.join().unwrap(), Err(Evicted::Timeout));
}

#[test]
fn a_dropped_descriptor_takes_its_timers_along() {
    for i in 0..2000 {
        let pd = PollDesc::try_new().unwrap();
        pd.set_deadline(Mode::Read, Some(now_ns() + i % 50 * 1000));
        pd.set_deadline(Mode::Write, in_ms(3_600_000));
    }
}

/// A value is handed over through the descriptor a great many times while deadlines come and go; each wait that
/// succeeds finds what was announced, and close ends it.
#[test]
fn ready_deadline_and_close_at_once() {
    for _ in 0..20 {
        let pd = PollDesc::try_new().unwrap();
        let (sent, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let over = Arc::new(AtomicBool::new(false));
        let reader = {
            let (pd, sent, seen) = (pd.clone(), sent.clone(), seen.clone());
            spawn(move || {
                let mut timeouts = 0;
                loop {
                    let now = sent.load(Ordering::SeqCst);
                    if now != seen.swap(now, Ordering::SeqCst) {
                        continue;
                    }
                    match pd.wait(Mode::Read) {
                        Ok(()) => {}
                        Err(Evicted::Timeout) => {
                            timeouts += 1;
                            pd.set_deadline(Mode::Read, None);
                        }
                        Err(Evicted::Closed) => return timeouts,
                    }
                }
            })
        };
        let nagger = {
            let (pd, over) = (pd.clone(), over.clone());
            spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    pd.set_deadline(Mode::Read, Some(now_ns() + 20_000));
                    sched::yield_now();
                }
            })
        };
        for _ in 0..2000 {
            let n = sent.fetch_add(1, Ordering::SeqCst) + 1;
            ready(&pd, Mode::Read);
            if n % 16 == 0 {
                while seen.load(Ordering::SeqCst) < n {
                    sched::yield_now(); // a lost wake-up would hang here
                }
            }
        }
        pd.close();
        over.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        nagger.join().unwrap();
    }
}
