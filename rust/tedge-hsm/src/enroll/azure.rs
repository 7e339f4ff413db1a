//! Azure's Device Provisioning Service (DPS): the device shows the certificate that it has, and is told its IoT hub.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::json;
use tedge_p11_client::ClientCertResolver;

pub use self::answer::texts;
use self::answer::{Answer, Assignment, OperationId, Topic, refusal};
use super::cloud::{Cloud, Connection, Enrolment};
use super::options::Options;
use super::requests::{Failure, Requests, insist, words};
use crate::brokers::with_port;
use crate::certificate::{self, Certificate};
use crate::names::Names;
use crate::output::note;
use crate::own_file;
use crate::refused::ForGood;
use crate::tls::Endpoint;

/// Where and as what the device is registered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service's ID scope, as its overview in the portal has it
    #[arg(long, value_name = "ID", value_parser = id_scope)]
    id_scope: String,

    /// The service's endpoint for devices
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        default_value = "global.azure-devices-provisioning.net"
    )]
    endpoint: String,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// Registration by X.509, as the arguments say.
pub(crate) struct Azure<'a> {
    args: &'a Args,
    host: String,
    port: u16,
}

impl<'a> Azure<'a> {
    pub(crate) fn new(args: &'a Args) -> Self {
        let (host, port) = with_port(&args.endpoint, SECURE_MQTT);
        Self { args, host, port }
    }

    /// The installed certificate's common name, which is the registration id: the service takes no other.
    fn registration_id(&self) -> anyhow::Result<String> {
        let cert = self.args.options.cert()?;
        let name = certificate::read_chain(&cert)?[0].common_name();
        let name = name
            .with_context(|| format!("the certificate in {} has no common name", cert.display()))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if name.is_empty() || name.len() > MAX_ID || !name.chars().all(fits) {
            bail!(
                "the certificate's common name \"{}\" is no registration id: 1 to {MAX_ID} letters, digits and -._:",
                words(&name)
            );
        }
        Ok(name)
    }

    fn connect(&self, at: &Enrolment<'_>, id: &str) -> anyhow::Result<Requests> {
        let trust = own_file::trust(self.args.options.server_ca())?;
        let endpoint = Endpoint {
            host: &self.host,
            port: self.port,
            trust: &trust,
            alpn: &[],
            proxies: &at.proxies,
            post_quantum: self.args.options.post_quantum.wanted(),
        };
        let client = Arc::new(ClientCertResolver::new(at.key.clone(), at.cert)?);
        let username = format!(
            "{}/registrations/{id}/api-version={API_VERSION}&ClientVersion={}",
            self.args.id_scope, CLIENT_VERSION,
        );
        let answers = ["$dps/registrations/res/#".to_owned()];
        let connected = Requests::connect(
            &endpoint,
            client.clone(),
            id,
            Some(&username),
            &answers,
            at.limit,
            "the service does not let the device in (are the ID scope and the certificate right?)",
        );
        match client.last_error() {
            Some(error) => Err(anyhow!("no certificate was sent: {error}")),
            None => connected,
        }
    }
}

/// A registration that is under way.
#[derive(Default)]
struct Registration {
    connection: Option<Requests>,
    has_connected: bool,
    operation: Option<OperationId>,
    requests: u32,
}

impl Registration {
    /// Asks once: for a registration, or what has become of it.
    fn ask(
        &mut self,
        azure: &Azure<'_>,
        at: &Enrolment<'_>,
        id: &str,
    ) -> Result<Assignment, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => azure.connect(at, id).map_err(|error| {
                if self.has_connected {
                    Failure::Passing(error, None)
                } else {
                    Failure::Final(error)
                }
            })?,
        };
        self.has_connected = true;
        self.requests += 1;
        let request_id = self.requests.to_string();
        let (topic, request) = match &self.operation {
            None => (
                format!("$dps/registrations/PUT/iotdps-register/?$rid={request_id}"),
                json!({"registrationId": id}).to_string(),
            ),
            Some(operation) => (
                format!(
                    "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request_id}&operationId={}",
                    operation.as_str()
                ),
                // Nothing belongs there; the vendor's SDKs send a space.
                " ".to_owned(),
            ),
        };
        let answer = connection.ask(&topic, &request, |topic, payload| {
            let topic = Topic::parse(topic, &request_id)?;
            Some((topic, payload.to_vec()))
        });
        let (topic, payload) = answer.map_err(|error| {
            Failure::Passing(error.context("the service does not answer"), None)
        })?;
        match topic.status {
            200..300 => {}
            // It has forgotten the operation.
            404 if self.operation.take().is_some() => {
                let error = anyhow!("the service knows nothing of the operation any more");
                return Err(Failure::Passing(error, topic.retry_after));
            }
            TOO_MANY_REQUESTS | 500.. => {
                let error = anyhow!("the service is busy: {}", refusal(topic.status, &payload));
                return Err(Failure::Passing(error, topic.retry_after));
            }
            status => {
                let error = anyhow!(
                    "the service refuses the device: {}",
                    refusal(status, &payload)
                );
                return Err(Failure::Final(ForGood(error).into()));
            }
        }
        match Answer::parse(&payload)? {
            Answer::Assigned(assignment) => {
                connection.close();
                Ok(assignment)
            }
            Answer::Assigning(operation) => {
                self.operation = Some(operation);
                let pause = topic.retry_after.unwrap_or(DEFAULT_PAUSE);
                if pause <= LONGEST_QUIET {
                    self.connection = Some(connection);
                } else {
                    connection.close();
                }
                let error = anyhow!("the service has yet to assign the device");
                Err(Failure::Passing(error, Some(pause)))
            }
        }
    }
}

impl Cloud for Azure<'_> {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn server(&self) -> String {
        format!("{}:{} ({})", self.host, self.port, self.args.id_scope)
    }

    fn check(&self) -> anyhow::Result<()> {
        let cert = self.args.options.cert()?;
        if !cert.exists() {
            bail!(
                "the service goes by a certificate that the device has already, and there is no {}: get one first, \
                 by tedge-hsm enroll est or tedge-hsm csr",
                cert.display()
            );
        }
        Ok(())
    }

    fn names(&self) -> anyhow::Result<Names> {
        self.registration_id()?;
        certificate::read_chain(&self.args.options.cert()?)?[0].names()
    }

    fn certificate(&self, _: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>> {
        Ok(None)
    }

    fn register(&self, at: &mut Enrolment<'_>) -> anyhow::Result<()> {
        let id = self.registration_id()?;
        let mut registration = Registration::default();
        let assignment = insist(at.waiting, || registration.ask(self, at, &id))?;
        note(format_args!(
            "done   registration {} at {}",
            assignment.device_id, assignment.hub
        ));
        at.state().insert(HUB.into(), assignment.hub.into());
        at.state()
            .insert(DEVICE_ID.into(), assignment.device_id.into());
        Ok(())
    }

    fn connection(&self, at: &Enrolment<'_>) -> anyhow::Result<Option<Connection>> {
        let Assignment { hub, device_id } = answer::assignment(at.text(HUB), at.text(DEVICE_ID))?;
        Ok(Some(Connection {
            preset: Some("azure-iot-hub"),
            trial_username: Some(format!("{hub}/{device_id}/?api-version=2021-04-12")),
            host: hub,
            client_id: device_id,
            tedge_toml_table: Some("az"),
            ..Connection::default()
        }))
    }
}

fn id_scope(id: &str) -> Result<String, String> {
    if id.is_empty() || id.len() > 64 || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err("it has letters and digits, such as 0ne00A1B2C3".to_owned());
    }
    Ok(id.to_owned())
}

/// Of the service's MQTT page.
const API_VERSION: &str = "2019-03-31";
/// What the service's statistics call this program.
const CLIENT_VERSION: &str = concat!("tedge-hsm%2F", env!("CARGO_PKG_VERSION"));
/// IANA's secure-mqtt.
const SECURE_MQTT: u16 = 8883;
/// Characters of a registration id.
const MAX_ID: usize = 128;
/// RFC 6585.
const TOO_MANY_REQUESTS: u16 = 429;
/// Where the service names none. The vendor's SDKs have it.
const DEFAULT_PAUSE: Duration = Duration::from_secs(2);
/// For so long a connection stays open without a message; routers forget quiet ones after minutes.
const LONGEST_QUIET: Duration = Duration::from_secs(30);

// What is kept in the record.
const HUB: &str = "assignedHub";
const DEVICE_ID: &str = "deviceId";
