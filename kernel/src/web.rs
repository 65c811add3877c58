//! The default kernel's web page, on port 80: what this is, with live figures.
//!
//! From the host: `make qemu` says which port of 127.0.0.1 leads here. Without a network device it is still there on the
//! loopback link. `/healthz` answers `ok`.
#![forbid(unsafe_code)]

use burrow::{
    net::http::{Request, ResponseWriter, Router, Server},
    prelude::*,
};

/// Serves in the background. If the port is taken, there is no page: nobody else is here to take it.
pub(crate) fn start() {
    go(|| {
        let mut router = Router::new();
        let routes = router
            .on("GET /{$}", page)
            .and_then(|r| r.on("GET /healthz", |w, _r| w.text("ok\n")));
        routes.expect("no two routes are in conflict");
        match Server::bind(":80", router) {
            Ok(server) => _ = server.run(),
            Err(e) => eprintln!("web: port 80: {e}"),
        }
    });
}

fn page(w: &mut ResponseWriter, _r: &mut Request) {
    let up = Instant::now().as_nanos();
    let m = runtime::read_mem_stats();
    let rows = [
        (
            "up",
            format!("{}.{:01} s", up / 1_000_000_000, up / 100_000_000 % 10),
        ),
        ("cores", runtime::num_cpu().to_string()),
        ("Ps", runtime::gomaxprocs(0).to_string()),
        ("goroutines", runtime::num_goroutine().to_string()),
        ("heap in use", format!("{} KiB", m.heap_inuse >> 10)),
        ("stacks in use", format!("{} KiB", m.stack_inuse >> 10)),
    ];
    let mut table = String::new();
    for (name, value) in rows {
        table += &format!("<tr><td>{name}</td><td>{value}</td></tr>\n");
    }
    w.header("Cache-Control", "no-store").html(&format!(
        "<!doctype html><meta charset=utf-8><title>Burrow</title>\n\
         <h1>Burrow</h1>\n\
         <p>This page comes from a kernel that is a Go-style runtime: a goroutine read your request from a TCP/IP stack \
         with a netpoller, on cores that run nothing else.</p>\n\
         <table>\n{table}</table>\n<p>Reload for new figures.</p>\n"
    ));
}
