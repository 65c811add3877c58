//! The tour: what the kernel can do, each part with figures measured on the spot. Every part is a program that
//! `run NAME` starts, too.
#![forbid(unsafe_code)]

mod busy;
mod contain;
mod heap;
mod hog;
mod leak;
mod select;
mod sieve;
mod stack;

use burrow::{console::Program, prelude::*};

const PARTS: [Program; 5] = [
    Program {
        name: "sieve",
        about: "primes, on one core and on all",
        run: sieve::run,
    },
    Program {
        name: "hog",
        about: "a goroutine that never gives up its core, on every core",
        run: hog::run,
    },
    Program {
        name: "select",
        about: "waiting for several channels at once, but not for ever",
        run: select::run,
    },
    Program {
        name: "contain",
        about: "panics and wild pointers that end one goroutine, not the program",
        run: contain::run,
    },
    Program {
        name: "stack",
        about: "a stack that grows page by page, to its end",
        run: stack::run,
    },
];

/// All that `run` knows.
pub(crate) const PROGRAMS: &[Program] = &{
    const TOUR: Program = Program {
        name: "tour",
        about: "all of the following, one after the other",
        run: tour,
    };
    const BUSY: Program = Program {
        name: "busy",
        about: "keep all cores busy for 20 s, in the background: for `top`",
        run: busy::run,
    };
    const HEAP: Program = Program {
        name: "heap",
        about: "a thousand blocks live and die; what their spans go through (docs/memory.md)",
        run: heap::run,
    };
    const LEAK: Program = Program {
        name: "leak",
        about: "a goroutine that nobody will ever wake, in the background: for `ps leaks`",
        run: leak::run,
    };
    let mut all = [TOUR; PARTS.len() + 4];
    let mut i = 0;
    while i < PARTS.len() {
        all[i + 1] = PARTS[i];
        i += 1;
    }
    all[PARTS.len() + 1] = BUSY;
    all[PARTS.len() + 2] = HEAP;
    all[PARTS.len() + 3] = LEAK;
    all
};

/// The whole tour.
pub(crate) fn tour() {
    for (i, part) in PARTS.iter().enumerate() {
        println!("\n[{}/{}] {}: {}", i + 1, PARTS.len(), part.name, part.about);
        (part.run)();
    }
    println!("\ntour complete: {} parts\n", PARTS.len());
}
