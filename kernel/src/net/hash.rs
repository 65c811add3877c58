//! The hash of the socket tables, seeded at boot so that nobody outside can choose connections that collide.
#![forbid(unsafe_code)]

use core::hash::{BuildHasher, Hasher};

/// Makes hashers with one seed.
#[derive(Clone, Copy)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Fold;
    fn build_hasher(&self) -> Fold {
        Fold {
            state: self.0,
            key: self.0.rotate_left(32) | 1,
        }
    }
}

/// Multiplies and folds 128 bits to 64, a word at a time.
pub(super) struct Fold {
    state: u64,
    key: u64,
}

impl Fold {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.state ^ word ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(self.key ^ 0xd6e8_feb8_6659_fd93);
        self.state = wide as u64 ^ (wide >> 64) as u64;
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.mix(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    fn finish(&self) -> u64 {
        self.state ^ self.state >> 29
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_keys_spread_and_seeds_differ() {
        let (a, b) = (Seeded::new(1), Seeded::new(2));
        let mut low = [0u32; 256];
        for port in 0..10_000u16 {
            let h = a.hash_one(("10.0.2.2", port));
            low[h as usize & 255] += 1;
            assert_ne!(h, b.hash_one(("10.0.2.2", port)));
        }
        assert!(low.iter().all(|&n| (10..80).contains(&n)), "{low:?}");
    }
}
