//! The bytes of an HTTP server's answer, as `renew` and `enroll` read them, with ureq in between: status line, headers, body
//! by length or in chunks. The first two bytes say in which pieces they arrive.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tedge_hsm::{Answer, est_attributes, est_certificates, http_answer, retry_after, said};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

fuzz_target!(|input: &[u8]| {
    let Some((&[first, more], bytes)) = input.split_first_chunk() else {
        return;
    };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    let replay = Replay {
        bytes: bytes.to_vec(),
        pieces: [first, more],
    };
    let agent = Agent::with_parts(config, replay, Nowhere);
    let Ok(response) = agent.post("http://server.example/").send("request") else {
        return;
    };
    let Ok(answer) = http_answer(response) else {
        return;
    };
    assert!(answer.body.len() <= 256 * 1024);
    check(&answer);
});

fn check(answer: &Answer) {
    let errors = [
        est_certificates(answer)
            .err()
            .map(|error| format!("{error:#}")),
        est_attributes(answer)
            .err()
            .map(|error| format!("{error:#}")),
        Some(said(answer)),
    ];
    for text in errors.into_iter().flatten() {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.chars().count() < 1000, "{text:?}");
    }
    if let Some(after) = retry_after(answer) {
        assert!(after >= Duration::from_secs(1));
    }
}

#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        found.push(([127, 0, 0, 1], 80).into());
        Ok(found)
    }
}

/// A server that sends these bytes, whatever it is asked.
#[derive(Debug)]
struct Replay {
    bytes: Vec<u8>,
    pieces: [u8; 2],
}

impl Connector for Replay {
    type Out = Sent;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Sent>, Error> {
        let config = details.config;
        Ok(Some(Sent {
            rest: self.bytes.clone(),
            pieces: self.pieces,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

#[derive(Debug)]
struct Sent {
    rest: Vec<u8>,
    pieces: [u8; 2],
    buffers: LazyBuffers,
}

impl Transport for Sent {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Error> {
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.pieces.swap(0, 1);
        let space = self.buffers.input_append_buf();
        let amount = self
            .rest
            .len()
            .min(space.len())
            .min(1 + 8 * usize::from(self.pieces[0]));
        space[..amount].copy_from_slice(&self.rest[..amount]);
        self.rest.drain(..amount);
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}
