//! Multiplication by a fraction without division: ticks to nanoseconds and back.
//!
//! `a · num / den` becomes `(a · mul) >> shift` with a 128-bit product: one `mul`, one `shrd`. The multiplier
//! has up to 63 bits, so the error is below one part in 2^60 and nothing overflows while the result fits.

/// A factor `mul / 2^shift`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// The multiplier.
    pub mul: u64,
    /// The right shift, below 128.
    pub shift: u32,
}

impl Scale {
    /// The factor `num / den`; neither is 0.
    pub const fn new(num: u64, den: u64) -> Self {
        // The largest shift with a multiplier that still fits 63 bits.
        let mut shift = 63;
        loop {
            let mul = ((num as u128) << shift) / den as u128;
            if mul < 1 << 63 {
                return Scale {
                    mul: mul as u64,
                    shift,
                };
            }
            if shift == 0 {
                return Scale {
                    mul: 1 << 63,
                    shift: 0,
                };
            }
            shift -= 1;
        }
    }

    /// `a` times the factor, rounded down.
    #[inline(always)]
    pub const fn apply(self, a: u64) -> u64 {
        ((a as u128 * self.mul as u128) >> self.shift) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_division() {
        for hz in [
            1_000_000u64,
            999_999_937,
            1_000_000_000,
            2_345_678_901,
            5_100_000_000,
        ] {
            let ns = Scale::new(1_000_000_000, hz);
            let back = Scale::new(hz, 1_000_000_000);
            for ticks in [0, 1, 17, hz, hz * 3600, hz * 86_400 * 365] {
                let exact = (ticks as u128 * 1_000_000_000 / hz as u128) as u64;
                let got = ns.apply(ticks);
                assert!(exact.abs_diff(got) <= 1, "{hz} {ticks} {exact} {got}");
                assert!(
                    back.apply(got).abs_diff(ticks) <= hz / 1_000_000_000 + 2,
                    "{hz} {ticks}"
                );
            }
        }
    }

    #[test]
    fn never_runs_backwards() {
        let s = Scale::new(1_000_000_000, 2_999_999_999);
        let mut last = 0;
        for t in 0..10_000 {
            let now = s.apply(t);
            assert!(now >= last);
            last = now;
        }
    }
}
