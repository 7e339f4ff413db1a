//! `tedge-hsm` through tinyproxy: names that only the proxy can look up, logins, refusals, and where the settings come from.

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::est::EstServer;
use support::http_proxy::{PASSWORD, Squid, TARGET, USER, login, without_names};
use support::{Broker, Device, HttpProxy, fail, succeed, write_secret};

/// A device whose brokers and CAs have a name that only the proxy can look up.
struct Behind(Device);

impl Deref for Behind {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl Behind {
    fn new() -> Self {
        let mut device = Device::start_with_default_policy();
        device.ca.add_server_name(TARGET);
        // Beside the other files of the device.
        let cert = device.hsm.file("device.pem");
        std::fs::copy(&device.cert, &cert).unwrap();
        device.cert = cert;
        write_secret(&device.hsm.file("password"), PASSWORD);
        Self(device)
    }

    /// tedge-hsm with a tedge.toml of its own.
    fn tedge_hsm(&self) -> Command {
        let mut command = self.signer.tedge_hsm();
        command.env("TEDGE_CONFIG_DIR", self.hsm.dir.path());
        command
    }

    fn connect(&self, host: &str, port: u16) -> Command {
        let mut command = self.tedge_hsm();
        command.args(["connect", "--host", host, "--port", &port.to_string()]);
        command.arg("--cert").arg(&self.cert);
        command.arg("--ca").arg(self.ca.certificate());
        command
    }

    fn renew(&self, est: &EstServer, host: &str) -> Command {
        let mut command = self.tedge_hsm();
        let url = est.url("est").replace("localhost", host);
        command.args(["renew", "--est", &url]);
        command.arg("--cert").arg(&self.cert);
        command.arg("--ca").arg(self.ca.certificate());
        command
    }

    /// With the login of the proxy.
    fn through(&self, command: &mut Command, url: &str) -> Command {
        command.args(["--proxy", url, "--proxy-user", USER]);
        command
            .arg("--proxy-password-file")
            .arg(self.hsm.file("password"));
        std::mem::replace(command, Command::new("true"))
    }
}

#[test]
fn names_are_looked_up_by_the_proxy_alone() {
    let device = Behind::new();
    let broker = Broker::start(&device.ca);
    let est = EstServer::start(&device.ca);
    let proxy = HttpProxy::start_with("127.0.0.1", &login());
    let dir = device.hsm.file("names");
    std::fs::create_dir(&dir).unwrap();

    // Whoever looks up a name there waits for ever.
    let mut look_up = Command::new("timeout");
    look_up.args(["1", "getent", "ahosts", "localhost"]);
    let status = without_names(&look_up, &dir).status().unwrap();
    assert_eq!(status.code(), Some(124));

    let connect = device.through(&mut device.connect(TARGET, broker.port), &proxy.url());
    let said = succeed(&mut without_names(&connect, &dir));
    let line = format!("proxy             127.0.0.1:{}\n", proxy.port());
    assert!(said.contains(&line) && said.contains("CONNACK"), "{said}");

    let renew = device.through(&mut device.renew(&est, TARGET), &proxy.url());
    let said = succeed(&mut without_names(&renew, &dir));
    assert!(said.contains("CN=device-1 until"), "{said}");

    let mut doctor = device.tedge_hsm();
    doctor.args([
        "doctor",
        "--host",
        TARGET,
        "--port",
        &broker.port.to_string(),
    ]);
    doctor.arg("--cert").arg(&device.cert);
    doctor.arg("--ca").arg(device.ca.certificate());
    let doctor = device.through(&mut doctor, &proxy.url());
    let output = without_names(&doctor, &dir).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = format!(
        "{TARGET} port {} through the proxy 127.0.0.1:{}: TLS 1.3",
        broker.port,
        proxy.port()
    );
    assert!(said.contains(&line), "{said}");

    let mut targets = proxy.targets();
    targets.dedup();
    let at = |port: u16| format!("{TARGET}:{port}");
    assert_eq!(targets, [at(broker.port), at(est.port()), at(broker.port)]);
}

#[test]
fn a_proxy_that_says_no_is_named_with_its_reason() {
    let device = Behind::new();
    let broker = Broker::start(&device.ca);
    let mut proxy = HttpProxy::start_with("127.0.0.1", &login());
    let squid = Squid::start();
    let name = format!("the proxy 127.0.0.1:{}", proxy.port());
    let connect = || device.connect(TARGET, broker.port);
    // tinyproxy says 401 to a wrong password.
    for (url, wrong) in [(squid.url(), 407), (proxy.url(), 401)] {
        let said = fail(connect().args(["--proxy", &url]));
        let wanted = format!(
            "cannot connect to {TARGET} port {}: the proxy {} wants a user and a password (HTTP 407)",
            broker.port,
            url.trim_start_matches("http://")
        );
        assert!(said.contains(&wanted), "{said}");
        write_secret(&device.hsm.file("password"), "s3cret-but-wrong");
        let said = fail(&mut device.through(&mut connect(), &url));
        let wanted = format!("refuses the user {USER} or the password (HTTP {wrong})");
        assert!(said.contains(&wanted), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        write_secret(&device.hsm.file("password"), PASSWORD);
    }
    succeed(&mut device.through(&mut device.connect("localhost", broker.port), &squid.url()));
    // Nobody listens there.
    let said = fail(&mut device.through(&mut device.connect("localhost", 1), &squid.url()));
    assert!(
        said.contains("does not connect to localhost:1: HTTP 503"),
        "{said}"
    );

    let password = device.hsm.file("password");
    write_secret(&password, PASSWORD);
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = fail(&mut device.through(&mut connect(), &proxy.url()));
    assert!(
        said.contains("wants a password, which can't be read from"),
        "{said}"
    );
    write_secret(&password, PASSWORD);

    // It listens, and says nothing.
    proxy.freeze();
    let mut hangs = device.through(&mut connect(), &proxy.url());
    let said = fail(hangs.args(["--timeout", "2"]));
    assert!(
        said.contains(&format!("{name} has not answered in time")),
        "{said}"
    );
    proxy.kill();
    let said = fail(&mut device.through(&mut connect(), &proxy.url()));
    assert!(
        said.contains(&format!("cannot connect to {name}: Connection refused")),
        "{said}"
    );

    let filter = format!(
        "{}\nFilter \"{}\"\n",
        login(),
        device.hsm.file("filter").display()
    );
    std::fs::write(device.hsm.file("filter"), "factory\n").unwrap();
    let proxy = HttpProxy::start_with("127.0.0.1", &filter);
    let said = fail(&mut device.through(&mut connect(), &proxy.url()));
    assert!(
        said.contains(&format!(
            "does not connect to {TARGET}:{}: HTTP 403 (Filtered)",
            broker.port
        )),
        "{said}"
    );
    assert!(said.contains("have the proxy allow CONNECT"), "{said}");
}

#[test]
fn flag_file_and_variables_are_heeded_in_this_order_and_by_persons_only() {
    let device = Behind::new();
    let broker = Broker::start(&device.ca);
    let est = EstServer::start(&device.ca);
    let proxy = HttpProxy::start_with("127.0.0.1", &login());
    // By name and by address: at the second, nobody listens.
    let (there, nowhere) = (
        format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", proxy.port()),
        "http://127.0.0.1:1",
    );
    let connect = |variables: &[(&str, &str)]| {
        let mut command = device.connect("localhost", broker.port);
        command.envs(variables.iter().copied());
        command
    };
    let goes_through = |command: &mut Command| {
        let before = proxy.targets().len();
        succeed(command);
        proxy.targets().len() > before
    };
    let no = ("no_proxy", "127.0.0.1, .localhost");
    for (variables, through) in [
        (&[("https_proxy", &*there)][..], true),
        (
            &[
                ("all_proxy", &*there),
                ("HTTP_PROXY", nowhere),
                ("http_proxy", nowhere),
            ],
            true,
        ),
        (&[("https_proxy", nowhere), no], false),
        (&[("HTTP_PROXY", nowhere)], false),
    ] {
        assert_eq!(
            goes_through(&mut connect(variables)),
            through,
            "{variables:?}"
        );
    }
    assert!(!goes_through(
        connect(&[("https_proxy", nowhere)]).args(["--proxy", ""])
    ));
    assert!(!goes_through(
        connect(&[("https_proxy", nowhere)]).args(["--no-proxy", "*"])
    ));

    let config = device.hsm.file("tedge.toml");
    let table = |address: &str, more: &str| {
        std::fs::write(
            &config,
            format!("[proxy]\naddress = \"{address}\"\n{more}\n"),
        )
        .unwrap();
    };
    let user = format!("username = \"{USER}\"\npassword = \"{PASSWORD}\"");
    table(&proxy.url(), &user);
    assert!(goes_through(&mut connect(&[("https_proxy", nowhere)])));
    table(&proxy.url(), &format!("{user}\nno_proxy = \"localhost\""));
    assert!(!goes_through(&mut connect(&[("https_proxy", nowhere)])));
    table("https://127.0.0.1:1", "");
    let said = fail(&mut connect(&[]));
    assert!(
        said.contains("only http:// is supported for a proxy"),
        "{said}"
    );

    // A unit: its own file, then tedge.toml, where a mistake changes nothing; no variable.
    let settings = device.hsm.file("renew.conf");
    let unit = |more: &str| {
        let text = format!(
            "EST_URL={}\nCERT={}\nCA={}\nDAYS=3000\nSPREAD=no\n{more}",
            est.url("est"),
            device.cert.display(),
            device.ca.certificate().display(),
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = device.tedge_hsm();
        command.args(["renew", "--settings"]).arg(&settings);
        command.env("https_proxy", nowhere);
        command
    };
    assert!(!goes_through(&mut unit("")));
    std::fs::remove_file(&config).unwrap();
    assert!(!goes_through(&mut unit("")));
    table(&proxy.url(), &user);
    assert!(goes_through(&mut unit("")));
    table(nowhere, "");
    let own = format!(
        "PROXY={}\nPROXY_USER={USER}\nPROXY_PASSWORD_FILE={}\n",
        proxy.url(),
        device.hsm.file("password").display()
    );
    assert!(goes_through(&mut unit(&own)));
    assert!(!goes_through(&mut unit(&format!(
        "{own}NO_PROXY=localhost\n"
    ))));
    assert!(!goes_through(&mut unit("NO_PROXY=*\n")));
    assert!(!proxy.log().contains(PASSWORD));
}

#[test]
fn a_proxy_may_have_an_ipv6_address() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let device = Behind::new();
    let broker = Broker::start(&device.ca);
    let est = EstServer::start(&device.ca);
    let proxy = HttpProxy::start_with("::1", "");
    for command in [
        &mut device.connect(TARGET, broker.port),
        &mut device.renew(&est, TARGET),
    ] {
        succeed(command.args(["--proxy", &proxy.url()]));
    }
    assert_eq!(proxy.targets().len(), 2);
}
