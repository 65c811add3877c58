//! Everybody waits for everybody: the kernel notices, shows who waits where, and exits with 2.
// expect: exit=2 says=fatal error: all goroutines are asleep - deadlock!
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

#[burrow::main]
fn main() {
    let (tea, cake) = (chan::<u32>(0), chan::<u32>(0));
    let (t, c) = (tea.clone(), cake.clone());
    go(move || {
        // No tea before the cake …
        let slice = c.recv().unwrap();
        t.send(slice);
    });
    println!("this program waits for ever");
    // … and no cake before the tea.
    let cup = tea.recv().unwrap();
    cake.send(cup);
}
