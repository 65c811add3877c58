//! Damaged frames through the path of a device: nothing panics, and the stack lives.
#![forbid(unsafe_code)]

use super::{round::Wakes, stack::Stack};
use crate::sched;

impl Stack {
    /// Shows every link `rounds` frames made by damaging a SYN, a datagram, an ICMP echo and a fragment.
    pub(super) fn fuzz(&mut self, rounds: u32) {
        let mut x = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as usize
        };
        for round in 0..rounds {
            let n = random() % self.nics.len();
            let mut frame = [0u8; 80];
            frame[..20].copy_from_slice(&[
                0x45,
                0,
                0,
                80,
                0,
                1,
                0,
                0,
                64,
                [6, 17, 1][round as usize % 3],
                0,
                0,
                127,
                0,
                0,
                1,
                127,
                0,
                0,
                1,
            ]);
            frame[20..24].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
            frame[32] = 0x50;
            frame[33] = 2;
            for _ in 0..random() % 12 {
                frame[random() % 80] = random() as u8;
            }
            let len = if random() % 4 == 0 { random() % 81 } else { 80 };
            let mut wakes = Wakes::new();
            self.ingress(n, &frame[..len], sched::now_ns(), &mut wakes);
            sched::ready_all(&wakes);
        }
    }
}
