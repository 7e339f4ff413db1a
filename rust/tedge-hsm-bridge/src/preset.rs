//! What is the same for every device at a cloud: ports, limits and topics.

use rumqttc::mqttbytes::QoS;

use crate::rule::{Retain, Rule, RuleError};

/// A cloud whose settings and topics are known. On the local broker its topics are those that
/// thin-edge.io uses, so that the same programs work with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    /// Cumulocity's SmartREST and JSON over MQTT, port 8883.
    Cumulocity,
    /// Cumulocity's MQTT Service, port 9883: any topic.
    CumulocityMqttService,
    /// AWS IoT Core, port 8883, or 443 with ALPN.
    AwsIot,
    /// Azure IoT Hub, port 8883.
    AzureIotHub,
    /// Azure Event Grid's MQTT broker, port 8883: the topics are the namespace's own.
    AzureEventGrid,
}

/// What a cloud has unless the configuration says otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) port: u16,
    pub(crate) tls12: bool,
    /// Seconds.
    pub(crate) keep_alive: u16,
    /// Most bytes of a message, topic included.
    pub(crate) max_message: usize,
    pub(crate) username: Option<String>,
}

impl Preset {
    pub(crate) fn defaults(preset: Option<Self>, host: &str, client_id: &str) -> Defaults {
        let port = match preset {
            Some(Self::CumulocityMqttService) => 9883,
            _ => 8883,
        };
        Defaults {
            port,
            // IoT Hub has no TLS 1.3.
            tls12: preset == Some(Self::AzureIotHub),
            keep_alive: 60,
            max_message: match preset {
                Some(Self::Cumulocity) => 16_184,
                Some(Self::AwsIot) => 128 * 1024,
                Some(Self::AzureEventGrid) => 512 * 1024,
                _ => 256 * 1024,
            },
            username: match preset {
                Some(Self::AzureIotHub) => {
                    Some(format!("{host}/{client_id}/?api-version=2021-04-12"))
                }
                // The name that the client has in the namespace; by convention its client id.
                Some(Self::AzureEventGrid) => Some(client_id.to_owned()),
                _ => None,
            },
        }
    }

    /// AWS takes MQTT with a client certificate on port 443 from who asks for it by ALPN.
    pub(crate) fn alpn(preset: Option<Self>, port: u16) -> Vec<String> {
        if preset == Some(Self::AwsIot) && port == 443 {
            return vec!["x-amzn-mqtt-ca".to_owned()];
        }
        Vec::new()
    }

    /// Rules out of the device, and into it.
    pub(crate) fn rules(self, client_id: &str) -> Result<(Vec<Rule>, Vec<Rule>), RuleError> {
        let id = |text: &str| text.replace("{client_id}", client_id);
        let table = |rows: &[Row]| {
            rows.iter()
                .map(|(filter, strip, add)| {
                    let qos = QoS::AtLeastOnce;
                    Rule::new(id(filter), qos, id(strip), id(add), Retain::Never)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let (out, into) = match self {
            Self::Cumulocity => (CUMULOCITY_OUT, CUMULOCITY_IN),
            Self::CumulocityMqttService => (MQTT_SERVICE_OUT, MQTT_SERVICE_IN),
            Self::AwsIot => (AWS_OUT, AWS_IN),
            Self::AzureIotHub => (IOT_HUB_OUT, IOT_HUB_IN),
            Self::AzureEventGrid => (EVENT_GRID_OUT, EVENT_GRID_IN),
        };
        Ok((table(out)?, table(into)?))
    }
}

/// Topic filter, prefix to strip, prefix to add.
type Row = (&'static str, &'static str, &'static str);

const CUMULOCITY_OUT: &[Row] = &[
    ("c8y/s/us/#", "c8y/", ""),
    ("c8y/t/us/#", "c8y/", ""),
    ("c8y/q/us/#", "c8y/", ""),
    ("c8y/c/us/#", "c8y/", ""),
    ("c8y/s/ut/#", "c8y/", ""),
    ("c8y/s/uc/#", "c8y/", ""),
    ("c8y/t/uc/#", "c8y/", ""),
    ("c8y/q/uc/#", "c8y/", ""),
    ("c8y/c/uc/#", "c8y/", ""),
    ("c8y/s/uat", "c8y/", ""),
    ("c8y/inventory/managedObjects/update/#", "c8y/", ""),
    ("c8y/measurement/measurements/create", "c8y/", ""),
    ("c8y/measurement/measurements/createBulk", "c8y/", ""),
    ("c8y/event/events/create", "c8y/", ""),
    ("c8y/event/events/createBulk", "c8y/", ""),
    ("c8y/alarm/alarms/create", "c8y/", ""),
    ("c8y/alarm/alarms/createBulk", "c8y/", ""),
];

const CUMULOCITY_IN: &[Row] = &[
    ("s/ds", "", "c8y/"),
    ("s/dt", "", "c8y/"),
    ("s/dc/#", "", "c8y/"),
    ("s/dat", "", "c8y/"),
    ("s/e", "", "c8y/"),
    ("devicecontrol/notifications", "", "c8y/"),
    ("error", "", "c8y/"),
];

// What comes in is under a topic of its own: the service has no topics of its own to tell the
// directions apart by, and what matched both would go round.
const MQTT_SERVICE_OUT: &[Row] = &[("c8y-mqtt/out/{client_id}/#", "c8y-mqtt/out/", "")];
const MQTT_SERVICE_IN: &[Row] = &[("{client_id}/in/#", "{client_id}/in/", "c8y-mqtt/in/")];

const AWS_OUT: &[Row] = &[
    ("aws/td/#", "aws/", "thinedge/{client_id}/"),
    ("aws/shadow/get", "aws/", "$aws/things/{client_id}/"),
    ("aws/shadow/update", "aws/", "$aws/things/{client_id}/"),
    ("aws/shadow/delete", "aws/", "$aws/things/{client_id}/"),
    ("aws/shadow/name/+/get", "aws/", "$aws/things/{client_id}/"),
    (
        "aws/shadow/name/+/update",
        "aws/",
        "$aws/things/{client_id}/",
    ),
    (
        "aws/shadow/name/+/delete",
        "aws/",
        "$aws/things/{client_id}/",
    ),
];

const AWS_IN: &[Row] = &[
    (
        "thinedge/{client_id}/cmd/#",
        "thinedge/{client_id}/",
        "aws/",
    ),
    (
        "$aws/things/{client_id}/shadow/+/accepted",
        "$aws/things/{client_id}/",
        "aws/",
    ),
    (
        "$aws/things/{client_id}/shadow/+/rejected",
        "$aws/things/{client_id}/",
        "aws/",
    ),
    (
        "$aws/things/{client_id}/shadow/update/delta",
        "$aws/things/{client_id}/",
        "aws/",
    ),
    (
        "$aws/things/{client_id}/shadow/update/documents",
        "$aws/things/{client_id}/",
        "aws/",
    ),
    (
        "$aws/things/{client_id}/shadow/name/+/+/+",
        "$aws/things/{client_id}/",
        "aws/",
    ),
];

const IOT_HUB_OUT: &[Row] = &[
    ("az/messages/events/#", "az/", "devices/{client_id}/"),
    ("az/methods/res/#", "az/", "$iothub/"),
    ("az/twin/GET/#", "az/", "$iothub/"),
    ("az/twin/PATCH/properties/reported/#", "az/", "$iothub/"),
];

const IOT_HUB_IN: &[Row] = &[
    (
        "devices/{client_id}/messages/devicebound/#",
        "devices/{client_id}/",
        "az/",
    ),
    ("$iothub/methods/POST/#", "$iothub/", "az/"),
    ("$iothub/twin/res/#", "$iothub/", "az/"),
    ("$iothub/twin/PATCH/properties/desired/#", "$iothub/", "az/"),
];

const EVENT_GRID_OUT: &[Row] = &[("az/td/#", "az/", "devices/{client_id}/")];
const EVENT_GRID_IN: &[Row] = &[("devices/{client_id}/cmd/#", "devices/{client_id}/", "az/")];
