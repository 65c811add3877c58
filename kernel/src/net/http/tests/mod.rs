//! Bytes of strangers: what is accepted, what is refused and how, in pieces of any size. No sockets here.
#![forbid(unsafe_code)]

mod answers;
mod chunks;
mod heads;
mod pieces;
mod routes;
mod streams;
mod urls;

/// xorshift64*.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}
