//! Which buffer is whose: what a network device says is believed no further than this.
//!
//! A queue's driver gives a buffer to the device and gets a token; when the device is done it names the token and how
//! much it wrote. A broken or hostile device may name one that it does not have (out of range, never given, or twice), or
//! more bytes than there are. Each token stands for a buffer once, so no buffer is ever in two hands; a wrong token is an
//! error after which the queue stands still, and a wrong length loses that frame. Nothing else is harmed.
#![forbid(unsafe_code)]

/// A token that stands for no buffer.
const NOBODY: u16 = u16::MAX;

/// The buffers that the device has of a queue with `N` places.
pub(super) struct Tokens<const N: usize>([u16; N]);

impl<const N: usize> Tokens<N> {
    /// It has none.
    pub(super) const fn new() -> Self {
        Self([NOBODY; N])
    }

    /// The device has buffer `i`, and will name it by `token`.
    pub(super) fn give(&mut self, token: u16, i: u16) {
        if let Some(place) = self.0.get_mut(usize::from(token)) {
            *place = i;
        }
    }

    /// The buffer that `token` stands for, once.
    pub(super) fn redeem(&mut self, token: u16) -> Option<u16> {
        let i = core::mem::replace(self.0.get_mut(usize::from(token))?, NOBODY);
        (i != NOBODY).then_some(i)
    }
}

/// The frame in a buffer: `len` bytes, as the device says, after the header.
pub(super) fn frame(buffer: &[u8], header: usize, len: usize) -> Option<&[u8]> {
    buffer.get(header..header.checked_add(len)?)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What a device names in turn, and which buffers come back.
    #[test]
    fn a_device_that_names_what_it_has_not() {
        let table: [(&[u16], &[Option<u16>]); 6] = [
            (&[0, 1, 2], &[Some(30), Some(31), Some(32)]),
            (&[2, 0, 1], &[Some(32), Some(30), Some(31)]), // in any order
            (&[1, 1, 0], &[Some(31), None, Some(30)]),     // twice
            (&[3, 2], &[None, Some(32)]),                  // never given
            (&[4, 1], &[None, Some(31)]),                  // out of range
            (&[u16::MAX, 0], &[None, Some(30)]),
        ];
        for (named, want) in table {
            let mut t = Tokens::<4>::new();
            for token in 0..3 {
                t.give(token, 30 + token);
            }
            t.give(9, 1); // the driver's tokens are in range, but who knows
            let got: Vec<_> = named.iter().map(|&n| t.redeem(n)).collect();
            assert_eq!(got, want, "named {named:?}");
        }
    }

    /// A token stands for the buffer that was given with it last.
    #[test]
    fn a_token_is_used_again() {
        let mut t = Tokens::<2>::new();
        for i in 0..5 {
            t.give(1, i);
            assert_eq!((t.redeem(1), t.redeem(1)), (Some(i), None));
        }
    }

    #[test]
    fn a_device_that_says_it_wrote_more() {
        let buffer = [7; 100];
        let table = [
            (12, 0, Some(0)),
            (12, 88, Some(88)),
            (12, 89, None),
            (12, usize::MAX, None),
            (100, 0, Some(0)),
            (101, 0, None),
            (usize::MAX, 1, None),
        ];
        for (header, len, want) in table {
            assert_eq!(
                frame(&buffer, header, len).map(<[u8]>::len),
                want,
                "{header} {len}"
            );
        }
    }
}
