//! Through an HTTP proxy that goes away in the middle of a session.

use support::http_proxy::{PASSWORD, TARGET, USER, login, without_names};
use support::mqtt::{Subscriber, publish_all};
use support::{Bridge, HttpProxy, program, write_secret};

use crate::rig::{Rig, message};

#[test]
fn it_goes_through_the_proxy_and_comes_back_with_it() {
    let mut rig = Rig::start();
    rig.ca.add_server_name(TARGET);
    rig.cloud.end();
    rig.cloud.run();
    let mut proxy = HttpProxy::start_with("127.0.0.1", &login());
    let password = rig.hsm.file("proxy-password");
    write_secret(&password, format!("{PASSWORD}\n"));
    let config = format!(
        "[proxy]\naddress = \"{}\"\nusername = \"{USER}\"\npassword_file = \"{}\"\n{}",
        proxy.url(),
        password.display(),
        rig.config("")
            .replace("host = \"localhost\"", &format!("host = \"{TARGET}\""))
    );
    let file = rig.hsm.file("bridge.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = std::process::Command::new(program("tedge-hsm-bridge"));
    command.arg("--config").arg(&file);
    // Not a daemon's affair.
    command.env("https_proxy", "http://127.0.0.1:1");
    command.env("no_proxy", "*");
    let names = rig.hsm.file("names");
    std::fs::create_dir(&names).unwrap();
    let mut contained = without_names(&command, &names);
    let bridge = Bridge::spawn_command(rig.dir(), &mut contained);
    bridge.await_ready();
    let target = format!("{TARGET}:{}", rig.proxy.port);
    assert_eq!(proxy.targets()[0], target);
    let cloud = Subscriber::start(rig.cloud.port, "cloud", "dev/#");
    publish_all(rig.local.port, "local", &[message("out/a", "1")]);
    cloud.await_message("through the proxy", |topic, _| topic == "dev/a");

    let refused = format!("cannot connect to the proxy 127.0.0.1:{}", proxy.port());
    proxy.kill();
    bridge.await_log(&refused, 0);
    // Another one in its place, that wants another password.
    let port = proxy.port();
    drop(proxy);
    let other = format!("BasicAuth {USER} another");
    let proxy = HttpProxy::start_at("127.0.0.1", port, &other);
    bridge.await_log("refuses the user device or the password", 0);
    publish_all(rig.local.port, "local", &[message("out/b", "2")]);
    // It is read for each connection.
    write_secret(&password, "another");
    cloud.await_message("through the proxy again", |topic, _| topic == "dev/b");
    assert!(proxy.targets().contains(&target));
    assert!(!bridge.log().contains(PASSWORD) && !bridge.log().contains("another"));
}

/// What an upgrade finds in tedge.toml: it counts, unless it can't be used.
#[test]
fn the_proxy_of_tedge_toml_counts() {
    let rig = Rig::start();
    let proxy = HttpProxy::start_with("127.0.0.1", "");
    let toml = rig.hsm.file("tedge.toml");
    std::fs::write(&toml, format!("[proxy]\naddress = \"{}\"\n", proxy.url())).unwrap();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    assert_eq!(proxy.targets().len(), 1);
    drop(bridge);
    std::fs::write(&toml, "[proxy]\naddress = \"https://127.0.0.1:1\"\n").unwrap();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    bridge.await_log("no proxy is taken from tedge.toml: ", 0);
    assert_eq!(proxy.targets().len(), 1);
}
