//! A configuration that changes under running servers: copied, changed, put back as a whole.
//!
//! Readers take a snapshot and use it for one request: never half old and half new, never waiting. Whoever changes
//! it copies it first; the old one is freed when its last snapshot goes. Two that change at once do not lose each
//! other's change: `update` tries again.
// expect: exit=0 says=requests with a torn configuration: 0
// expect: says=limit 1100 in version 101, log level debug
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use burrow::{atomic::Value, prelude::*};

#[derive(Clone)]
struct Config {
    version: u32,
    /// Always 1000 more than `version` minus 1: so a torn one would show.
    limit: u32,
    level: String,
}

fn serve(config: &Value<Config>, stop: &AtomicBool, served: &AtomicU32, torn: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let now = config.load();
        yield_now(); // the request takes its time; the configuration may change meanwhile
        if now.limit != now.version + 999 {
            torn.fetch_add(1, Ordering::Relaxed);
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[burrow::main]
fn main() {
    let config = Value::new(Config {
        version: 1,
        limit: 1000,
        level: "info".into(),
    });
    let (stop, served, torn) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| serve(&config, &stop, &served, &torn));
        }
        let writers: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    for _ in 0..50 {
                        config.update(|old| Config {
                            version: old.version + 1,
                            limit: old.limit + 1,
                            ..old.clone()
                        });
                        time::sleep(Duration::from_micros(100));
                    }
                })
            })
            .collect();
        for w in writers {
            w.join().unwrap();
        }
        config.update(|old| Config {
            level: "debug".into(),
            ..old.clone()
        });
        stop.store(true, Ordering::Relaxed);
    });
    let last = config.load();
    println!("served {} requests", served.into_inner());
    println!("requests with a torn configuration: {}", torn.into_inner());
    println!(
        "limit {} in version {}, log level {}",
        last.limit, last.version, last.level
    );
}
