//! The HTTP server as a host sees it: curl, Python, raw sockets, and many connections at a time.

#[path = "support/guest.rs"]
#[expect(dead_code, reason = "nobody types here")]
mod guest;
#[path = "support/relay.rs"]
mod relay;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use guest::{Guest, PATIENCE};

/// One machine at a time: several starve each other on a small host.
static ONE: Mutex<()> = Mutex::new(());

/// Boots `http_hello`, and runs `f` with the port that leads to it.
fn serving(flags: &[&str], f: impl FnOnce(u16)) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("http_hello", "PORT:80", &[flags, &["--opts", "serve"]].concat());
    guest.says("serving on port 80");
    let port = guest.port();
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
    client_says(program, args, input).unwrap_or_else(|said| panic!("{program} {args:?}: {said}"))
}

/// The same; an error is what it printed before it failed.
fn client_says(program: &str, args: &[&str], input: &[u8]) -> Result<String, String> {
    let mut child = Command::new("timeout")
        .args(["600", program]) // not all have limits of their own
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("timeout: {e} (of the coreutils)"));
    let (mut stdin, input) = (child.stdin.take().expect("piped"), input.to_vec());
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let why = "(124: took 600 s, 127: `tools/setup clients` installs it)";
        let errors = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{} {why}\n{text}{errors}", out.status));
    }
    writing.join().expect("no panic").expect("it reads its input");
    Ok(text)
}

fn curl(args: &[&str], input: &[u8]) -> String {
    client("curl", &[&["-sS", "-m", "500"], args].concat(), input)
}

/// CRC-32, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let step = |c: u32| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 };
    let table: Vec<u32> = (0..256).map(|b| (0..8).fold(b, |c, _| step(c))).collect();
    !data
        .iter()
        .fold(!0, |c, b| c >> 8 ^ table[((c ^ u32::from(*b)) & 255) as usize])
}

/// Uploads so much; how long that took, and what curl said.
fn upload(port: u16, bytes: usize, extra: &[&str]) -> (Duration, String) {
    let data: Vec<u8> = (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let url = format!("http://127.0.0.1:{port}/upload");
    let begin = Instant::now();
    let said = curl(&[&["-T", "-", &url], extra].concat(), &data);
    let took = begin.elapsed();
    let expected = format!("{bytes} bytes, crc32 {:08x}\n", crc32(&data));
    assert!(said.contains(&expected), "{expected}{said}");
    (took, said)
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
        let said = curl(&["-v", "--stderr", "-", &url("/"), &url("/stats")], b"");
        assert!(
            said.to_lowercase()
                .replace("re-using", "reusing")
                .matches("reusing existing connection")
                .count()
                == 1
                && said.matches("left intact").count() == 2,
            "{said}"
        );
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
        let said = upload(
            port,
            1 << 20,
            // Who has not heard "100 Continue" after a second sends all the same; then nobody needs to say it any more.
            &[
                "-v",
                "--stderr",
                "-",
                "-H",
                "Expect: 100-continue",
                "--expect100-timeout",
                "300",
            ],
        )
        .1;
        for line in ["> Transfer-Encoding: chunked", "< HTTP/1.1 100 Continue"] {
            assert!(said.contains(line), "{said}"); // it comes from a pipe: its length is not known
        }
        let took = upload(port, 10_000_000, &[]).0;
        println!("10 MB uploaded in {took:?}");
        let script = "
import http.client, sys, zlib
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=120)
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

/// `nc`: a request typed by hand, two in one go, and one that stops half-way.
#[test]
fn nc() {
    serving(&["--smp", "2"], |port| {
        let nc = |input: &str| client("nc", &["-N", "127.0.0.1", &port.to_string()], input.as_bytes());
        let get = "GET /hello/nc HTTP/1.1\r\nHost: h\r\n\r\n";
        assert!(nc("GET / HTTP/1.0\n\n").ends_with("\r\n\r\nhello, world\n"));
        assert_eq!(nc(&get.repeat(2)).matches("hello, nc\n").count(), 2);
        assert_eq!(nc(&get[..20]), "");
    });
}

/// Each event arrives by itself, while the stream goes on; the writer ends when curl is gone.
#[test]
fn events() {
    serving(&["--smp", "2"], |port| {
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        let mut watching = Command::new("curl")
            .args(["-sN", "-m", "500", &url("/events")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl (tools/setup installs it)");
        let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
        for i in 1..=5 {
            assert_eq!(lines.next().expect("a line").expect("text"), format!("data: {i}"));
            assert_eq!(lines.next().expect("a line").expect("text"), "");
        }
        assert!(curl(&[&url("/stats")], b"").contains("\"watchers\":1}"));
        watching.kill().expect("it runs");
        watching.wait().expect("it ended");
        let end = Instant::now() + PATIENCE;
        while !curl(&[&url("/stats")], b"").contains("\"watchers\":0}") {
            assert!(Instant::now() < end, "the writer goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// The guest asks a name server on the host's loopback, and gets a page from a web server there.
#[test]
fn the_guest_fetches_a_page() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let names = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let pages = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let resolver = names.local_addr().expect("bound").port();
    let port = pages.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let mut buf = [0; 512];
        while let Ok((n, from)) = names.recv_from(&mut buf) {
            let question = &buf[12..n];
            let ipv4 = question.ends_with(&[0, 1, 0, 1]);
            let mut reply = [
                &buf[..2],
                &[0x81, 0x80, 0, 1, 0, ipv4.into(), 0, 0, 0, 0],
                question,
            ]
            .concat();
            if ipv4 {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 2, 2]); // QEMU's name for the host
            }
            names.send_to(&reply, from).expect("sent");
        }
    });
    let serving = std::thread::spawn(move || {
        let (s, _) = pages.accept().expect("the guest comes");
        let mut head = String::new();
        let mut r = BufReader::new(&s);
        while !head.ends_with("\r\n\r\n") {
            assert!(r.read_line(&mut head).expect("open") > 0, "{head}");
        }
        let body = "from the host's loopback\n".repeat(1000);
        (&s).write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .expect("open");
        for part in body.as_bytes().chunks(777) {
            (&s).write_all(format!("{:x}\r\n", part.len()).as_bytes())
                .expect("open");
            (&s).write_all(&[part, b"\r\n"].concat()).expect("open");
        }
        (&s).write_all(b"0\r\n\r\n").expect("open");
        head
    });
    let opts = format!("get=http://www.host.test:{port}/a/page resolver=10.0.2.2:{resolver}");
    let mut guest = Guest::boot("http_get", "1", &["--opts", &opts]);
    guest.says("www.host.test is 10.0.2.2");
    guest.says("200 from the host's loopback");
    for _ in 1..1000 {
        guest.says("from the host's loopback");
    }
    let head = serving.join().expect("served");
    assert!(
        head.starts_with("GET /a/page HTTP/1.1\r\n")
            && head.contains(&format!("Host: www.host.test:{port}\r\n")),
        "{head}"
    );
}

#[test]
fn bad_requests() {
    serving(&["--smp", "2"], |port| {
        let long = format!("GET /{} HTTP/1.1\r\n", "u".repeat(9000));
        let large = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(20_000));
        let mut body = b"PUT /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n".to_vec();
        body.resize(1 << 18, b'b');
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
            // The server reads on for two seconds after such an answer, lest a reset overtakes it. If the host stalls for as
            // long, it does.
            let answer = (1..).find_map(|i| match raw(port, text) {
                Err(_) if i < 5 => None,
                answer => Some(answer.unwrap_or_else(|e| panic!("{code}: {e}"))),
            });
            let answer = answer.expect("the fifth at the latest");
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

/// What `ab` and `wrk` do, without their pauses while they connect: `n` keep-alive requests over so many connections; none may fail.
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

/// Connections that this host turned away because their listener was slow to take others.
fn turned_away() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter(|l| l.starts_with("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let figures = names.split_whitespace().zip(values.split_whitespace());
    let ours = figures.filter(|(name, _)| ["ListenOverflows", "TCPReqQFullDoCookies"].contains(name));
    ours.filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
}

/// Runs a load generator against `port`; what it says has to be without what `flaw` looks for. If the host turned some of its
/// connections away before the guest heard of them, it is run again through a relay: see there.
fn generator(program: &str, args: &[&str], port: u16, flaw: impl Fn(&str) -> bool) -> String {
    let run = |port| {
        let url = format!("http://127.0.0.1:{port}/");
        let said = client_says(program, &[args, &[&url]].concat(), b"")?;
        if flaw(&said) { Err(said) } else { Ok(said) }
    };
    let before = turned_away();
    let said = run(port).or_else(|said| match turned_away() - before {
        0 => Err(said),
        n => {
            println!("{program}: through a relay now, {n} were turned away by the host: {said}");
            run(relay::to(port))
        }
    });
    said.unwrap_or_else(|said| panic!("{program} {args:?}: {said}"))
}

/// The load generators everybody knows: not one request may fail.
#[test]
fn ab_and_wrk() {
    serving(&["--smp", "4"], |port| {
        for connections in [1, 16, 256] {
            let (c, n) = (connections.to_string(), (20 * connections.max(50)).to_string());
            let whole = [
                format!("Complete requests:      {n}\n"),
                "Failed requests:        0\n".into(),
            ];
            let args = ["-q", "-k", "-s", "120", "-c", &c, "-n", &n];
            let said = generator("ab", &args, port, |said| {
                let all = whole.iter().all(|line| said.contains(line));
                !all || said.contains("Non-2xx") || said.contains("Write errors")
            });
            let rate = said
                .lines()
                .find(|l| l.starts_with("Requests per second"))
                .unwrap_or("");
            println!("ab -k -c {c} -n {n}: {rate}");
            let args = ["-t", "1", "-c", &c, "-d", "3s", "--timeout", "120s", "--latency"];
            let said = generator("wrk", &args, port, |said| {
                !said.contains("Requests/sec:") || said.contains("Socket errors") || said.contains("Non-2xx")
            });
            let rate = |name| {
                said.lines()
                    .find(|l| l.trim().starts_with(name))
                    .unwrap_or("")
                    .trim()
            };
            println!(
                "wrk -c {c}: {}, {}, {}",
                rate("Requests/sec"),
                rate("50%"),
                rate("99%")
            );
        }
    });
}

#[test]
fn the_default_kernel_has_a_page() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut guest = Guest::boot("burrow", "PORT:80", &["--opts", "run="]);
    guest.says("Burrow 0.");
    let port = guest.port();
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
        let took = upload(port, 100_000_000, &[]).0;
        println!(
            "100 MB uploaded in {took:?}, {:.1} MB/s",
            100.0 / took.as_secs_f64()
        );
    });
}
