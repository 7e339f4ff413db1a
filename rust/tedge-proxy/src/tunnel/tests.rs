use std::net::{Shutdown, TcpListener};
use std::thread::JoinHandle;

use super::*;
use crate::{Login, Password};

/// A proxy that answers with `answer`, and then with what `more` does. Returns what it was asked.
fn proxy(
    answer: impl Into<Vec<u8>>,
    more: impl FnOnce(TcpStream) + Send + 'static,
) -> (TcpStream, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let answer = answer.into();
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && server.read_exact(&mut byte).is_ok() {
            asked.push(byte[0]);
        }
        // It may have heard enough.
        let _ = server.write_all(&answer);
        more(server);
        String::from_utf8(asked).unwrap()
    });
    (client, asked)
}

fn login() -> Login {
    let password = Password::Text(Zeroizing::new("open sesame".to_owned()));
    Login::new("Aladdin".to_owned(), password).unwrap()
}

fn open(tcp: &TcpStream, login: Option<Login>, host: &str) -> Result<(), ProxyError> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let proxy = Proxy::new("proxy:3128".parse().unwrap(), login);
    proxy.open_tunnel(tcp, host, 8883, deadline)
}

#[test]
fn the_tunnel_begins_behind_the_header() {
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\nProxy-agent: x\n\n",
        "HTTP/1.1 200\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 204 \r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    ] {
        let (mut tcp, asked) = proxy(format!("{answer}\x20\x02\r\n\r\n"), |_| {});
        open(&tcp, Some(login()), "broker.example").unwrap_or_else(|e| panic!("{answer:?}: {e}"));
        let mut tunnel = Vec::new();
        tcp.read_to_end(&mut tunnel).unwrap();
        assert_eq!(tunnel, b"\x20\x02\r\n\r\n", "{answer:?}");
        assert_eq!(
            asked.join().unwrap(),
            format!(
                "CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\
                 User-Agent: tedge-hsm/{}\r\n\
                 Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
    let (tcp, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n", |_| {});
    open(&tcp, None, "2001:db8::1").unwrap();
    let asked = asked.join().unwrap();
    assert!(
        asked.starts_with("CONNECT [2001:db8::1]:8883 HTTP/1.1\r\nHost: [2001:db8::1]:8883\r\n")
    );
    assert!(!asked.contains("Authorization"));
}

#[test]
fn a_refusal_says_why_in_one_line_without_the_password() {
    let long = format!("HTTP/1.1 503 {}\r\n\r\n", "x".repeat(5000));
    for (answer, said) in [
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
            "refuses the user Aladdin or the password (HTTP 407)",
        ),
        (
            "HTTP/1.1 407 Auth\r\n\r\n",
            "refuses the user Aladdin or the password (HTTP 407)",
        ),
        (
            "HTTP/1.1 407 A\r\nProxy-Authenticate: Negotiate\r\nPROXY-authenticate: NTLM x\r\n\r\n",
            "wants Negotiate, NTLM (HTTP 407), and only Basic is supported here",
        ),
        (
            "HTTP/1.1 403 \x1b[2JFiltered\r\n\r\n",
            "does not answer in HTTP: is it an HTTP proxy?",
        ),
        (
            "HTTP/1.1 403 Filtered\r\n\r\n",
            "does not connect to broker:8883: HTTP 403 (Filtered)",
        ),
        (
            "HTTP/1.1 502\r\n\r\n",
            "does not connect to broker:8883: HTTP 502",
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: http://x\r\n\r\n",
            "does not connect to broker:8883: HTTP 301 (Moved)",
        ),
        (
            &long,
            &*format!(
                "does not connect to broker:8883: HTTP 503 ({})",
                "x".repeat(80)
            ),
        ),
        ("", "closed the connection in place of an answer"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "does not answer in HTTP: is it an HTTP proxy?",
        ),
        (
            "HTTP/1.1 2",
            "does not answer in HTTP: is it an HTTP proxy?",
        ),
        (
            "HTTP/1.1 xyz\r\n\r\n",
            "does not answer in HTTP: is it an HTTP proxy?",
        ),
        (
            "HTTP/2 200\r\n\r\n",
            "does not answer in HTTP: is it an HTTP proxy?",
        ),
    ] {
        let (tcp, _asked) = proxy(answer, |server| {
            let _ = server.shutdown(Shutdown::Write);
            let _ = (&server).read(&mut [0]);
        });
        let error = open(&tcp, Some(login()), "broker").unwrap_err().to_string();
        assert_eq!(error, format!("the proxy proxy:3128 {said}"), "{answer:?}");
        assert!(!error.contains("sesame") && !error.contains("QWxh"));
    }
    let (tcp, _asked) = proxy("HTTP/1.1 407 Auth\r\n\r\n", |_| {});
    let error = open(&tcp, None, "broker").unwrap_err().to_string();
    assert!(
        error.ends_with("wants a user and a password (HTTP 407)"),
        "{error}"
    );
}

/// Whatever the target is called, the proxy is asked one thing.
#[test]
fn a_target_can_add_no_line() {
    for host in ["", "a b", "a\r\nX: y", "a/b", "a@b", "ä"] {
        let (tcp, asked) = proxy("", |_| {});
        let error = open(&tcp, None, host).unwrap_err();
        assert!(matches!(error.problem(), Problem::Target), "{host:?}");
        drop(tcp);
        assert_eq!(asked.join().unwrap(), "");
    }
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    // Headers, one header, and interim answers.
    for endless in ["A: b\r\n", "x", "\r\nHTTP/1.1 100 \r\n"] {
        let (tcp, asked) = proxy("HTTP/1.1 100 \r\n", move |mut server| {
            while server.write_all(endless.as_bytes()).is_ok() {}
        });
        let error = open(&tcp, None, "broker").unwrap_err();
        assert!(matches!(error.problem(), Problem::TooLong(_)), "{error}");
        drop(tcp);
        asked.join().unwrap();
    }
}

/// A byte now and then ends the wait no later than silence does.
#[test]
fn the_deadline_is_for_the_whole_answer() {
    for drips in [false, true] {
        let (tcp, asked) = proxy("HTTP/1.1 200 OK\r\n", move |mut server| {
            if drips {
                let mut left = 600;
                while left > 0 && server.write_all(b"x").is_ok() {
                    left -= 1;
                    std::thread::sleep(Duration::from_millis(50));
                }
                assert!(left > 0, "it was read to its end");
            } else {
                let _ = server.read(&mut [0]);
            }
        });
        let proxy = Proxy::new("proxy:3128".parse().unwrap(), None);
        let deadline = Instant::now() + Duration::from_millis(300);
        let error = proxy
            .open_tunnel(&tcp, "broker", 8883, deadline)
            .unwrap_err();
        assert!(matches!(error.problem(), Problem::TimedOut), "{error}");
        drop(tcp);
        asked.join().unwrap();
    }
}
