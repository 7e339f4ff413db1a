//! Azure's Device Provisioning Service, as its documentation describes it ("Communicate with DPS using the MQTT
//! protocol", and the REST reference of Runtime Registration for what is in the messages).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::responder::{Answer, Responder};

/// The name by which all devices of the world find the service.
pub const ENDPOINT: &str = "global.azure-devices-provisioning.net";
/// The hub that devices are assigned to.
pub const HUB: &str = "hub-1.azure-devices.net";
pub const ID_SCOPE: &str = "0ne00A1B2C3";

/// What happens to a request in place of what it asks for.
#[derive(Clone)]
pub enum Fault {
    /// This status, with `retry-after` in seconds if there is one, and this body.
    Status(u16, Option<u32>, Value),
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done, and the answer comes after this time.
    Late(Duration),
    /// This body as it is, with status 200.
    Body(Vec<u8>),
    /// An answer on this topic, in which `RID` stands for the request's id, with an empty object.
    Topic(&'static str),
    /// So many answers to other requests.
    Flood(usize),
}

/// What answers requests, until it is dropped.
pub struct Dps {
    state: Arc<Mutex<State>>,
    _responder: Responder,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    /// How often each operation was asked about, with the registration that it is for.
    operations: HashMap<String, (String, u32)>,
    requests: Vec<String>,
}

impl Dps {
    pub fn start(cloud: &Cloud) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let own = state.clone();
        let filters = ["$dps/registrations/PUT/#", "$dps/registrations/GET/#"];
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

    /// Topics of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl State {
    fn answer(&mut self, topic: &str, payload: &[u8]) -> Vec<Answer> {
        self.requests.push(topic.to_owned());
        let (path, query) = topic.split_once("/?").unwrap_or((topic, ""));
        let query: HashMap<_, _> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let rid = query.get("$rid").copied().unwrap_or_default();
        let answer = |(status, retry_after, body): (u16, Option<u32>, Vec<u8>)| {
            let retry_after =
                retry_after.map_or_else(String::new, |seconds| format!("&retry-after={seconds}"));
            let topic = format!("$dps/registrations/res/{status}/?$rid={rid}{retry_after}");
            Answer::now(topic, body)
        };
        let done = |state: &mut Self| {
            let (status, retry_after, body) = match path {
                "$dps/registrations/PUT/iotdps-register" => state.register(payload),
                "$dps/registrations/GET/iotdps-get-operationstatus" => {
                    state.status(query.get("operationId").copied().unwrap_or_default())
                }
                _ => (404, None, error(404_001, "Operation not found.")),
            };
            answer((status, retry_after, body.to_string().into_bytes()))
        };
        match self.faults.pop_front() {
            None => vec![done(self)],
            Some(Fault::Status(status, retry_after, body)) => {
                vec![answer((status, retry_after, body.to_string().into_bytes()))]
            }
            Some(Fault::Lost) => {
                done(self);
                Vec::new()
            }
            Some(Fault::Late(after)) => vec![Answer {
                after,
                ..done(self)
            }],
            Some(Fault::Body(body)) => vec![answer((200, None, body))],
            Some(Fault::Topic(topic)) => vec![Answer::now(topic.replace("RID", rid), "{}")],
            Some(Fault::Flood(count)) => (0..count)
                .map(|number| {
                    Answer::now(
                        format!("$dps/registrations/res/200/?$rid=other-{number}"),
                        "{}",
                    )
                })
                .collect(),
        }
    }

    fn register(&mut self, payload: &[u8]) -> (u16, Option<u32>, Value) {
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let Some(id) = request["registrationId"].as_str() else {
            return (400, None, error(400_004, "Bad request."));
        };
        let operation = format!("5.a1b2c3d4e5f60718.{}", self.operations.len());
        self.operations
            .insert(operation.clone(), (id.to_owned(), 0));
        let body = json!({"operationId": operation, "status": "assigning"});
        (202, Some(1), body)
    }

    fn status(&mut self, operation: &str) -> (u16, Option<u32>, Value) {
        let Some((id, asked)) = self.operations.get_mut(operation) else {
            return (404, None, error(404_206, "Operation not found."));
        };
        *asked += 1;
        if *asked == 1 {
            let body = json!({"operationId": operation, "status": "assigning"});
            return (202, Some(1), body);
        }
        (200, None, assigned(operation, id))
    }
}

/// The service's answer for a device that was assigned.
pub fn assigned(operation: &str, id: &str) -> Value {
    json!({
        "operationId": operation,
        "status": "assigned",
        "registrationState": {
            "x509": {"enrollmentGroupId": "devices"},
            "registrationId": id,
            "createdDateTimeUtc": "2026-11-27T15:00:00.0000000Z",
            "assignedHub": HUB,
            "deviceId": id,
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": "2026-11-27T15:00:01.0000000Z",
            "etag": "IjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMCI=",
        },
    })
}

/// An answer that says what is wrong.
pub fn error(code: u32, message: &str) -> Value {
    json!({
        "errorCode": code,
        "trackingId": "d8f1a7c0-0000-4000-8000-000000000000",
        "message": message,
        "timestampUtc": "2026-11-27T15:00:00.0000000Z",
    })
}
