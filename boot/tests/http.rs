//! The HTTP server as a host sees it: curl, Python, raw sockets, and many connections at a time.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "nobody types here")]
mod guest;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use guest::{Guest, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// One machine at a time: several starve each other on a small host.
static ONE: Mutex<()> = Mutex::new(());

/// Boots `http_hello`, and runs `f` with the port that leads to it.
fn serving(flags: &[&str], f: impl FnOnce(u16)) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let port = free_port();
    let mut guest = Guest::boot(
        "http_hello",
        &format!("{port}:80"),
        &[flags, &["--opts", "serve"]].concat(),
    );
    guest.says("serving on port 80");
    let end = Instant::now() + PATIENCE;
    while !get(port).is_ok_and(|a| a.ends_with("hello, world\n")) {
        assert!(Instant::now() < end, "nobody answers on port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
    f(port);
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let s = TcpStream::connect(("127.0.0.1", port))?;
    s.set_nodelay(true)?;
    s.set_read_timeout(Some(PATIENCE))?;
    Ok(s)
}

/// Sends `text`, reads to the end.
fn raw(port: u16, text: &[u8]) -> std::io::Result<String> {
    let mut s = connect(port)?;
    s.write_all(text)?;
    let mut out = Vec::new();
    s.read_to_end(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn get(port: u16) -> std::io::Result<String> {
    raw(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

/// Runs a client; returns what it printed.
fn client(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e} (tools/setup installs it)"));
    let (mut stdin, input) = (child.stdin.take().expect("piped"), input.to_vec());
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("it reads its input");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}{errors}");
    text
}

fn curl(args: &[&str], input: &[u8]) -> String {
    client("curl", &[&["-sS", "-m", "100"], args].concat(), input)
}

/// CRC-32, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let step = |c: u32| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 };
    let table: Vec<u32> = (0..256).map(|b| (0..8).fold(b, |c, _| step(c))).collect();
    !data
        .iter()
        .fold(!0, |c, b| c >> 8 ^ table[((c ^ u32::from(*b)) & 255) as usize])
}

fn upload(port: u16, bytes: usize, extra: &[&str]) -> Duration {
    let data: Vec<u8> = (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let url = format!("http://127.0.0.1:{port}/upload");
    let begin = Instant::now();
    let said = curl(&[&["-m", "600", "-T", "-", &url], extra].concat(), &data);
    assert_eq!(said, format!("{bytes} bytes, crc32 {:08x}\n", crc32(&data)));
    begin.elapsed()
}

#[test]
fn curl_and_python() {
    serving(&["--smp", "4"], |port| {
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        // Keep-alive: three requests, one connection.
        let used = curl(
            &[
                &url("/"),
                &url("/stats"),
                &url("/hello/curl"),
                "-w",
                "%{num_connects}\n",
            ],
            b"",
        );
        assert!(
            used.contains("{\"goroutines\":") && used.contains("hello, curl\n"),
            "{used}"
        );
        let connects: Vec<&str> = used
            .lines()
            .filter_map(|l| l.strip_suffix(['0', '1']).map(|_| l))
            .collect();
        assert_eq!(connects.iter().filter(|l| l.ends_with('1')).count(), 1, "{used}");
        let head = curl(&["-I", &url("/")], b"");
        assert!(
            head.starts_with("HTTP/1.1 200 OK") && head.contains("Content-Length: 13\r\n"),
            "{head}"
        );
        let chunked = curl(&["-N", "-i", &url("/count")], b"");
        assert!(
            chunked.contains("Transfer-Encoding: chunked") && chunked.contains("data: 5\n\n"),
            "{chunked}"
        );
        assert!(curl(&["-i", &url("/panic")], b"").starts_with("HTTP/1.1 500"));
        assert!(curl(&["-i", "-X", "DELETE", &url("/stats")], b"").contains("Allow: GET, HEAD"));
        upload(port, 1 << 20, &["-H", "Expect: 100-continue"]); // from a pipe: chunked
        let took = upload(port, 10_000_000, &[]);
        println!("10 MB uploaded in {took:?}");
        let script = "
import http.client, sys, zlib
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=60)
for i in range(50):
    c.request('GET', '/hello/%d' % i)
    r = c.getresponse()
    assert (r.status, r.read()) == (200, b'hello, %d\\n' % i)
body = bytes(range(256)) * 1000
for encode in (False, True):
    c.request('PUT', '/upload', iter([body]) if encode else body, encode_chunked=encode,
              headers={'Transfer-Encoding': 'chunked'} if encode else {})
    assert c.getresponse().read() == b'%d bytes, crc32 %08x\\n' % (len(body), zlib.crc32(body))
c.request('HEAD', '/')
assert c.getresponse().getheader('Content-Length') == '13'
print('done')
";
        assert_eq!(
            client("python3", &["-c", script, &port.to_string()], b""),
            "done\n"
        );
    });
}

#[test]
fn bad_requests() {
    serving(&["--smp", "2"], |port| {
        let long = format!("GET /{} HTTP/1.1\r\n", "u".repeat(9000));
        let large = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(20_000));
        let mut body = b"PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n".to_vec();
        body.resize(1 << 20, b'b');
        for (code, text) in [
            ("400", &b"nonsense\r\n\r\n"[..]),
            ("400", b"GET / HTTP/1.1\r\n\r\n"),
            (
                "400",
                b"PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                "501",
                b"PUT /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
            ),
            ("505", b"GET / HTTP/2.0\r\n\r\n"),
            ("414", long.as_bytes()),
            ("431", large.as_bytes()),
            ("413", &body), // more than the server takes, and the client is still sending
        ] {
            let answer = raw(port, text).unwrap_or_else(|e| panic!("{code}: {e}"));
            assert_eq!(answer.get(9..12), Some(code), "{answer}");
        }
        assert!(get(port).is_ok());
    });
}

/// One keep-alive request; anything but the right answer is a failure.
fn ask(c: &mut BufReader<TcpStream>) {
    c.get_mut()
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("open");
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        assert!(c.read_line(&mut line).expect("open") > 0, "closed too early");
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            length = n.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    c.read_exact(&mut body).expect("open");
    assert_eq!(body, b"hello, world\n");
}

/// What `ab` and `wrk` do: `n` keep-alive requests over so many connections; none may fail.
fn load(port: u16, connections: usize, n: usize) -> Duration {
    // QEMU's user network listens with a backlog of one: a connection is in use before the next is opened.
    let open = |_| {
        let mut c = BufReader::new(connect(port).expect("accepted"));
        ask(&mut c);
        c
    };
    let conns: Vec<_> = (0..connections).map(open).collect();
    let left = AtomicUsize::new(n);
    let begin = Instant::now();
    std::thread::scope(|s| {
        for mut c in conns {
            let left = &left;
            s.spawn(move || {
                let take = |n: usize| n.checked_sub(1);
                while left
                    .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    ask(&mut c);
                }
            });
        }
    });
    begin.elapsed()
}

#[test]
fn many_connections() {
    serving(&["--smp", "4"], |port| {
        for connections in [1, 16, 256] {
            let n = 20 * connections.max(50);
            let took = load(port, connections, n);
            println!("{n} requests over {connections} connections in {took:?}");
        }
    });
}

#[test]
fn the_default_kernel_has_a_page() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let port = free_port();
    let mut guest = Guest::boot("burrow", &format!("{port}:80"), &["--opts", "run="]);
    guest.says("Burrow 0.");
    let end = Instant::now() + PATIENCE;
    let page = loop {
        match get(port) {
            Ok(page) if !page.is_empty() => break page,
            _ => assert!(Instant::now() < end, "nobody answers"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(
        page.contains("<h1>Burrow</h1>") && page.contains("<td>goroutines</td>"),
        "{page}"
    );
    let health = raw(port, b"GET /healthz HTTP/1.0\r\n\r\n").expect("it answers");
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
}

/// By hand: `cargo test --manifest-path boot/Cargo.toml --test http -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute or more under emulation"]
fn a_hundred_megabytes() {
    serving(&["--smp", "4"], |port| {
        let took = upload(port, 100_000_000, &[]);
        println!(
            "100 MB uploaded in {took:?}, {:.1} MB/s",
            100.0 / took.as_secs_f64()
        );
    });
}
