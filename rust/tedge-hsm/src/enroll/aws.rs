//! AWS IoT Core: fleet provisioning by claim. A certificate that many devices may share opens the door, the device's
//! key signs a request, and AWS makes a certificate and a thing.

mod answer;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use rustls::client::ResolvesClientCert;
use serde_json::{Map, Value, json};
use tedge_file::Attributes;

pub use self::answer::texts;
use self::answer::{Created, Registered, Rejection, ThingName};
use super::cloud::{Cloud, Connection, Enrolment};
use super::options::Options;
use super::requests::{Failure, Requests, insist};
use super::{bootstrap, bridge_toml};
use crate::brokers::with_port;
use crate::certificate::{self, Certificate};
use crate::machine_id;
use crate::names::Names;
use crate::output::note;
use crate::own_file;
use crate::refused::ForGood;
use crate::root::Root;
use crate::tls::Endpoint;

/// Where and as what the device is provisioned.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The account's endpoint for device data: ID-ats.iot.REGION.amazonaws.com[:443]
    #[arg(long, value_name = "HOST[:PORT]")]
    endpoint: String,

    /// Name of the provisioning template
    #[arg(long, value_name = "NAME", value_parser = template)]
    template: String,

    /// Parameter of the template, in whose value %m is the machine's id; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,

    /// File for what the template has for the device (deviceConfiguration); aws-device-configuration.json beside the
    /// bridge's configuration without
    #[arg(long, value_name = "FILE")]
    device_configuration: Option<PathBuf>,

    #[command(flatten)]
    bootstrap: bootstrap::Args,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// Fleet provisioning, as the arguments say.
pub(crate) struct Aws<'a> {
    args: &'a Args,
    host: String,
    port: u16,
    alpn: Vec<String>,
}

impl<'a> Aws<'a> {
    pub(crate) fn new(args: &'a Args) -> Self {
        let (host, port) = with_port(&args.endpoint, SECURE_MQTT);
        let alpn = match port {
            HTTPS => vec![ALPN.to_owned()],
            _ => Vec::new(),
        };
        Self {
            args,
            host,
            port,
            alpn,
        }
    }

    /// The topic of `RegisterThing`.
    fn provision_topic(&self) -> String {
        format!(
            "$aws/provisioning-templates/{}/provision/json",
            self.args.template
        )
    }

    fn connect(
        &self,
        at: &Enrolment<'_>,
        claim: Arc<dyn ResolvesClientCert>,
    ) -> anyhow::Result<Requests> {
        let trust = own_file::trust(self.args.options.server_ca())?;
        let endpoint = Endpoint {
            host: &self.host,
            port: self.port,
            trust: &trust,
            alpn: &self.alpn,
            proxies: &at.proxies,
            post_quantum: self.args.options.post_quantum.wanted(),
        };
        // Without wildcards, which a policy may not allow.
        let provision = self.provision_topic();
        let answers = [CREATE, &provision]
            .map(|topic| [format!("{topic}/accepted"), format!("{topic}/rejected")]);
        let id = self.args.options.device_id()?;
        Requests::connect(
            &endpoint,
            claim,
            &id,
            None,
            answers.as_flattened(),
            at.limit,
            "AWS does not let the claim certificate in (is it active, and does its policy allow to connect and to \
             subscribe?)",
        )
    }

    /// A certificate that is not in use yet: the one that an earlier run got, or a new one.
    fn create(requests: &mut Requests, at: &mut Enrolment<'_>) -> Result<(), Failure> {
        if at.text(TOKEN).is_some() && at.text(CERTIFICATE).is_some() {
            return Ok(());
        }
        let request = json!({"certificateSigningRequest": at.request()?}).to_string();
        let created = ask(requests, CREATE, &request)
            .map_err(|failure| failure.of("the request for a certificate", LOST_CERTIFICATE))?;
        let created = Created::parse(&created)?;
        created.chain[0]
            .check_key(at.key.as_ref())
            .context("AWS sent a certificate that is refused")?;
        note(format_args!(
            "done   request      AWS has made the certificate {}",
            created.id
        ));
        let state = at.state();
        state.insert(
            CERTIFICATE.into(),
            certificate::to_pem(&created.chain)?.into(),
        );
        state.insert(TOKEN.into(), created.token.into());
        // A run that is cut off from now on does not make AWS make another one.
        at.save()?;
        Ok(())
    }

    /// Puts the certificate to use.
    fn provision(&self, requests: &mut Requests, at: &mut Enrolment<'_>) -> Result<(), Failure> {
        let token = at.text(TOKEN).context("there is no ownership token")?;
        let parameters = self.parameters()?;
        let request = json!({"certificateOwnershipToken": token, "parameters": parameters});
        let registered = ask(requests, &self.provision_topic(), &request.to_string());
        if let Err(Unanswered::Rejected(rejection)) = &registered {
            if rejection.is_about_token() {
                at.state().remove(TOKEN);
                at.state().remove(CERTIFICATE);
                at.save()?;
            }
        }
        let registered =
            registered.map_err(|failure| failure.of("the registration of the thing", ""))?;
        let Registered {
            thing,
            configuration,
        } = Registered::parse(&registered)?;
        note(format_args!(
            "done   thing        {} by the template {}",
            thing.as_str(),
            self.args.template
        ));
        let state = at.state();
        state.remove(TOKEN);
        state.insert(THING.into(), thing.as_str().into());
        // As a text, whose length is known, however deep it is.
        let configuration = serde_json::to_string(&configuration).map_err(anyhow::Error::from)?;
        state.insert(CONFIGURATION.into(), configuration.into());
        at.save()?;
        Ok(())
    }

    /// Those of the template, with the machine's id in them.
    fn parameters(&self) -> anyhow::Result<Map<String, Value>> {
        let given = self.args.parameter.iter();
        given
            .map(|(name, value)| {
                let value = machine_id::put_in(value, &Root::default())?;
                Ok((name.clone(), value.into()))
            })
            .collect()
    }

    fn thing(at: &Enrolment<'_>) -> anyhow::Result<ThingName> {
        ThingName::new(at.text(THING).context("the thing's name is not known")?)
    }
}

impl Cloud for Aws<'_> {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn server(&self) -> String {
        format!("{}:{} ({})", self.host, self.port, self.args.template)
    }

    fn check(&self) -> anyhow::Result<()> {
        if !self.args.bootstrap.is_given() {
            bail!(
                "fleet provisioning takes a claim certificate: give --bootstrap-cert and --bootstrap-key, or \
                 --bootstrap-uri for one in the token"
            );
        }
        let (options, cert) = (&self.args.options, self.args.options.cert()?);
        if cert.exists()
            && !options.no_bridge
            && !bridge_toml::look(&options.bridge(), self.name())?.is_configured
        {
            bail!(
                "AWS tells the thing's name only to whom it provisions, and {} is there already: remove it to be \
                 provisioned anew, or write the bridge's configuration by hand",
                cert.display()
            );
        }
        self.parameters().map(|_| ())
    }

    fn names(&self) -> anyhow::Result<Names> {
        self.args.options.names()
    }

    fn certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>> {
        let claim = self.args.bootstrap.resolver(at.keys, &at.key)?;
        let claim = claim.context("there is no claim certificate")?;
        let (mut has_connected, mut lost_tokens) = (false, 0);
        let waiting = at.waiting;
        if at.text(THING).is_none() {
            insist(waiting, || {
                let mut requests = self.connect(at, claim.clone()).map_err(|error| {
                    if has_connected {
                        Failure::Passing(error, None)
                    } else {
                        Failure::Final(error)
                    }
                })?;
                has_connected = true;
                Self::create(&mut requests, at)?;
                let provisioned = self.provision(&mut requests, at);
                if provisioned.is_err() && at.text(TOKEN).is_none() {
                    lost_tokens += 1;
                    if lost_tokens <= MAX_LOST_TOKENS {
                        return Err(Failure::Passing(
                            anyhow!(
                                "the certificate was not used within an hour, and AWS has deleted it"
                            ),
                            None,
                        ));
                    }
                }
                provisioned?;
                requests.close();
                Ok(())
            })?;
        }
        let pem = at.text(CERTIFICATE).context("there is no certificate")?;
        Ok(Some(answer::chain(pem)?))
    }

    fn register(&self, at: &mut Enrolment<'_>) -> anyhow::Result<()> {
        Self::thing(at)?;
        let configuration = at.text(CONFIGURATION).unwrap_or_default().to_owned();
        if matches!(configuration.as_str(), "" | "{}") {
            return Ok(());
        }
        let beside = || {
            let bridge = self.args.options.bridge();
            bridge.with_file_name("aws-device-configuration.json")
        };
        let path = self
            .args
            .device_configuration
            .clone()
            .unwrap_or_else(beside);
        let text = configuration + "\n";
        // What the cloud wrote is not root's own, where another user may give it another name.
        let attributes = Attributes::Keep { mode: 0o600 };
        tedge_file::write(&path, text.as_bytes(), attributes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        note(format_args!(
            "done   device       {}: the DeviceConfiguration of the template",
            path.display()
        ));
        Ok(())
    }

    fn connection(&self, at: &Enrolment<'_>) -> anyhow::Result<Option<Connection>> {
        Ok(Some(Connection {
            preset: Some("aws-iot"),
            host: self.host.clone(),
            port: (self.port != SECURE_MQTT).then_some(self.port),
            client_id: Self::thing(at)?.as_str().to_owned(),
            alpn: self.alpn.clone(),
            tedge_toml_table: Some("aws"),
            ..Connection::default()
        }))
    }
}

/// Why a request was not accepted.
enum Unanswered {
    Rejected(Rejection),
    /// The answer did not come.
    Lost(anyhow::Error),
}

impl Unanswered {
    /// `lost` is what it means that an answer did not come.
    fn of(self, what: &str, lost: &str) -> Failure {
        match self {
            Self::Rejected(rejection) => {
                let error = anyhow!("AWS rejects {what}: {rejection}");
                if rejection.is_passing() {
                    Failure::Passing(error, None)
                } else {
                    Failure::Final(ForGood(error).into())
                }
            }
            Self::Lost(error) => {
                Failure::Passing(error.context(format!("no answer to {what}{lost}")), None)
            }
        }
    }
}

/// The payload of the answer if the request was accepted.
fn ask(requests: &mut Requests, topic: &str, request: &str) -> Result<Vec<u8>, Unanswered> {
    let answer = requests.ask(topic, request, |answered, payload| {
        match answered.strip_prefix(topic)? {
            "/accepted" => Some(Ok(payload.to_vec())),
            "/rejected" => Some(Err(Rejection::parse(payload))),
            _ => None,
        }
    });
    answer
        .map_err(Unanswered::Lost)?
        .map_err(Unanswered::Rejected)
}

/// API reference, `CreateProvisioningTemplate`.
fn template(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > 36 || !name.chars().all(fits) {
        return Err("it has 1 to 36 letters, digits, _ and -".to_owned());
    }
    Ok(name.to_owned())
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is NAME=VALUE".to_owned()),
    }
}

/// The topic of `CreateCertificateFromCsr`.
const CREATE: &str = "$aws/certificates/create-from-csr/json";
/// IANA's secure-mqtt.
const SECURE_MQTT: u16 = 8883;
const HTTPS: u16 = 443;
/// For MQTT with a client certificate on port 443.
const ALPN: &str = "x-amzn-mqtt-ca";
/// AWS deletes a certificate that nobody puts to use within an hour.
const LOST_CERTIFICATE: &str =
    " (it is made again; AWS deletes the one that got lost after an hour)";
/// How often a run asks for another certificate, because the one before it was not used in time.
const MAX_LOST_TOKENS: u32 = 2;

// What is kept in the record.
const TOKEN: &str = "certificateOwnershipToken";
const CERTIFICATE: &str = "certificatePem";
const THING: &str = "thingName";
const CONFIGURATION: &str = "deviceConfiguration";
