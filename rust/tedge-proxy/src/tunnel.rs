//! CONNECT: a proxy is asked for a connection to a target, and carries bytes both ways once it has agreed.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tedge_file::printable;
use zeroize::Zeroizing;

use crate::address::{host_and_port, is_host};
use crate::error::{Problem, ProxyError};
use crate::login::LoginError;
use crate::settings::Proxy;

impl Proxy {
    /// Has the proxy, which `tcp` is connected to, make a connection to a target. From then on `tcp` is that connection,
    /// and what the target has sent is still to be read from it. Ends at `deadline` at the latest; the time limits of
    /// `tcp` are others afterwards.
    pub fn open_tunnel(
        &self,
        tcp: &TcpStream,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(), ProxyError> {
        self.try_tunnel(tcp, host, port, deadline)
            .map_err(|problem| ProxyError {
                proxy: self.to_string(),
                problem,
            })
    }

    /// Fails if the password can't be read.
    pub fn check(&self) -> Result<(), ProxyError> {
        self.request("").map(drop).map_err(|problem| ProxyError {
            proxy: self.to_string(),
            problem,
        })
    }

    fn try_tunnel(
        &self,
        tcp: &TcpStream,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(), Problem> {
        if !is_host(host) {
            return Err(Problem::Target);
        }
        let target = host_and_port(host, port);
        send(tcp, &self.request(&target)?, deadline)?;
        let mut received = 0;
        loop {
            let header = read_header(tcp, &mut received, deadline)?;
            if self.agrees(&header, &target)? {
                return Ok(());
            }
        }
    }

    /// What the header of an answer to CONNECT means: whether the tunnel to `target` stands, or else another header follows.
    pub fn agrees(&self, header: &[u8], target: &str) -> Result<bool, Problem> {
        let answer = Answer::parse(header)?;
        match answer.status {
            // An interim one (RFC 9110, section 15.2): another follows.
            100..=199 => Ok(false),
            // Whatever else it says of content: behind the header is the tunnel (section 9.3.6).
            200..=299 => Ok(true),
            // tinyproxy 1.11 says 401, which is a server's own, not a proxy's.
            status @ (401 | 407) => Err(self.wants(status, &answer.schemes)),
            status => Err(Problem::Refuses {
                target: target.to_owned(),
                status,
                reason: answer.reason,
            }),
        }
    }

    /// In memory that is wiped, made at once in its full size.
    fn request(&self, target: &str) -> Result<Zeroizing<String>, Problem> {
        let login = self.login.as_ref().map(|login| {
            login.header().map_err(|error| match error {
                LoginError::File(path, error) => Problem::PasswordFile { path, error },
                LoginError::Control => Problem::PasswordText,
            })
        });
        let login = login.transpose()?;
        let start = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: tedge-hsm/{}\r\n",
            env!("CARGO_PKG_VERSION")
        );
        let len = login
            .as_ref()
            .map_or(0, |login| AUTHORIZATION.len() + login.len() + 2);
        let mut request = Zeroizing::new(String::with_capacity(start.len() + len + 2));
        request.push_str(&start);
        if let Some(login) = login {
            request.push_str(AUTHORIZATION);
            request.push_str(&login);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Ok(request)
    }

    /// What a demand for a login means.
    fn wants(&self, status: u16, schemes: &[String]) -> Problem {
        let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case("basic");
        if !schemes.is_empty() && !schemes.iter().any(is_basic) {
            return Problem::OtherScheme(schemes.join(", "), status);
        }
        match &self.login {
            Some(login) => Problem::RefusesLogin(printable(login.user()), status),
            None => Problem::WantsLogin(status),
        }
    }
}

/// What is looked at of an answer. Its texts are for a person's terminal.
struct Answer {
    status: u16,
    reason: String,
    /// Of Proxy-Authenticate.
    schemes: Vec<String>,
}

impl Answer {
    fn parse(header: &[u8]) -> Result<Self, Problem> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let mut config = httparse::ParserConfig::default();
        // Only one is looked at.
        config.ignore_invalid_headers_in_responses(true);
        let parsed = config.parse_response(&mut response, header);
        if !parsed.is_ok_and(|parsed| parsed.is_complete()) {
            return Err(Problem::NotHttp);
        }
        let schemes = response
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("Proxy-Authenticate"))
            .filter_map(|header| {
                let value = String::from_utf8_lossy(header.value);
                let scheme = value.split([' ', ',']).next()?;
                Some(shown(scheme))
            });
        Ok(Self {
            status: response.code.ok_or(Problem::NotHttp)?,
            schemes: schemes.take(8).collect(),
            reason: shown(response.reason.unwrap_or_default()),
        })
    }
}

/// One line of a few words.
fn shown(text: &str) -> String {
    printable(&text.trim().chars().take(MAX_WORDS).collect::<String>())
}

fn send(mut tcp: &TcpStream, request: &str, deadline: Instant) -> Result<(), Problem> {
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        tcp.set_write_timeout(Some(left(deadline)?))
            .map_err(Problem::Broken)?;
        match tcp.write(rest) {
            Ok(0) => return Err(Problem::Closed),
            Ok(len) => rest = &rest[len..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

/// Reads to the empty line that ends a header, byte by byte: what follows is the tunnel's, and for others to read.
fn read_header(
    mut tcp: &TcpStream,
    received: &mut usize,
    deadline: Instant,
) -> Result<Vec<u8>, Problem> {
    let mut header = Vec::new();
    loop {
        let mut byte = [0];
        tcp.set_read_timeout(Some(left(deadline)?))
            .map_err(Problem::Broken)?;
        match tcp.read(&mut byte) {
            Ok(0) if header.is_empty() => return Err(Problem::Closed),
            Ok(0) => return Err(Problem::NotHttp),
            Ok(_) => header.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        }
        *received += 1;
        if *received > MAX_HEADER {
            return Err(Problem::TooLong(MAX_HEADER));
        }
        let begin = header.len().min(HTTP.len());
        if header[..begin] != HTTP[..begin] {
            return Err(Problem::NotHttp);
        }
        if header.ends_with(b"\n\r\n") || header.ends_with(b"\n\n") {
            return Ok(header);
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Problem> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Problem::TimedOut),
        left => Ok(left),
    }
}

fn broken(error: io::Error) -> Problem {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Problem::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Problem::Closed,
        _ => Problem::Broken(error),
    }
}

const HTTP: &[u8] = b"HTTP/1.";
const AUTHORIZATION: &str = "Proxy-Authorization: ";
/// Bytes of all headers together.
const MAX_HEADER: usize = 16 * 1024;
const MAX_HEADERS: usize = 128;
/// Characters of a text of the proxy's.
const MAX_WORDS: usize = 80;

#[cfg(test)]
mod tests;
