//! The map's hash: multiply and fold, from the boot's seed.
//!
//! One 64×64→128 multiplication a word, its halves folded by xor, so that every bit of the key reaches the high bits,
//! which choose the way through the trie. The seed differs from boot to boot (unless it is given), so that nobody
//! can prepare keys that collide; it is no cryptography.
#![forbid(unsafe_code)]

use core::hash::{BuildHasher, Hasher};

/// The map's default hash.
///
/// ```
/// use std::hash::BuildHasher;
/// let h = burrow::sync::map::Seeded;
/// assert_eq!(h.hash_one("key"), h.hash_one("key"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeded;

/// A hash under way. See [`Seeded`].
///
/// ```
/// use std::hash::{BuildHasher, Hasher};
/// let mut h: burrow::sync::map::Folding = burrow::sync::map::Seeded.build_hasher();
/// h.write_u32(7);
/// assert_eq!(h.finish(), burrow::sync::map::Seeded.hash_one(7_u32));
/// ```
#[derive(Clone, Debug)]
pub struct Folding(u64);

const K: u64 = 0x9fb2_1c65_1e98_df25;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    #[inline(always)]
    fn build_hasher(&self) -> Folding {
        #[cfg(target_os = "none")]
        let seed = crate::sched::seed();
        #[cfg(not(target_os = "none"))]
        let seed = 0;
        Folding(seed ^ 0x243f_6a88_85a3_08d3)
    }
}

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for w in words {
            self.write_u64(u64::from_le_bytes(*w));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length, so that trailing zeros count.
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }
    #[inline(always)]
    fn write_u64(&mut self, x: u64) {
        self.0 = fold(self.0 ^ x, K).wrapping_add(x);
    }
    #[inline(always)]
    fn write_u8(&mut self, x: u8) {
        self.write_u64(x.into());
    }
    #[inline(always)]
    fn write_u16(&mut self, x: u16) {
        self.write_u64(x.into());
    }
    #[inline(always)]
    fn write_u32(&mut self, x: u32) {
        self.write_u64(x.into());
    }
    #[inline(always)]
    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64);
    }
    #[inline(always)]
    fn finish(&self) -> u64 {
        fold(self.0, K)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Small integers and their multiples, the usual keys, spread over the 16 parts and the levels below.
    #[test]
    fn high_bits_are_spread() {
        for step in [1_u64, 8, 64, 4096, 1 << 32, 1 << 56] {
            for shift in [60, 56, 52] {
                let mut parts = [0; 16];
                for i in 0..1600_u64 {
                    parts[(Seeded.hash_one(i.wrapping_mul(step)) >> shift) as usize % 16] += 1;
                }
                let distinct = if step == 1 << 56 { 256 } else { 1600 };
                if distinct == 1600 {
                    assert!(
                        parts.iter().all(|n| (50..160).contains(n)),
                        "{step} {shift} {parts:?}"
                    );
                }
            }
        }
        assert_ne!(Seeded.hash_one("a\0"), Seeded.hash_one("a"));
    }
}
