//! The table: each row measured in turns on all servers, medians printed.

use std::time::Duration;

use anyhow::Result;

use super::{
    Server, Service, bulk,
    client::{Client, Protocol},
};

/// One measurement of a row with requests.
struct Sample {
    per_s: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time that QEMU spent on each.
    cpu: f64,
}

fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name).ok().and_then(|v| v.parse().ok());
    value.unwrap_or(default)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Measures everything whose name contains `only`. `RUNS` times (5), `SECS` seconds each (2), `BLOCKS` MiB (32).
pub(super) fn measure(servers: &[Server], only: &str) -> Result<()> {
    let runs = number("RUNS", 5);
    let time = Duration::from_secs(number("SECS", 2) as u64);
    let blocks = number("BLOCKS", 32);
    let rows = [
        ("echo_rtt", Service::Echo, Protocol::Echo),
        ("http_raw", Service::HttpRaw, Protocol::Http),
        ("http_hello", Service::HttpHello, Protocol::Http),
    ];
    for (name, service, protocol) in rows.into_iter().filter(|r| r.0.contains(only)) {
        for conc in [1, 16, 64] {
            requests(servers, name, service, protocol, conc, runs, time)?;
        }
    }
    type Bulk = fn(&Server, usize) -> Result<f64>;
    let bulk: [(&str, Bulk); 3] = [
        ("echo_throughput", bulk::echo),
        ("host_to_guest", bulk::sink),
        ("guest_to_host", bulk::source),
    ];
    for (name, f) in bulk.into_iter().filter(|r| r.0.contains(only)) {
        let mut all: Vec<Vec<f64>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (server, samples) in servers.iter().zip(&mut all) {
                samples.push(f(server, blocks)?);
            }
        }
        let medians: Vec<f64> = all.into_iter().map(median).collect();
        for (server, mb) in servers.iter().zip(&medians) {
            println!(
                "net name={name} server={} mb_per_s={mb:.1} runs={runs}",
                server.name
            );
        }
        if let [ours, theirs] = medians[..] {
            println!("net name={name} ratio={:.2}", ours / theirs);
        }
    }
    Ok(())
}

fn requests(
    servers: &[Server],
    name: &str,
    service: Service,
    protocol: Protocol,
    conc: usize,
    runs: usize,
    time: Duration,
) -> Result<()> {
    let mut clients = Vec::new();
    for server in servers {
        let mut client = Client::new(protocol)?;
        for _ in 0..conc {
            client.open(server.port(service))?;
        }
        clients.push(client);
    }
    let mut all: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for ((client, samples), server) in clients.iter_mut().zip(&mut all).zip(servers) {
            let (before, answered) = (server.host_cpu(), client.answered());
            let mut took = client.load(Duration::from_millis(300), time)?;
            let cpu = server.host_cpu() - before;
            took.sort();
            let at = |q: f64| took.get(((took.len().max(1) - 1) as f64 * q) as usize);
            let micros = |q| at(q).map_or(0.0, |d| d.as_secs_f64() * 1e6);
            samples.push(Sample {
                per_s: took.len() as f64 / time.as_secs_f64(),
                p50: micros(0.5),
                p99: micros(0.99),
                cpu: cpu.as_secs_f64() * 1e6 / (client.answered() - answered) as f64,
            });
        }
    }
    let mid = |samples: &[Sample], f: fn(&Sample) -> f64| median(samples.iter().map(f).collect());
    let medians: Vec<Sample> = all
        .iter()
        .map(|s| Sample {
            per_s: mid(s, |s| s.per_s),
            p50: mid(s, |s| s.p50),
            p99: mid(s, |s| s.p99),
            cpu: mid(s, |s| s.cpu),
        })
        .collect();
    for (server, m) in servers.iter().zip(&medians) {
        println!(
            "net name={name} conc={conc} server={} req_per_s={:.0} p50_us={:.0} p99_us={:.0} cpu_us={:.0} runs={runs}",
            server.name, m.per_s, m.p50, m.p99, m.cpu
        );
    }
    if let [ours, theirs] = &medians[..] {
        println!(
            "net name={name} conc={conc} ratio={:.2} p50_ratio={:.2} p99_ratio={:.2} cpu_ratio={:.2}",
            ours.per_s / theirs.per_s,
            ours.p50 / theirs.p50,
            ours.p99 / theirs.p99,
            ours.cpu / theirs.cpu
        );
    }
    Ok(())
}
