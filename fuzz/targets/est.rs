//! Answers of an EST server: two bytes choose status and headers, the rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_hsm::{Answer, Header, est_certificates};

fuzz_target!(|input: &[u8]| {
    let Some((&[status, split], rest)) = input.split_first_chunk() else {
        return;
    };
    let (value, body) = rest.split_at(rest.len().min(usize::from(split)));
    let value = String::from_utf8_lossy(value).into_owned();
    let names = [
        Header::ContentType,
        Header::Location,
        Header::RetryAfter,
        Header::WwwAuthenticate,
    ];
    let answer = Answer {
        status: STATUSES[usize::from(status) % STATUSES.len()],
        headers: names.map(|name| (name, value.clone())).to_vec(),
        body: body.to_vec(),
    };
    match est_certificates(&answer) {
        Ok(certificates) => {
            assert!(!certificates.is_empty() && matches!(answer.status, 200 | 201 | 203))
        }
        Err(error) => {
            let told = format!("{error:#}");
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(told.chars().count() < 1000);
        }
    }
});

const STATUSES: [u16; 12] = [200, 201, 202, 203, 204, 307, 400, 401, 403, 404, 429, 503];
