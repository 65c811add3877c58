//! The kernel that `make qemu` boots: a banner, a web page on port 80, a tour of what it can do, and a prompt.
//!
//! It is a program like those in `examples/`: everything it shows, any program can do. With
//! `OPTS="run=tour,exit"` it obeys that list and asks nobody; with `OPTS="run="` it goes straight to the prompt.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod tour;
mod web;

use burrow::{console, prelude::*};

#[burrow::main]
fn main() {
    console::banner();
    web::start();
    if burrow::opts::get("run").is_none() {
        tour::tour();
        println!("Type `help` for the commands, `run` for the programs.");
    }
    console::run_list(tour::PROGRAMS);
    console::prompt(tour::PROGRAMS)
}
