//! What is a configuration and what is not, and how it is told.

use super::*;

const HEAD: &str = "[cloud.c8y]\nhost = \"example.com\"\nclient_id = \"dev1\"\ncert = \"c.pem\"\n";

fn error(text: &str) -> (usize, String, String) {
    let mistake = parse(text).unwrap_err();
    let (line, key) = position(text, mistake.at);
    (line, key, mistake.message)
}

#[test]
fn a_preset_is_all_it_takes() {
    let text = format!("{HEAD}preset = \"aws-iot\"\nport = 443\n");
    let profile = parse(&text).unwrap().0.remove(0);
    assert_eq!(
        profile.cloud.address,
        Address::Tcp("example.com".into(), 443)
    );
    assert_eq!(profile.tls.alpn, ["x-amzn-mqtt-ca"]);
    assert!(!profile.tls.tls12);
    let target = profile.out[0].target("aws/td/x");
    assert_eq!(target.as_deref(), Some("thinedge/dev1/td/x"));
    assert_eq!(
        profile.local.address,
        Address::Tcp("127.0.0.1".into(), 1883)
    );
}

#[test]
fn post_quantum_is_one_of_three() {
    let of = |line: &str| {
        let text = format!("{HEAD}preset = \"cumulocity\"\n{line}\n");
        parse(&text).map(|(profiles, _)| profiles[0].tls.post_quantum)
    };
    assert_eq!(of("").unwrap(), PostQuantum::Prefer);
    for (word, wanted) in [
        ("prefer", PostQuantum::Prefer),
        ("require", PostQuantum::Require),
        ("off", PostQuantum::Off),
    ] {
        assert_eq!(of(&format!("post_quantum = \"{word}\"")).unwrap(), wanted);
    }
    let (_, key, message) = error(&format!(
        "{HEAD}preset = \"cumulocity\"\npost_quantum = \"on\"\n"
    ));
    assert_eq!(key, "post_quantum");
    assert_eq!(message, "it is \"prefer\", \"require\" or \"off\"");
    // It would never connect.
    for tls12 in [
        "preset = \"azure-iot-hub\"",
        "preset = \"aws-iot\"\ntls12 = true",
    ] {
        let text = format!("{HEAD}{tls12}\npost_quantum = \"require\"\n");
        assert!(error(&text).2.contains("TLS 1.2"), "{tls12}");
    }
    let text = format!("{HEAD}preset = \"azure-iot-hub\"\npost_quantum = \"prefer\"\n");
    assert!(parse(&text).unwrap().0[0].tls.tls12);
}

#[test]
fn every_preset_is_valid_and_has_no_loop() {
    for (preset, port) in [
        ("cumulocity", 8883),
        ("cumulocity-mqtt-service", 9883),
        ("aws-iot", 8883),
        ("azure-iot-hub", 8883),
        ("azure-event-grid", 8883),
    ] {
        let profile = parse(&format!("{HEAD}preset = \"{preset}\"\n"))
            .unwrap()
            .0
            .remove(0);
        assert_eq!(
            profile.cloud.address,
            Address::Tcp("example.com".into(), port)
        );
        assert!(
            !profile.out.is_empty() && !profile.into.is_empty(),
            "{preset}"
        );
    }
}

#[test]
fn several_clouds_have_their_own() {
    let text = format!(
        "[local]\nsocket = \"/run/mosquitto.sock\"\n{HEAD}preset = \"cumulocity\"\n\
         [cloud.mine]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\nkey = \"pkcs11:object=two\"\n\
         out = [{{ topic = \"a/#\", add = \"{{client_id}}/\", retain = \"keep\" }}]\n"
    );
    let (profiles, _) = parse(&text).unwrap();
    assert_eq!(profiles.len(), 2);
    assert_eq!(profiles[1].tls.key.to_string(), "pkcs11:object=two");
    assert_eq!(profiles[1].out[0].target("a/b").unwrap(), "d/a/b");
    assert_ne!(profiles[0].local.client_id, profiles[1].local.client_id);
}

#[test]
fn mistakes_have_line_and_key() {
    for (text, line, key, message) in [
        ("[cloud.x]\nhost = \"h\"\n", 1, "[cloud.x]", "missing field"),
        ("[cloud.x]\nhots = \"h\"\n", 2, "hots", "unknown field"),
        (HEAD, 1, "[cloud.c8y]", "no preset and no rules"),
        (
            &format!(
                "{HEAD}preset = \"cumulocity\"\n{}preset = \"aws-iot\"\n",
                HEAD.replace("c8y", "second")
            ),
            6,
            "[cloud.second]",
            "[cloud.c8y] has the same",
        ),
        (&format!("{HEAD}port = 70000\n"), 5, "port", "expected u16"),
        (
            &format!("{HEAD}preset = \"gcp\"\n"),
            5,
            "preset",
            "unknown variant",
        ),
        (
            &format!("{HEAD}key = \"x\"\n[[cloud.c8y.out]]\ntopic = \"a\"\n"),
            5,
            "key",
            "pkcs11:",
        ),
        (
            &format!("{HEAD}key = \"pkcs11:object=x?pin-value=1\"\nout = [{{ topic = \"a\" }}]\n"),
            5,
            "key",
            "no PIN here",
        ),
        (
            &format!("{HEAD}[[cloud.c8y.out]]\ntopic = \"a/#/b\"\n"),
            6,
            "topic",
            "no topic filter",
        ),
        (
            &format!("{HEAD}[[cloud.c8y.out]]\ntopic = \"a/#\"\nstrip = \"b/\"\n"),
            7,
            "strip",
            "do not all begin",
        ),
        (
            &format!("{HEAD}[[cloud.c8y.in]]\ntopic = \"a\"\nqos = 2\n"),
            7,
            "qos",
            "0 or 1",
        ),
        (
            &format!(
                "{HEAD}[[cloud.c8y.in]]\ntopic = \"a/#\"\n[[cloud.c8y.out]]\ntopic = \"a/b\"\n"
            ),
            6,
            "topic",
            "go round",
        ),
        (
            &format!("{HEAD}keep_alive = 1\nout = [{{ topic = \"a\" }}]\n"),
            5,
            "keep_alive",
            "from 5",
        ),
        (
            "[local]\nhost = \"h\"\nsocket = \"s\"\n[cloud.x]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\nout = [{ topic = \"a\" }]\n",
            2,
            "host",
            "not both",
        ),
        (
            "[cloud.x]\nhost = \"h h\"\nclient_id = \"d\"\ncert = \"c\"\n",
            2,
            "host",
            "no host name",
        ),
        ("[cloud.x\n", 1, "[cloud.x", "unclosed"),
    ] {
        let error = error(text);
        assert_eq!(
            (error.0, error.1.as_str()),
            (line, key),
            "{text}\n{error:?}"
        );
        assert!(error.2.contains(message), "{text}\n{error:?}");
    }
}

#[test]
fn a_proxy_is_that_of_the_own_file_or_of_tedge_toml() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tedge-hsm-bridge.toml");
    let proxy = |own: &str, tedge_toml: &str| {
        std::fs::write(&path, format!("{own}{HEAD}preset = \"aws-iot\"\n")).unwrap();
        std::fs::write(dir.path().join("tedge.toml"), tedge_toml).unwrap();
        let (profiles, trouble) = load(&path, dir.path()).unwrap();
        assert!(profiles[0].local.proxy.is_none());
        let proxy = profiles[0].cloud.proxy.as_ref();
        (proxy.map(ToString::to_string), trouble)
    };
    let theirs = "[proxy]\naddress = \"http://theirs:1\"\n";
    let some = |proxy: &str| (Some(proxy.to_owned()), None);
    assert_eq!(proxy("", ""), (None, None));
    assert_eq!(proxy("", theirs), some("theirs:1"));
    assert_eq!(
        proxy("", &format!("{theirs}no_proxy = \"example.com\"\n")),
        (None, None)
    );
    let own = "[proxy]\naddress = \"ours\"\nusername = \"me\"\npassword_file = \"/p\"\n";
    assert_eq!(proxy(own, theirs), some("ours:80"));
    assert_eq!(
        proxy(&format!("{own}no_proxy = \".com\"\n"), theirs),
        (None, None)
    );
    assert_eq!(proxy("[proxy]\naddress = \"\"\n", theirs), (None, None));
    // It has connected without it so far.
    for (wrong, said) in [
        (
            "[proxy]\naddress = \"https://p:1\"\n",
            "[proxy]: only http:// is supported",
        ),
        (
            "[proxy]\naddress = \"p\"\npassword = \"hunter2\"\n",
            "[proxy]: the proxy's user and its password go together",
        ),
        (
            "[proxy]\naddress = \"me:hunter2@p\"\n",
            "by their own settings",
        ),
        ("[proxy]\npassword = \"hunter2\n", "line 2"),
    ] {
        let (proxy, trouble) = proxy("", wrong);
        let trouble = trouble.unwrap();
        assert!(proxy.is_none() && trouble.contains(said), "{trouble}");
        assert!(!trouble.contains("hunter2"), "{trouble}");
    }
    for (wrong, said) in [
        ("address = \"https://p:1\"", "only http:// is supported"),
        (
            "address = \"p\"\nusername = \"me\"",
            "username and password_file go together",
        ),
        (
            "address = \"p\"\npassword = \"hunter2\"",
            "unknown field `password`",
        ),
    ] {
        let (line, _, message) = error(&format!("[proxy]\n{wrong}\n{HEAD}preset = \"aws-iot\"\n"));
        assert!(message.contains(said), "{message}");
        assert!(
            (2..=4).contains(&line) && !message.contains("hunter2"),
            "{line}: {message}"
        );
    }
}
