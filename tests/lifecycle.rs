//! The signer as a service: starting, sockets, stopping.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::hsm::PIN;
use support::wire::{ask, connect};
use support::{Faulty, Hsm, Kind, Signer, fail, openssl, parse_uri, program};
use tedge_p11_client::{KeySpec, PrivateKey as _, Uri};
use tedge_p11_protocol::{Request, Response};

/// As thin-edge.io's is started: configuration in tedge.toml, the rest by environment.
#[test]
fn tedge_toml_and_environment_configure_it() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    hsm.create_key("other", "p256");
    let toml = format!(
        "[device]\ntype = \"x\"\n[device.cryptoki]\nmode = \"socket\"\nmodule_path = \"{}\"\n\
         pin = \"{PIN}\"\nuri = \"pkcs11:token=device;object=device\"\n\
         [mqtt]\nport = 1883\n",
        hsm.module().display()
    );
    std::fs::write(hsm.file("tedge.toml"), toml).unwrap();
    let mut command = hsm.command(program("tedge-p11-server"));
    command
        .env("TEDGE_CONFIG_DIR", hsm.dir.path())
        .env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", hsm.file("signer.sock"))
        .env("TEDGE_DEVICE_CRYPTOKI_URI", "");
    let signer = Signer::spawn(&hsm, &mut command);
    // The configured URI names the key, so a request need not.
    let key = tedge_p11_client::SocketKey::open(signer.client(), &Uri::default(), None).unwrap();
    assert_eq!(key.uri().to_string(), uri);
    openssl::verify_all_schemes(&key);
}

#[test]
fn the_socket_is_open_to_owner_and_group_and_goes_with_the_signer() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut signer = Signer::start(&hsm);
    let mode = std::fs::metadata(signer.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);

    // A second one does not take it away.
    let error = fail(&mut Signer::command(&hsm, &hsm.module()));
    assert!(error.contains("another signer is listening"), "{error}");
    assert_eq!(ask(signer.socket(), &Request::Ping), Response::Pong);

    // What a signer that was killed leaves behind is replaced.
    signer.signal(Signal::KILL);
    signer.wait();
    assert!(signer.socket().exists());
    let mut signer = Signer::start(&hsm);
    assert_eq!(ask(signer.socket(), &Request::Ping), Response::Pong);

    signer.signal(Signal::TERM);
    assert!(signer.wait().success());
    assert!(!signer.socket().exists());
}

/// Nor the socket of thin-edge.io's signer, which locks nothing.
#[test]
fn the_socket_of_another_program_is_left_alone() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let socket = hsm.file("signer.sock");
    let _theirs = UnixListener::bind(&socket).unwrap();
    let error = fail(&mut Signer::command(&hsm, &hsm.module()));
    assert!(error.contains("another signer is listening"), "{error}");
    assert!(socket.exists());
}

#[test]
fn silent_clients_do_not_delay_the_end() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut signer = Signer::start(&hsm);
    let _silent: Vec<_> = (0..10).map(|_| connect(signer.socket())).collect();
    assert_eq!(ask(signer.socket(), &Request::Ping), Response::Pong);
    let started = Instant::now();
    signer.signal(Signal::TERM);
    assert!(signer.wait().success());
    // Without them it ends at once; a client is given 30 s for its request.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

/// Its queue takes ten messages; what is behind them must wait alone.
#[test]
fn a_service_manager_that_does_not_read_holds_nobody_up() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut signer = Signer::start(&hsm);
    for reloads in 1..=40 {
        signer.signal(Signal::HUP);
        let deadline = Instant::now() + Duration::from_secs(60);
        while signer.log().matches("configuration read again").count() < reloads {
            assert!(Instant::now() < deadline, "{reloads} reloads");
            std::thread::yield_now();
        }
    }
    signer.signal(Signal::TERM);
    assert!(signer.wait().success());
}

/// Requests that have arrived when the signer is told to stop are answered.
#[test]
fn signatures_in_flight_are_finished() {
    let hsm = Hsm::start(Kind::Tpm2);
    let uri = hsm.create_key("device", "rsa2048");
    let mut signer = Signer::start(&hsm);
    let key = signer.key(&uri);
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let (key, sender) = (&key, sender.clone());
            scope.spawn(move || {
                loop {
                    let result = key.sign(key.schemes()[0], b"message");
                    let failed = result.as_ref().err().map(ToString::to_string);
                    sender.send(failed.clone()).unwrap();
                    if failed.is_some() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for _ in 0..8 {
            assert_eq!(receiver.recv().unwrap(), None);
        }
        signer.signal(Signal::TERM);
        for error in receiver.into_iter().flatten() {
            // A connection that the signer had not accepted yet, or that came too late; never one
            // that was accepted and dropped with its request.
            assert!(
                error.contains("is tedge-p11-server running?") || error.contains("lost the signer"),
                "{error}"
            );
        }
    });
    assert!(signer.wait().success());
    assert!(!signer.log().contains("gave up"), "{}", signer.log());
}

/// A module that does not finish holds the end up by its destructors, too (SoftHSM2's wait for the call for ever).
#[test]
fn a_module_that_does_not_finish_holds_nobody_up() {
    let mut faulty = Faulty::start();
    faulty.key("device");
    faulty.rules("C_Finalize hang");
    faulty.signer.signal(Signal::TERM);
    assert!(faulty.signer.wait().success());
    assert!(
        faulty
            .signer
            .log()
            .contains("the module did not finish in time")
    );
}

/// The signer takes the socket that systemd passes (LISTEN_FDS), and leaves its file alone.
#[test]
fn systemd_passes_the_socket() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let activated = hsm.file("signer.sock");
    let server = Signer::command(&hsm, &hsm.module());
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&activated);
    for (name, value) in server.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap_or_default());
        command.arg("--setenv").arg(setting);
    }
    command
        .arg(server.get_program())
        .args(server.get_args())
        .args(["--pin", PIN]);
    let mut child = match command.stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: systemd-socket-activate: {error}");
            return;
        }
    };
    let client = tedge_p11_client::Client::new(&activated);
    while !activated.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    // Between bind and listen there is a moment without anybody.
    while client.ping().is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
    }
    let uri = client
        .create_key(
            &parse_uri("pkcs11:token=device"),
            None,
            KeySpec::EcP256,
            "device",
            None,
        )
        .unwrap();
    let key = tedge_p11_client::SocketKey::open(client, &uri, None).unwrap();
    openssl::verify_all_schemes(&key);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        activated.exists(),
        "systemd's socket file is not ours to remove"
    );
}
