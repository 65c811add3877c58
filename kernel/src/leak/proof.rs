//! Who waits for good: the proof, on plain data.
//!
//! Given is what each goroutine waits for. Wanted is the largest set of goroutines none of which can be woken as long as
//! none of the others is. Begin with all that wait, and let go of one after the other that somebody outside might wake;
//! who is let go of may wake others. What remains has no way out: the first of them to be woken would need a waker who
//! is not in the set.
//!
//! | it waits for | it may be woken if |
//! | --- | --- |
//! | nothing that can happen | never |
//! | a goroutine | that one may be woken |
//! | channel operations | one of them may be done |
//! | anything else | always: nothing is known |
//!
//! An operation on a channel may be done if there is a handle which is not accounted for: neither borrowed by a wait in the
//! set and out of everybody else's reach (a *slot*), nor, for a receive, a handle that only receives.
//!
//! Every goroutine is let go of once, and every channel looked through twice at most: O(n log n) for the sorting.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

/// What a goroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// It may be woken, or runs.
    Unknown,
    /// It cannot be woken.
    Nothing,
    /// The [`Arm`]s with its number.
    Arms,
    /// The goroutine with this id; one that is not alive does nothing any more.
    Goroutine(u64),
}

/// One goroutine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) need: Need,
}

/// One channel operation that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arm {
    /// Whose: an index of the nodes.
    pub(super) who: u32,
    pub(super) chan: usize,
    /// The handle it borrows, as an address, if nobody but this goroutine can reach it; else 0.
    pub(super) slot: usize,
    pub(super) receiving: bool,
    /// Handles of the channel; none of them can send or close but `senders`.
    pub(super) handles: usize,
    pub(super) senders: usize,
}

struct Chan {
    arms: core::ops::Range<usize>,
    handles: usize,
    senders: usize,
    /// Slots of goroutines still in the set.
    ours: usize,
}

impl Chan {
    /// Can this operation not be done by anybody outside of the set?
    fn is_dead(&self, a: &Arm) -> bool {
        self.ours == self.handles || a.receiving && self.senders == 0
    }
}

struct Search<'a> {
    nodes: &'a [Node],
    arms: &'a [Arm],
    chans: Vec<Chan>,
    /// Of each arm, the channel.
    chan_of: Vec<u32>,
    stuck: Vec<bool>,
    /// Let go of, but not yet what that means for others.
    work: Vec<u32>,
}

impl Search<'_> {
    fn let_go(&mut self, who: u32) {
        if core::mem::replace(&mut self.stuck[who as usize], false) {
            self.work.push(who);
        }
    }

    fn look_at(&mut self, chan: usize) {
        for i in self.chans[chan].arms.clone() {
            let a = &self.arms[i];
            if !self.chans[chan].is_dead(a) {
                self.let_go(a.who);
            }
        }
    }
}

/// Which of the nodes wait for good. Sorts the arms.
pub(super) fn stuck(nodes: &[Node], arms: &mut [Arm]) -> Vec<bool> {
    arms.sort_unstable_by_key(|a| (a.chan, a.slot, a.who));
    let mut s = Search {
        nodes,
        arms,
        chans: Vec::new(),
        chan_of: Vec::with_capacity(arms.len()),
        stuck: nodes.iter().map(|n| n.need != Need::Unknown).collect(),
        work: Vec::new(),
    };
    // One channel with two counts was read while somebody changed it: then he has a handle, so take the larger ones.
    for (i, a) in s.arms.iter().enumerate() {
        if i == 0 || s.arms[i - 1].chan != a.chan {
            s.chans.push(Chan {
                arms: i..i,
                handles: 0,
                senders: 0,
                ours: 0,
            });
        }
        s.chan_of.push(s.chans.len() as u32 - 1);
        if let Some(c) = s.chans.last_mut() {
            c.arms.end = i + 1;
            c.handles = c.handles.max(a.handles);
            c.senders = c.senders.max(a.senders);
            c.ours += usize::from(is_first_of_slot(s.arms, i));
        }
    }

    let index = |keys: &mut dyn Iterator<Item = (u64, u32)>| {
        let mut v: Vec<_> = keys.collect();
        v.sort_unstable();
        v
    };
    let waiting = index(&mut nodes.iter().zip(0..).filter_map(|(n, i)| match n.need {
        Need::Goroutine(id) => Some((id, i)),
        _ => None,
    }));
    let by_who = index(&mut s.arms.iter().zip(0..).map(|(a, i)| (u64::from(a.who), i)));

    for who in 0..nodes.len() as u32 {
        if !s.stuck[who as usize] {
            s.work.push(who);
        }
    }
    for c in 0..s.chans.len() {
        s.look_at(c);
    }
    while let Some(who) = s.work.pop() {
        for &(_, waiter) in all_of(&waiting, s.nodes[who as usize].id) {
            s.let_go(waiter);
        }
        for &(_, arm) in all_of(&by_who, u64::from(who)) {
            if is_first_of_slot(s.arms, arm as usize) {
                let chan = s.chan_of[arm as usize] as usize;
                let was_sealed = s.chans[chan].ours == s.chans[chan].handles;
                s.chans[chan].ours -= 1;
                if was_sealed {
                    s.look_at(chan);
                }
            }
        }
    }
    s.stuck
}

/// Two arms of one `select!` may borrow the same handle: it counts once.
fn is_first_of_slot(arms: &[Arm], i: usize) -> bool {
    let key = |a: &Arm| (a.chan, a.slot);
    arms[i].slot != 0 && (i == 0 || key(&arms[i - 1]) != key(&arms[i]))
}

/// The entries of a sorted list with this key.
fn all_of(list: &[(u64, u32)], key: u64) -> &[(u64, u32)] {
    let from = list.partition_point(|e| e.0 < key);
    let n = list[from..].partition_point(|e| e.0 == key);
    &list[from..from + n]
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec};

    use super::*;

    fn node(id: u64, need: Need) -> Node {
        Node { id, need }
    }

    /// A receive on `chan` with the handle `slot`, of so many handles.
    fn recv(who: u32, chan: usize, slot: usize, handles: usize) -> Arm {
        Arm {
            who,
            chan,
            slot,
            receiving: true,
            handles,
            senders: handles,
        }
    }

    #[test]
    fn the_last_handle_waits() {
        let nodes = [node(1, Need::Unknown), node(2, Need::Arms)];
        assert_eq!(stuck(&nodes, &mut [recv(1, 10, 100, 1)]), [false, true]);
        assert_eq!(
            stuck(&nodes, &mut [recv(1, 10, 100, 2)]),
            [false, false],
            "another handle"
        );
        assert_eq!(
            stuck(&nodes, &mut [recv(1, 10, 0, 1)]),
            [false, false],
            "others reach the handle"
        );
    }

    #[test]
    fn receivers_without_a_sender() {
        let nodes = [node(1, Need::Arms)];
        let mut a = recv(0, 10, 0, 7);
        a.senders = 0;
        assert_eq!(stuck(&nodes, &mut [a]), [true]);
        a.receiving = false;
        assert_eq!(stuck(&nodes, &mut [a]), [false], "a send may be received");
    }

    #[test]
    fn one_live_arm_is_enough() {
        let nodes = [node(1, Need::Arms)];
        let dead = recv(0, 10, 100, 1);
        assert_eq!(stuck(&nodes, &mut [dead, recv(0, 11, 101, 1)]), [true]);
        assert_eq!(stuck(&nodes, &mut [dead, recv(0, 11, 101, 2)]), [false]);
        // Both directions through one handle.
        let other = Arm {
            receiving: false,
            ..dead
        };
        assert_eq!(stuck(&nodes, &mut [dead, other]), [true]);
    }

    #[test]
    fn who_is_woken_wakes_others() {
        // A chain: each has a handle of the next one's channel in its own wait; the last can be reached.
        const N: usize = 50;
        let nodes: Vec<_> = (0..N).map(|i| node(i as u64, Need::Arms)).collect();
        let mut arms = Vec::new();
        for i in 0..N {
            arms.push(recv(i as u32, i, 1000 + i, 2));
            arms.push(recv(i as u32, (i + 1) % N, 2000 + i, 2));
        }
        assert!(
            stuck(&nodes, &mut arms.clone()).iter().all(|s| *s),
            "a closed circle"
        );
        arms[0].handles = 3;
        assert!(
            stuck(&nodes, &mut arms).iter().all(|s| !*s),
            "opened at one place"
        );
    }

    #[test]
    fn waits_for_goroutines() {
        let nodes = [
            node(1, Need::Nothing),
            node(2, Need::Goroutine(1)),
            node(3, Need::Goroutine(2)),
            node(4, Need::Goroutine(99)), // not alive
            node(5, Need::Unknown),
            node(6, Need::Goroutine(5)),
            node(7, Need::Goroutine(8)),
            node(8, Need::Goroutine(7)),
        ];
        assert_eq!(
            stuck(&nodes, &mut []),
            [true, true, true, true, false, false, true, true]
        );
    }

    /// The definition, carried out: drop whoever may be woken until nothing changes.
    fn slow(nodes: &[Node], arms: &[Arm]) -> Vec<bool> {
        let mut stuck: Vec<bool> = nodes.iter().map(|n| n.need != Need::Unknown).collect();
        loop {
            let before = stuck.clone();
            for (i, n) in nodes.iter().enumerate() {
                let woken = match n.need {
                    Need::Unknown => true,
                    Need::Nothing => false,
                    Need::Goroutine(id) => nodes.iter().zip(&before).any(|(m, s)| m.id == id && !s),
                    Need::Arms => arms.iter().filter(|a| a.who as usize == i).any(|a| {
                        let slots: BTreeSet<_> = arms
                            .iter()
                            .filter(|b| b.chan == a.chan && b.slot != 0 && before[b.who as usize])
                            .map(|b| b.slot)
                            .collect();
                        !(slots.len() == a.handles || a.receiving && a.senders == 0)
                    }),
                };
                stuck[i] &= !woken;
            }
            if stuck == before {
                return stuck;
            }
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut rng = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |n: usize| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            (rng >> 20) as usize % n
        };
        let mut found = 0;
        for _ in 0..5000 {
            let (n, chans) = (1 + below(8), 1 + below(4));
            let mut arms: Vec<Arm> = Vec::new();
            let mut nodes = vec![];
            for who in 0..n {
                nodes.push(node(
                    who as u64,
                    match below(12) {
                        0 => Need::Unknown,
                        1 => Need::Nothing,
                        2..5 => Need::Goroutine(below(n + 1) as u64),
                        _ => Need::Arms,
                    },
                ));
                if nodes[who].need == Need::Arms {
                    for _ in 0..1 + below(3) {
                        let slot = if below(5) == 0 { 0 } else { 1 + who * 2 + below(2) };
                        let mut a = recv(who as u32, below(chans), slot, 0);
                        a.receiving = below(2) == 0;
                        arms.push(a);
                    }
                }
            }
            for chan in 0..chans {
                let slots: BTreeSet<_> = arms
                    .iter()
                    .filter(|a| a.chan == chan && a.slot != 0)
                    .map(|a| a.slot)
                    .collect();
                let handles = slots.len() + usize::from(below(3) == 0);
                let senders = if below(4) == 0 { 0 } else { handles };
                for a in arms.iter_mut().filter(|a| a.chan == chan) {
                    (a.handles, a.senders) = (handles, senders);
                }
            }
            let want = slow(&nodes, &arms);
            found += want.iter().filter(|s| **s).count();
            assert_eq!(stuck(&nodes, &mut arms), want, "{nodes:?} {arms:?}");
        }
        assert!(found > 3000, "only {found} stuck");
    }
}
