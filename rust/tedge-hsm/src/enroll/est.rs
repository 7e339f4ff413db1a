//! Any CA that speaks EST (RFC 7030).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::bootstrap;
use super::cloud::{Cloud, Connection, Enrolment};
use super::options::Options;
use crate::certificate::Certificate;
use crate::est::{EstServer, Login, Operation, Reply};
use crate::issued;
use crate::names::Names;
use crate::output::note;
use crate::tls::TlsClient;
use crate::trust::Trust;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path
    #[arg(long, value_name = "URL")]
    est: String,

    /// PEM or DER file with the CA certificates that verify the server and the certificate
    #[arg(long, value_name = "FILE", default_value = "/etc/tedge/est-ca.pem")]
    ca: PathBuf,

    /// Log in to the server as this user
    #[arg(long, value_name = "USER", requires = "password_file")]
    user: Option<String>,

    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    bootstrap: bootstrap::Args,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// An EST server, and what logs in to it.
pub(crate) struct Est<'a> {
    args: &'a Args,
    login: Option<Login>,
}

impl<'a> Est<'a> {
    pub(crate) fn new(args: &'a Args) -> anyhow::Result<Self> {
        let login = match (&args.user, &args.password_file) {
            (Some(user), Some(path)) => Some(Login::read(user.clone(), path)?),
            _ => None,
        };
        Ok(Self { args, login })
    }
}

impl Cloud for Est<'_> {
    fn name(&self) -> &'static str {
        "est"
    }

    fn server(&self) -> String {
        self.args.est.clone()
    }

    fn names(&self) -> anyhow::Result<Names> {
        self.args.options.names()
    }

    fn certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>> {
        let trust = Trust::read(&self.args.ca)?;
        let client = self.args.bootstrap.resolver(at.keys, &at.key)?;
        let tls = TlsClient::new(&trust, client)?;
        let server = EstServer::new(
            &self.args.est,
            tls,
            self.login.clone(),
            at.proxies.clone(),
            at.limit,
        )?;
        let answer = ask(&server, at)?;
        let chain = issued::accept(answer, &[], at.key.as_ref(), &trust)
            .with_context(|| format!("{} sent a certificate that is refused", self.args.est))?;
        Ok(Some(chain))
    }

    fn connection(&self, _: &Enrolment<'_>) -> anyhow::Result<Option<Connection>> {
        Ok(None)
    }
}

/// Asks until the server has decided, or for as long as the operator lets it.
fn ask(server: &EstServer, at: &mut Enrolment<'_>) -> anyhow::Result<Vec<Certificate>> {
    let request = at.request()?;
    let mut has_waited = false;
    loop {
        let (pause, said) = match server.ask(Operation::SimpleEnroll, &request) {
            Ok(Reply::Certificates(certificates)) => return Ok(certificates),
            Ok(Reply::Later { after, said, .. }) => (after, said),
            // Who has said that it will decide may be away for a while.
            Ok(Reply::Refused { status: 500.., why }) | Err(why) if has_waited => {
                (None, format!("{why:#}"))
            }
            Ok(Reply::Refused { why, .. }) | Err(why) => return Err(why),
        };
        has_waited = true;
        let pause = pause.unwrap_or(PAUSE);
        note(format_args!(
            "waits  certificate  {said}: asked again in {} s",
            pause.as_secs()
        ));
        at.waiting.pause(pause, "the server has yet to decide")?;
    }
}

/// Between two questions, where the server does not say when.
const PAUSE: Duration = Duration::from_secs(60);
