//! Everything in `sync` at once, preempted all the time: a bank whose money neither comes nor goes.
//!
//! Clerks move money between accounts (two mutexes, in order), reading the bank's doors (`RwLock`); auditors shut them and
//! count. Clerks take a desk (`Semaphore`), a form (`Pool`), the rate of the day (`Value`), and note each customer (`Map`);
//! some panic with everything in their hands. Whoever waits for news waits on a `Condvar`.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use burrow::{
    debug, recover, scope,
    sync::{Condvar, Map, Mutex, Once, Pool, RwLock, Semaphore, Value, pool},
    yield_now,
};
use burrow_tests::{Rng, Until};

const ACCOUNTS: usize = 12;
const EACH: i64 = 1_000;
const DESKS: usize = 5;
const CLERKS: u64 = 12;

struct Bank {
    doors: RwLock<u64>,
    accounts: [Mutex<i64>; ACCOUNTS],
    desks: Semaphore,
    taken: AtomicUsize,
    forms: Pool<Vec<u64>>,
    /// A number and its double.
    rate: Value<(u64, u64)>,
    customers: Map<u64, u64>,
    news: Mutex<u64>,
    changed: Condvar,
    opened: Once,
    times_opened: AtomicUsize,
    closed: AtomicBool,
}

impl Bank {
    fn new() -> Self {
        Bank {
            doors: RwLock::new(0),
            accounts: [const { Mutex::new(EACH) }; ACCOUNTS],
            desks: Semaphore::new(DESKS),
            taken: AtomicUsize::new(0),
            forms: Pool::new(Vec::new),
            rate: Value::new((1, 2)),
            customers: Map::new(),
            news: Mutex::new(0),
            changed: Condvar::new(),
            opened: Once::new(),
            times_opened: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// One customer. Everything taken goes back by itself, also when this panics.
    fn serve(&self, rng: &mut Rng, clerk: u64) {
        self.opened.call_once(|| {
            yield_now();
            self.times_opened.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(self.times_opened.load(Ordering::SeqCst), 1);
        let n = 1 + rng.below(2) as usize;
        let _desk = self.desks.permit(n);
        struct Leave<'a>(&'a AtomicUsize, usize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(self.1, Ordering::SeqCst);
            }
        }
        let seated = self.taken.fetch_add(n, Ordering::SeqCst) + n;
        let _leave = Leave(&self.taken, n);
        assert!(seated <= DESKS, "{seated} at {DESKS} desks");

        let _inside = self.doors.read();
        let (mut a, mut b) = (
            rng.below(ACCOUNTS as u64) as usize,
            rng.below(ACCOUNTS as u64) as usize,
        );
        if a == b {
            return;
        }
        if a > b {
            core::mem::swap(&mut a, &mut b);
        }
        let mut form = self.forms.get();
        assert!(form.is_empty(), "somebody else's form");
        form.push(clerk);
        let (mut from, mut to) = (self.accounts[a].lock(), self.accounts[b].lock());
        if rng.below(50) == 0 {
            panic!("the clerk faints");
        }
        let rate = self.rate.load();
        assert_eq!(rate.1, 2 * rate.0);
        let amount = rng.below(100) as i64;
        *from -= amount;
        if rng.below(8) == 0 {
            yield_now();
        }
        *to += amount;
        drop((from, to));
        assert_eq!(form.pop(), Some(clerk));
        self.forms.put(form);
        self.note(clerk);
    }

    fn note(&self, clerk: u64) {
        let (n, there) = self.customers.load_or_store(clerk, 1);
        // A clerk's own key: nobody else writes it.
        assert!(!there || self.customers.compare_and_swap(clerk, &n, n + 1));
    }

    fn audit(&self) {
        let mut audits = self.doors.write();
        let sum: i64 = self
            .accounts
            .iter()
            .map(|a| *a.try_lock().expect("nobody is inside"))
            .sum();
        assert_eq!(sum, EACH * ACCOUNTS as i64);
        *audits += 1;
        drop(audits);
        self.rate.update(|r| (r.0 + 1, 2 * (r.0 + 1)));
        *self.news.lock() += 1;
        self.changed.notify_all();
    }

    /// Reads every piece of news until the bank closes.
    fn read_news(&self) -> u64 {
        let mut seen = 0;
        loop {
            let news = self.changed.wait_while(self.news.lock(), |n| {
                *n == seen && !self.closed.load(Ordering::SeqCst)
            });
            if *news == seen {
                return seen;
            }
            assert!(*news > seen);
            seen = *news;
        }
    }
}

#[burrow::test(timeout = 120)]
fn a_bank_under_preemption() {
    let before = debug::set_slice_ns(100_000);
    let bank = Arc::new(Bank::new());
    let until = Until::storm(Duration::from_millis(600));
    let (mut served, mut fainted) = (0, 0);
    scope(|s| {
        let readers: Vec<_> = (0..4).map(|_| s.spawn(|| bank.read_news())).collect();
        let clerks: Vec<_> = (0..CLERKS)
            .map(|id| {
                let bank = &bank;
                s.spawn(move || {
                    let (mut rng, mut fainted) = (Rng::new(id), 0);
                    while !until.over() || bank.customers.is_empty() {
                        fainted += u64::from(recover(|| bank.serve(&mut rng, id)).is_err());
                    }
                    fainted
                })
            })
            .collect();
        let auditor = s.spawn(|| {
            while !until.over() {
                bank.audit();
                pool::on_collection();
                for _ in 0..20 {
                    yield_now();
                }
            }
        });
        for c in clerks {
            fainted += c.join().unwrap_or_else(|p| panic!("{p}"));
        }
        auditor.join().unwrap_or_else(|p| panic!("{p}"));
        let last = {
            let news = bank.news.lock();
            bank.closed.store(true, Ordering::SeqCst);
            *news
        };
        bank.changed.notify_all();
        for r in readers {
            assert_eq!(r.join().unwrap_or_else(|p| panic!("{p}")), last);
        }
    });
    debug::set_slice_ns(before);
    bank.audit();
    bank.customers.range(|_, n| {
        served += n;
        true
    });
    burrow::println!(
        "{served} served, {fainted} fainted, {} audits",
        *bank.doors.read()
    );
    assert!(served > 0 && bank.desks.available() == DESKS && bank.taken.load(Ordering::SeqCst) == 0);
}
