//! A device that nobody knows gets its certificate, and the bridge its configuration: `tedge-hsm enroll`.

mod cumulocity;
mod est;
mod hostile;
mod killed;
mod rig;
