//! Two goroutines that take turns: one prints numbers, the other letters, and the output is in order.
//!
//! Each waits on its own channel and wakes the other through the other's. Unbuffered, so a turn is handed over, not
//! left lying about; whoever is done closes the way back.
// expect: exit=0 says=12AB34CD56EF78GH910IJ1112KL1314MN1516OP1718QR1920ST2122UV2324WX2526YZ2728
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;

use burrow::{prelude::*, sync::Mutex};

#[burrow::main]
fn main() {
    let (numbers, letters, done) = (chan::<()>(0), chan::<()>(0), chan::<()>(0));
    let text = Arc::new(Mutex::new(String::new()));

    let (mine, other, page) = (numbers.receiver(), letters.sender(), text.clone());
    go(move || {
        let mut n = 1;
        for () in &mine {
            *page.lock() += &format!("{n}{}", n + 1);
            n += 2;
            other.send(());
        }
    });

    let (mine, other, page, end) = (letters.receiver(), numbers.clone(), text.clone(), done.sender());
    go(move || {
        let mut alphabet = 'A'..='Z';
        for () in &mine {
            let (Some(a), Some(b)) = (alphabet.next(), alphabet.next()) else {
                other.close();
                end.close();
                return;
            };
            page.lock().extend([a, b]);
            other.send(());
        }
    });

    numbers.send(()); // the first turn
    done.recv();
    println!("{}", *text.lock());
}
