//! Cumulocity's own CA: an operator registers the device in Device Management, with the one-time password that the device
//! shows him, and the CA issues to who has it.

use std::ffi::CStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use rustix::net::SocketAddrUnix;
use tedge_file::Attributes;
use tedge_p11_client::Pin;
use zeroize::Zeroizing;

use super::cloud::{Cloud, Connection, Enrolment};
use super::options::Options;
use super::own_toml::{self, tedge_toml};
use crate::brokers::with_port;
use crate::certificate::Certificate;
use crate::cumulocity::{HTTPS, est_url};
use crate::est::{EstServer, Login, Operation, Reply};
use crate::names::Names;
use crate::output::{note, say};
use crate::tls::TlsClient;
use crate::{file, issued, own_file, percent};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A URL is printed, with a QR code at a terminal: an operator opens it and registers the device. It has the one-time \
password in it, so it goes to a terminal, a pipe or a file, but not into systemd's journal; there it is in a file, which \
a line names.

Examples:
  tedge-hsm enroll cumulocity --url example.cumulocity.com --device-id device-1
  tedge-hsm enroll cumulocity --device-id device-1 --one-time-password-file FILE
  tedge-hsm enroll --settings /etc/tedge-hsm/enroll.conf")]
pub(crate) struct Args {
    /// The tenant; c8y.url of tedge.toml without
    #[arg(long, value_name = "HOST[:PORT]")]
    url: Option<String>,

    /// The tenant's MQTT broker, if it is elsewhere
    #[arg(long, value_name = "HOST[:PORT]")]
    mqtt: Option<String>,

    /// PEM or DER file or folder with the CA certificates that the tenant's are verified with; c8y.root_cert_path of
    /// tedge.toml without, else /etc/ssl/certs
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// File with the one-time password that the device is registered with, where that is done beforehand
    #[arg(long, value_name = "FILE")]
    one_time_password_file: Option<PathBuf>,

    /// Seconds between two questions whether the device is registered
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    retry_every: u64,

    /// Print the URL into systemd's journal, too, which members of systemd-journal and adm may read
    #[arg(long)]
    url_to_journal: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// A tenant.
pub(crate) struct Cumulocity<'a> {
    args: &'a Args,
    host: String,
    port: u16,
    mqtt: (String, u16),
    ca: PathBuf,
}

impl<'a> Cumulocity<'a> {
    /// By the options, and by what thin-edge.io has in tedge.toml.
    pub(crate) fn new(args: &'a Args) -> anyhow::Result<Self> {
        // Another user's would send the password where he likes.
        let toml = own_toml::read();
        let set = |key: &str| own_toml::text(toml.as_ref().ok()?, &["c8y", key]);
        let url = args.url.clone().or_else(|| set("http"));
        let Some(url) = url.or_else(|| set("url")) else {
            let path = tedge_toml();
            let why = match &toml {
                Ok(_) => format!("{} has no c8y.url", path.display()),
                Err(error) => format!("{error:#}"),
            };
            bail!("which tenant? give --url HOST: {why}");
        };
        if let (Err(error), None) = (&toml, &args.ca) {
            note(format_args!(
                "{error:#}; the system's CAs are trusted, unless --ca names others"
            ));
        }
        let (host, port) = with_port(&url, HTTPS);
        let mqtt = args.mqtt.clone().or_else(|| match args.url {
            Some(_) => None,
            None => set("mqtt").or_else(|| set("url")),
        });
        let mqtt = match mqtt {
            Some(mqtt) => with_port(&mqtt, SECURE_MQTT),
            None => (host.clone(), SECURE_MQTT),
        };
        let ca = args.ca.clone();
        let ca = ca.or_else(|| set("root_cert_path").map(PathBuf::from));
        Ok(Self {
            args,
            host,
            port,
            mqtt,
            ca: ca.unwrap_or_else(|| "/etc/ssl/certs".into()),
        })
    }

    /// The password that the device is registered with: the operator's, that of an earlier run, or a new one.
    fn password(&self, cert: &Path) -> anyhow::Result<(Pin, Whose)> {
        if let Some(path) = &self.args.one_time_password_file {
            let password = Pin::read_file(path).context("--one-time-password-file")?;
            return Ok((password, Whose::Operators));
        }
        let path = password_path(cert);
        match own_file::read(&path, MAX_PASSWORD)? {
            Some(password) => {
                let password = std::str::from_utf8(&password).ok();
                let password =
                    password.filter(|password| password.bytes().all(|c| c.is_ascii_alphanumeric()));
                let password = password.with_context(|| {
                    format!("{} is no one-time password; remove it", path.display())
                })?;
                Ok((Pin::new(password.to_owned())?, Whose::Own))
            }
            None => {
                let password = random_password()?;
                let attributes = Attributes::Set {
                    mode: 0o600,
                    owner: None,
                };
                tedge_file::write(&path, password.expose().as_bytes(), attributes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok((password, Whose::Own))
            }
        }
    }

    /// The page of Device Management that registers the device, with what is to be filled in; without the password if the
    /// operator has that.
    fn registration_url(&self, id: &str, password: Option<&Pin>) -> Zeroizing<String> {
        let url = est_url(&self.host, self.port);
        let base = url.strip_suffix("/.well-known/est").unwrap_or(&url);
        let password = password.map_or("", Pin::expose);
        Zeroizing::new(format!(
            "{base}/apps/devicemanagement/index.html#/deviceregistration?externalId={}&one-time-password={password}",
            percent::encoded(id)
        ))
    }

    /// Shows the operator how the device is registered.
    fn show(&self, id: &str, password: &Pin, whose: Whose) -> anyhow::Result<()> {
        if whose == Whose::Operators {
            say(format_args!(
                "register device {id} with its one-time password: {}",
                *self.registration_url(id, None)
            ))?;
            return Ok(());
        }
        let url = self.registration_url(id, Some(password));
        if is_journal() && !self.args.url_to_journal {
            let Some(folder) = std::env::var_os("RUNTIME_DIRECTORY") else {
                bail!(
                    "the registration URL has a password in it, and standard output is the journal: give \
                     --url-to-journal or --one-time-password-file, or RuntimeDirectory= to the unit"
                );
            };
            let path = PathBuf::from(folder).join("registration-url");
            let attributes = Attributes::Set {
                mode: 0o600,
                owner: None,
            };
            let line = Zeroizing::new(format!("{}\n", *url));
            tedge_file::write(&path, line.as_bytes(), attributes)
                .with_context(|| format!("cannot write {}", path.display()))?;
            note(format_args!(
                "waits  registration register device {id} by the URL in {}, which root may read",
                path.display()
            ));
            return Ok(());
        }
        say(format_args!("register device {id}: {}", *url))?;
        if std::io::stdout().is_terminal() {
            if let Ok(code) = QrCode::new(url.as_bytes()) {
                let picture = code.render::<Dense1x2>().build();
                say(Zeroizing::new(picture).as_str())?;
            }
        }
        Ok(())
    }
}

/// Who has made the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Operators,
}

impl Cloud for Cumulocity<'_> {
    fn name(&self) -> &'static str {
        "c8y"
    }

    fn server(&self) -> String {
        let url = est_url(&self.host, self.port);
        url.trim_end_matches("/.well-known/est").to_owned()
    }

    fn check(&self) -> anyhow::Result<()> {
        // It is the user of HTTP's Basic authentication (RFC 7617, section 2).
        if self.args.options.device_id()?.contains(':') {
            bail!("a device's id has no colon at Cumulocity");
        }
        own_file::trust(&self.ca)?;
        Ok(())
    }

    fn names(&self) -> anyhow::Result<Names> {
        self.args.options.names()
    }

    fn certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>> {
        let id = self.args.options.device_id()?;
        let request = at.request()?;
        let (password, whose) = self.password(at.cert)?;
        self.show(&id, &password, whose)?;
        let login = Login::Basic { user: id, password };
        let tls = TlsClient::new(
            &own_file::trust(&self.ca)?,
            None,
            self.args.options.post_quantum.wanted(),
        )?;
        let url = est_url(&self.host, self.port);
        let server = EstServer::new(&url, tls, Some(login), at.proxies.clone(), at.limit)?;
        let answer = self.ask(&server, at, &request)?;
        // Its CA is the tenant's own, which nobody has told the device.
        let chain = issued::accept(answer, &[], at.key.as_ref(), None)
            .with_context(|| format!("{url} sent a certificate that is refused"))?;
        Ok(Some(chain))
    }

    /// The device is, by then. The password is worth nothing any more.
    fn register(&self, at: &mut Enrolment<'_>) -> anyhow::Result<()> {
        file::remove(&password_path(at.cert))
    }

    fn connection(&self, _: &Enrolment<'_>) -> anyhow::Result<Option<Connection>> {
        let (host, port) = self.mqtt.clone();
        // thin-edge.io takes one URL for both where the ports are the usual ones.
        let table = (self.port == HTTPS && host == self.host).then_some("c8y");
        Ok(Some(Connection {
            preset: Some("cumulocity"),
            host,
            port: Some(port).filter(|port| *port != SECURE_MQTT),
            client_id: self.args.options.device_id()?,
            tedge_toml_table: table,
            ca: Some(self.ca.clone()),
            ..Connection::default()
        }))
    }
}

impl Cumulocity<'_> {
    /// Asks until an operator has registered the device. Until then the tenant refuses, in several ways.
    fn ask(
        &self,
        server: &EstServer,
        at: &Enrolment<'_>,
        request: &str,
    ) -> anyhow::Result<Vec<Certificate>> {
        let pause = Duration::from_secs(self.args.retry_every);
        let mut told = String::new();
        loop {
            let (after, said) = match server.ask(Operation::SimpleEnroll, request) {
                Ok(Reply::Certificates(certificates)) => return Ok(certificates),
                Ok(Reply::Later { after, said, .. }) => (after, said),
                Ok(Reply::Refused { said, .. }) => (None, said),
                Err(error) => (None, format!("{error:#}")),
            };
            if said != told {
                note(format_args!(
                    "waits  registration {said}: asked again each {} s",
                    pause.as_secs()
                ));
                told = said;
            }
            let pause = after.unwrap_or(pause).max(pause);
            at.waiting
                .pause(pause, &format!("nobody has registered the device ({told})"))?;
        }
    }
}

/// Where the one-time password is, until the certificate is there.
fn password_path(cert: &Path) -> PathBuf {
    file::beside(cert, ".one-time-password")
}

/// Letters and digits, each as likely as the others: 32, which is the most that Cumulocity takes.
fn random_password() -> anyhow::Result<Pin> {
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD_LEN));
    while password.len() < PASSWORD_LEN {
        let mut byte = [0];
        rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty())
            .context("the system gives no random numbers")?;
        // Those at the end would make some likelier.
        let index = usize::from(byte[0] & 0x3f);
        if let Some(letter) = ALPHABET.get(index) {
            password.push(char::from(*letter));
        }
    }
    Ok(Pin::new(password.to_string())?)
}

/// Whether standard output is the journal (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stdout) = rustix::fs::fstat(std::io::stdout()) else {
        return false;
    };
    let is_stream = std::env::var("JOURNAL_STREAM")
        .is_ok_and(|stream| stream == format!("{}:{}", stdout.st_dev, stdout.st_ino));
    // The variable may have been taken away on the way here: each journal's socket is in a folder of its own.
    let is_of_journald = |path: &CStr| {
        let path = path.to_bytes();
        path.starts_with(b"/run/systemd/journal") && path.ends_with(b"/stdout")
    };
    let peer = rustix::net::getpeername(std::io::stdout()).ok().flatten();
    let peer = peer.and_then(|peer| SocketAddrUnix::try_from(peer).ok());
    is_stream || peer.is_some_and(|peer| peer.path().is_some_and(|path| is_of_journald(&path)))
}

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const PASSWORD_LEN: usize = 32;
/// Bytes of the file with it.
const MAX_PASSWORD: usize = 128;
/// IANA's name for port 8883.
const SECURE_MQTT: u16 = 8883;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_32_letters_and_digits_and_another_each_time() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_ne!(one, other);
        for password in [one, other] {
            assert_eq!(password.expose().len(), 32);
            assert!(password.expose().bytes().all(|c| c.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn an_id_is_part_of_a_query() {
        assert_eq!(percent::encoded("a b&c/ä"), "a%20b%26c%2F%C3%A4");
    }
}
