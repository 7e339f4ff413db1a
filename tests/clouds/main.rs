//! Enrolment with AWS IoT Core and Azure: the device, our responders behind a real mosquitto, and the vendors' own SDKs
//! as a second client of the responders.

mod aws;
mod azure;
mod rig;
mod sdk;
