//! The header of a proxy's answer to CONNECT: no text of the proxy's has a control character, or is long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_proxy::{Password, Proxy};

fuzz_target!(|header: &[u8]| {
    for user in [None, Some("device")] {
        let password = user.map(|_| Password::Text("secret-7".to_owned().into()));
        let proxy = Proxy::parse("proxy.example:3128", user.map(str::to_owned), password).unwrap();
        if let Err(problem) = proxy.agrees(header, "broker.example:8883") {
            let text = problem.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() < 1200, "{text:?}");
        }
    }
});
