//! Decoder of requests.

#![no_main]

mod decoder;

use libfuzzer_sys::fuzz_target;
use tedge_p11_protocol::{DecodeError, Decoder};

fuzz_target!(|input: &[u8]| decoder::check!(Decoder::for_request(), input));
