//! Fan-out with errors: several searches at once, the first failure stops the others, `wait` returns it.
//!
//! The context ends with the group, so who still works hears of it: nobody is left behind when `wait` returns. The
//! limit keeps it to three searches at a time.
// expect: exit=0 says=found 3 of 3: ["a.txt: 1", "b.txt: 2", "c.txt: 3"]
// expect: says=failed: no such shelf: x
// expect: says=all were told: context canceled, because of: no such shelf: x
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;

use burrow::{
    context::Context,
    prelude::*,
    sync::{Mutex, errgroup::Group},
};

/// Takes a while, stops when it is not wanted any more.
fn search(ctx: &Context, shelf: &str, n: usize) -> Result<String, String> {
    if shelf == "x" {
        return Err(format!("no such shelf: {shelf}"));
    }
    select! {
        recv(time::after(Duration::from_millis(10 * n as u64))) => Ok(format!("{shelf}.txt: {n}")),
        recv(ctx.done()) => Err("interrupted".into()),
    }
}

fn search_all(shelves: &[&'static str]) -> (Result<Vec<String>, String>, Context) {
    let (group, ctx) = Group::<String>::with_context(&Context::background());
    group.set_limit(3);
    let found = Arc::new(Mutex::new(vec![String::new(); shelves.len()]));
    for (i, &shelf) in shelves.iter().enumerate() {
        let (ctx, found) = (ctx.clone(), found.clone());
        group.go(move || {
            let text = search(&ctx, shelf, i + 1)?;
            found.lock()[i] = text;
            Ok(())
        });
    }
    let result = group.wait().map(|()| core::mem::take(&mut *found.lock()));
    (result, ctx)
}

#[burrow::main]
fn main() {
    let (result, _) = search_all(&["a", "b", "c"]);
    let found = result.unwrap();
    println!("found {} of 3: {found:?}", found.len());

    let start = Instant::now();
    let (result, ctx) = search_all(&["a", "x", "c", "d", "e", "f"]);
    println!("failed: {}", result.unwrap_err());
    println!(
        "all were told: {}, because of: {}",
        ctx.err().unwrap(),
        ctx.cause().unwrap()
    );
    println!("after {:?}", start.elapsed());
}
