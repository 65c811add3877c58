use super::*;

fn pages(chunks: usize) -> PageAlloc {
    PageAlloc::new(
        Box::leak(vec![Chunk::EMPTY; chunks].into_boxed_slice()),
        Box::leak(vec![Summary::default(); summaries_for(chunks)].into_boxed_slice()),
    )
}

/// xorshift64, for the tests of the heap as well.
pub(in crate::mem) struct Rng(pub(in crate::mem) u64);
impl Rng {
    pub(in crate::mem) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// The same by brute force.
fn first_fit(model: &[bool], n: usize, align: usize) -> Option<usize> {
    let mut run = 0;
    for (i, &free) in model.iter().enumerate() {
        run = if free { run + 1 } else { 0 };
        // What `take` promises: an aligned run within the first run of n + align - 1.
        if run == n + align - 1 {
            return Some((i + 1 - run).next_multiple_of(align));
        }
    }
    None
}

#[test]
fn agrees_with_a_page_by_page_model() {
    let steps = if cfg!(miri) { 200 } else { 60_000 };
    for chunks in [1, 3, 8, 9, 70] {
        let mut a = pages(chunks);
        let total = chunks * CHUNK;
        let mut model = vec![false; total];
        let mut held: Vec<(usize, usize)> = vec![(0, total)];
        let mut rng = Rng(0x1234_5678 + chunks as u64);
        for step in 0..steps / chunks {
            match rng.below(8) {
                0..4 => {
                    let n = if rng.below(20) == 0 {
                        1 + rng.below(total)
                    } else {
                        1 + rng.below(40)
                    };
                    let align = 1 << rng.below(5);
                    let want = first_fit(&model, n, align);
                    assert_eq!(a.take(n, align), want, "step {step}: {n} pages by {align}");
                    if let Some(p) = want {
                        model[p..p + n].fill(false);
                        held.push((p, n));
                    }
                }
                4 => {
                    if let Some(w) = a.take_word() {
                        let at = model.iter().position(|f| *f).map(|p| p & !63);
                        assert_eq!(Some(w.base), at);
                        for i in 0..64 {
                            assert_eq!(w.free >> i & 1 != 0, model[w.base + i]);
                            model[w.base + i] = false;
                            if w.free >> i & 1 != 0 {
                                held.push((w.base + i, 1));
                            }
                        }
                        a.set_released(w.base, 0, true);
                    }
                }
                5 => {
                    let (p, n) = (rng.below(total), 1 + rng.below(100));
                    let want = p + n <= total && model[p..p + n].iter().all(|f| *f);
                    assert_eq!(a.take_at(p, n), want);
                    if want {
                        model[p..p + n].fill(false);
                        held.push((p, n));
                    }
                }
                _ => {
                    if !held.is_empty() {
                        let (p, n) = held.swap_remove(rng.below(held.len()));
                        a.release(p, n);
                        model[p..p + n].fill(true);
                    }
                }
            }
            assert_eq!(a.free_count().0, model.iter().filter(|f| **f).count());
        }
        for (p, n) in held {
            a.release(p, n);
        }
        assert_eq!((a.free_count().0, a.longest_run()), (total, total), "coalesced");
    }
}

#[test]
fn a_run_may_cross_chunks_and_nodes() {
    let mut a = pages(20);
    a.release(5 * CHUNK + 300, 6 * CHUNK); // over the border between nodes 0 and 1 of level 1
    assert_eq!(a.longest_run(), 6 * CHUNK);
    assert_eq!(a.take(6 * CHUNK, 1), Some(5 * CHUNK + 300));
    assert_eq!(a.take(1, 1), None);
    assert_eq!(a.take(usize::MAX / 2, 1), None);
}

#[test]
fn released_pages_are_counted_and_found() {
    let mut a = pages(2);
    a.release(0, 1024);
    assert_eq!(a.free_count(), (1024, 1024));
    let p = a.take(100, 1).unwrap();
    assert_eq!(a.next_released(p, p + 100), Some((0, 64)));
    a.set_released(p, 100, false);
    assert_eq!(a.next_released(p, p + 100), None);
    a.release(p, 100);
    assert_eq!(a.free_count(), (1024, 924));
    assert_eq!(a.take_backed(0, 1024, 1000, true), None, "all young");
    a.age(1024);
    assert_eq!(a.take_backed(0, 1024, 10, true), Some((0, 10)));
    a.set_released(0, 10, true);
    a.release(0, 10);
    assert_eq!(a.free_count(), (1024, 934));
    assert_eq!(a.take_backed(0, 1024, 1000, false), Some((10, 54)));
    let w = a.take_word().unwrap();
    assert_eq!(
        (w.base, w.free.count_ones(), w.released.count_ones()),
        (0, 10, 10)
    );
    a.put_word(w);
    a.set_released(10, 54, true);
    a.release(10, 54);
    assert_eq!(a.free_count(), (1024, 988));
}

#[test]
fn a_run_with_frames_is_found_when_there_are_no_more() {
    let mut a = pages(2);
    a.release(0, 1024);
    let p = a.take(900, 1).unwrap();
    a.set_released(p + 100, 300, false);
    a.release(p, 900);
    assert_eq!(a.released_in(0, 1024), 724);
    assert_eq!(a.take_run_backed(301, 1, 1024), None);
    assert_eq!(a.take_run_backed(100, 64, 1024), Some(128));
    assert_eq!(a.take_run_backed(100, 1, 1024), Some(228));
    assert_eq!(a.take_run_backed(28, 1, 200), Some(100));
}
