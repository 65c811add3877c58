//! Allocation. The last 64 objects stay reachable, as in the peer's programs, so an operation is one allocation and one
//! free of an object that is 64 allocations old. Objects are written to (their first word), not cleared: Rust does not ask
//! for zeroes, Go always does.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::{mem::MaybeUninit, time::Duration};

use burrow::{chan, go, time::Instant};

type Object<const WORDS: usize> = Box<[MaybeUninit<u64>; WORDS]>;

#[inline(always)]
fn object<const WORDS: usize>(first: u64) -> Object<WORDS> {
    // Words that need not be initialised: nothing is copied.
    let mut o = Box::write(Box::new_uninit(), [const { MaybeUninit::uninit() }; WORDS]);
    o[0].write(first);
    o
}

fn ring<const WORDS: usize>(n: usize) {
    let mut ring: [Option<Object<WORDS>>; 64] = [const { None }; 64];
    for i in 0..n {
        ring[i & 63] = Some(object(i as u64));
    }
    core::hint::black_box(&ring);
}

/// Operation = one object of `WORDS` words in, one out.
pub fn object_of<const WORDS: usize>(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    ring::<WORDS>(n);
    (n, begin.elapsed())
}

/// The same with 64 bytes in eight goroutines.
pub fn parallel8_64(n: usize) -> (usize, Duration) {
    (n / 8 * 8, crate::par(8, move |_| ring::<8>(n / 8)))
}

/// Operation = allocate 64 bytes and free them at once.
pub fn free_pair_64(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    for i in 0..n {
        drop(core::hint::black_box(object::<8>(i as u64)));
    }
    (n, begin.elapsed())
}

/// Operation = 64 bytes allocated by one goroutine and freed by another (batches of 64 over a channel).
pub fn xthread_free_64(n: usize) -> (usize, Duration) {
    const BATCH: usize = 64;
    let ch = chan::<Box<[Option<Object<8>>; BATCH]>>(4);
    let back = chan::<Box<[Option<Object<8>>; BATCH]>>(8);
    let done = chan::<()>(0);
    let (rx, empty, end) = (ch.receiver(), back.sender(), done.sender());
    go(move || {
        for mut batch in &rx {
            batch.iter_mut().for_each(|o| drop(o.take()));
            empty.send(batch);
        }
        end.send(());
    });
    (0..6).for_each(|_| back.send(Box::new([const { None }; BATCH])));
    let begin = Instant::now();
    for i in 0..n / BATCH {
        let Some(mut batch) = back.recv() else { break };
        batch.iter_mut().for_each(|o| *o = Some(object(i as u64)));
        ch.send(batch);
    }
    ch.close();
    done.recv();
    (n / BATCH * BATCH, begin.elapsed())
}
