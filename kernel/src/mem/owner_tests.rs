use super::*;

#[cfg(not(loom))]
mod plain {
    use super::*;

    #[test]
    fn the_life_of_a_span() {
        let o = Owner::new(3);
        assert!(o.is_plainly(3) && !o.is_plainly(4));
        assert!(o.give_up_full(3));
        assert_eq!(
            o.free(5, 9, |_| unreachable!("adoption links nothing")),
            Freed::Adopted
        );
        // Somebody else frees two; the owner may not give it up, but takes them.
        let mut links = vec![];
        assert_eq!(o.free(6, 1, |h| links.push(h)), Freed::Pushed);
        assert_eq!(o.free(7, 4, |h| links.push(h)), Freed::Pushed);
        links.dedup(); // a weak exchange may fail for nothing, and the link is written again
        assert_eq!(links, [0, 2]);
        assert!(!o.give_up_full(5));
        assert_eq!(o.take_remote(), (5, 2));
        assert_eq!(o.take_remote(), (0, 0));
        // Two live ones go to mcentral; the second free empties it.
        assert!(!o.to_central(0, 5));
        assert!(o.to_central(2, 5));
        assert_eq!(o.free(1, 0, |_| ()), Freed::Pushed);
        assert_eq!(o.free(1, 2, |_| ()), Freed::Emptied);
        assert_eq!(
            o.get(),
            Word {
                owner: central(5),
                live: 0,
                count: 2,
                head: 3
            }
        );
        o.take_central(2);
        assert_eq!(o.take_remote(), (3, 2));
    }

    #[test]
    fn a_sampled_span_goes_the_slow_way_through_every_change() {
        let o = Owner::new(3);
        o.set_sampled(true);
        assert!(!o.is_plainly(3) && o.is_sampled() && o.get().owner == 3);
        assert!(o.give_up_full(3));
        assert_eq!(o.free(4, 0, |_| ()), Freed::Adopted);
        assert!(o.is_sampled() && o.to_central(1, 5));
        o.take_central(9);
        o.set_sampled(false);
        assert!(o.is_plainly(9));
    }

    #[test]
    fn an_owner_that_gives_up_with_everything_freed_remotely_keeps_it() {
        let o = Owner::new(1);
        assert_eq!(o.free(2, 0, |_| ()), Freed::Pushed);
        assert!(!o.to_central(1, 5), "its one object is on the remote list");
    }
}

/// Models: every interleaving of small programs. Objects are flags in loom cells, so that a missing acquire or release
/// shows as a data race.
#[cfg(loom)]
mod models {
    use loom::{
        cell::UnsafeCell,
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;

    /// The owner's plain fields: how many objects its local list has.
    struct Span {
        owner: Owner,
        local: UnsafeCell<u16>,
        /// Link words of two objects.
        links: [UnsafeCell<u16>; 2],
    }

    fn span(tag: u16) -> Arc<Span> {
        Arc::new(Span {
            owner: Owner::new(tag),
            local: UnsafeCell::new(0),
            links: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    impl Span {
        fn free(&self, tag: u16, i: u16) -> Freed {
            // SAFETY: the model's point: loom reports a race if the protocol allows one.
            let r = self
                .owner
                .free(tag, i, |h| self.links[i as usize].with_mut(|l| unsafe { *l = h }));
            if r == Freed::Adopted {
                self.add(1);
            }
            r
        }
        fn add(&self, n: u16) {
            // SAFETY: as above.
            self.local.with_mut(|l| unsafe { *l += n });
        }
        /// Takes the remote list and walks it.
        fn collect(&self) -> u16 {
            let (mut head, n) = self.owner.take_remote();
            let mut seen = 0;
            while head != 0 {
                seen += 1;
                // SAFETY: as above.
                head = self.links[head as usize - 1].with(|l| unsafe { *l });
            }
            assert_eq!(seen, n, "list and count agree");
            self.add(n);
            n
        }
        fn local(&self) -> u16 {
            // SAFETY: as above.
            self.local.with(|l| unsafe { *l })
        }
    }

    /// The owner runs out of objects while two others free one each: both come home, to the owner or to one adopter.
    #[test]
    fn loom_full_or_freed() {
        loom::model(|| {
            let s = span(1);
            let others: Vec<_> = (0..2)
                .map(|i| {
                    let s = s.clone();
                    thread::spawn(move || s.free(2 + i, i))
                })
                .collect();
            let gave_up = s.owner.give_up_full(1);
            if !gave_up {
                assert!(s.collect() > 0);
            }
            let adopted = others
                .into_iter()
                .filter(|_| true)
                .map(|t| t.join().unwrap())
                .filter(|r| *r == Freed::Adopted)
                .count();
            assert_eq!(
                adopted,
                usize::from(gave_up),
                "given up and adopted once, or neither"
            );
            s.collect();
            assert_eq!(s.local(), 2);
            assert_ne!(
                s.owner.get().owner,
                FULL,
                "a span with free objects is somebody's"
            );
        });
    }

    /// A P hands a span with two live objects to mcentral while both are freed: it is emptied by exactly one, or the P
    /// noticed that nothing is live; and a taker under the lock never loses against the reaper.
    #[test]
    fn loom_central_hand_over() {
        loom::model(|| {
            let s = span(1);
            // mcentral's list: is the span on it?
            let list = Arc::new(Mutex::new(false));
            let others: Vec<_> = (0..2)
                .map(|i| {
                    let (s, list) = (s.clone(), list.clone());
                    thread::spawn(move || {
                        if s.free(7, i) != Freed::Emptied {
                            return false;
                        }
                        let mut on = list.lock().unwrap();
                        let w = s.owner.get();
                        let mine = *on && w.owner == central(0) && w.live == 0;
                        if mine {
                            *on = false;
                            s.owner.reset(NOT_SMALL);
                        }
                        mine
                    })
                })
                .collect();
            let kept = {
                let mut on = list.lock().unwrap();
                *on = s.owner.to_central(2, 0);
                !*on
            };
            let taken = {
                let mut on = list.lock().unwrap();
                let taken = *on;
                if taken {
                    *on = false;
                    s.owner.take_central(3);
                }
                taken
            };
            let reaped = others
                .into_iter()
                .map(|t| t.join().unwrap())
                .filter(|r| *r)
                .count();
            assert_eq!(
                usize::from(kept) + usize::from(taken) + reaped,
                1,
                "the span has one fate"
            );
            if reaped == 0 {
                s.collect();
                assert_eq!(s.local(), 2);
            }
        });
    }
}
