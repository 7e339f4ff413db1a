//! Fleet provisioning of AWS IoT Core, as its developer guide describes it ("Device provisioning MQTT API").

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::openssl::Ca;
use crate::responder::{Answer, Responder};

/// The name by which devices of an account connect.
pub const ENDPOINT: &str = "a1b2c3d4e5-ats.iot.eu-central-1.amazonaws.com";
/// The only template that there is.
pub const TEMPLATE: &str = "fleet";

/// What happens to a request in place of what it asks for.
pub enum Fault {
    /// It is rejected with this status, code and message.
    Rejected(u16, &'static str, &'static str),
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done, and the answer comes after this time.
    Late(Duration),
    /// This is sent as if it were done.
    Accepted(Vec<u8>),
    /// The same, that often.
    Flood(Vec<u8>, usize),
}

/// What answers requests, until it is dropped.
pub struct Aws {
    state: Arc<Mutex<State>>,
    _responder: Responder,
}

struct State {
    ca: Arc<Ca>,
    faults: VecDeque<Fault>,
    /// Ids of certificates by ownership token.
    tokens: HashMap<String, String>,
    certificates: usize,
    /// Ids of the certificates that are active, by name of the thing.
    things: BTreeMap<String, Vec<String>>,
    requests: Vec<String>,
}

impl Aws {
    pub fn start(cloud: &Cloud) -> Self {
        let state = Arc::new(Mutex::new(State {
            ca: cloud.client_ca.clone(),
            faults: VecDeque::new(),
            tokens: HashMap::new(),
            certificates: 0,
            things: BTreeMap::new(),
            requests: Vec::new(),
        }));
        let own = state.clone();
        let filters = [
            "$aws/certificates/create-from-csr/+",
            "$aws/provisioning-templates/+/provision/+",
        ];
        let answers = move |topic: &str, payload: &[u8]| own.lock().unwrap().answer(topic, payload);
        Self {
            state,
            _responder: Responder::start(&cloud.socket(), &filters, Box::new(answers)),
        }
    }

    /// From now on, requests meet these faults, one each.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults = faults.into_iter().collect();
    }

    /// An hour has passed.
    pub fn expire_tokens(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// Topics of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many certificates were issued.
    pub fn certificates(&self) -> usize {
        self.state.lock().unwrap().certificates
    }

    /// The things, and how many certificates each has.
    pub fn things(&self) -> Vec<(String, usize)> {
        let state = self.state.lock().unwrap();
        let things = state.things.iter();
        things
            .map(|(name, certificates)| (name.clone(), certificates.len()))
            .collect()
    }
}

impl State {
    fn answer(&mut self, topic: &str, payload: &[u8]) -> Vec<Answer> {
        self.requests.push(topic.to_owned());
        let done = |state: &mut Self| match state.handle(topic, payload) {
            Ok(answer) => Answer::now(format!("{topic}/accepted"), answer.to_string()),
            Err(rejection) => Answer::now(format!("{topic}/rejected"), rejection.to_string()),
        };
        match self.faults.pop_front() {
            None => vec![done(self)],
            Some(Fault::Rejected(status, code, message)) => {
                let rejection = rejection(status, code, message);
                vec![Answer::now(
                    format!("{topic}/rejected"),
                    rejection.to_string(),
                )]
            }
            Some(Fault::Lost) => {
                done(self);
                Vec::new()
            }
            Some(Fault::Late(after)) => vec![Answer {
                after,
                ..done(self)
            }],
            Some(Fault::Accepted(payload)) => {
                vec![Answer::now(format!("{topic}/accepted"), payload)]
            }
            Some(Fault::Flood(payload, count)) => (0..count)
                .map(|_| Answer::now(format!("{topic}/accepted"), payload.clone()))
                .collect(),
        }
    }

    fn handle(&mut self, topic: &str, payload: &[u8]) -> Result<Value, Value> {
        let request: Value = serde_json::from_slice(payload)
            .map_err(|_| rejection(400, "InvalidPayload", "Failed to parse the payload."))?;
        match topic.split('/').collect::<Vec<_>>()[..] {
            ["$aws", "certificates", "create-from-csr", "json"] => self.create(&request),
            [
                "$aws",
                "provisioning-templates",
                template,
                "provision",
                "json",
            ] => self.register(template, &request),
            _ => Err(rejection(400, "InvalidTopic", "Topic is not supported.")),
        }
    }

    /// `CreateCertificateFromCsr`.
    fn create(&mut self, request: &Value) -> Result<Value, Value> {
        let csr = request["certificateSigningRequest"].as_str();
        let csr = csr.ok_or_else(|| rejection(400, "InvalidCSR", "CSR is required."))?;
        let name = format!("issued-{}", self.certificates);
        let file = self.ca.file(&format!("{name}.csr"));
        std::fs::write(&file, csr).unwrap();
        // openssl tells by its exit code only whether the request is one, not whether its signature is good.
        let mut verify = Command::new("openssl");
        let verified = verify
            .args(["req", "-verify", "-noout", "-in"])
            .arg(&file)
            .output()
            .unwrap();
        if !String::from_utf8_lossy(&verified.stderr).contains("verify OK") {
            return Err(rejection(400, "InvalidCSR", "CSR is not valid."));
        }
        let certificate = self.ca.issue(&name, csr);
        self.certificates += 1;
        let id = format!("{:064x}", self.certificates);
        let token = format!("token-{}-{}", self.certificates, "x".repeat(400));
        self.tokens.insert(token.clone(), id.clone());
        Ok(json!({
            "certificateOwnershipToken": token,
            "certificateId": id,
            "certificatePem": std::fs::read_to_string(certificate).unwrap(),
        }))
    }

    /// `RegisterThing`, with a template that takes a serial number and names the thing by it.
    fn register(&mut self, template: &str, request: &Value) -> Result<Value, Value> {
        if template != TEMPLATE {
            return Err(rejection(
                404,
                "ResourceNotFound",
                "Provisioning template not found.",
            ));
        }
        let token = request["certificateOwnershipToken"]
            .as_str()
            .unwrap_or_default();
        let Some(id) = self.tokens.get(token) else {
            return Err(rejection(
                400,
                "InvalidCertificateOwnershipToken",
                "Certificate ownership token is not valid.",
            ));
        };
        let Some(serial) = request["parameters"]["SerialNumber"].as_str() else {
            return Err(rejection(
                400,
                "InvalidParameters",
                "Parameter SerialNumber is missing.",
            ));
        };
        let thing = format!("thing-{serial}");
        let certificates = self.things.entry(thing.clone()).or_default();
        if !certificates.contains(id) {
            certificates.push(id.clone());
        }
        Ok(json!({
            "deviceConfiguration": {"FallbackUrl": "https://www.example.com/test-site"},
            "thingName": thing,
        }))
    }
}

fn rejection(status: u16, code: &str, message: &str) -> Value {
    json!({"statusCode": status, "errorCode": code, "errorMessage": message})
}
