//! What is installed beside the program: man pages and completions, in dist/tedge-hsm/. They are made of the command
//! line by the test below, so that neither the shipped program nor a cross build, which can't run what it
//! builds, has to know how. `SNAPSHOTS=overwrite cargo test -p tedge-hsm dist` writes them anew.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use snapbox::{Assert, Data};

use crate::args::Args;
use crate::man_page::with_values;

#[test]
fn man_pages_and_completions_are_those_of_the_command_line() {
    let made = tempfile::tempdir().unwrap();
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/tedge-hsm");
    let man = made.path().join("man");
    std::fs::create_dir(&man).unwrap();
    let command = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &man).unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let dir = made.path().join(shell.to_string());
        std::fs::create_dir(&dir).unwrap();
        let path =
            clap_complete::generate_to(shell, &mut Args::command(), "tedge-hsm", &dir).unwrap();
        if shell == Shell::Bash {
            // clap_complete spells a name with a hyphen in two ways, so that no case is ever reached.
            let script = std::fs::read_to_string(&path).unwrap();
            let script = script.replace("tedge__subcmd__hsm", "tedge__hsm");
            std::fs::remove_file(path).unwrap();
            // bash-completion looks for files named as their command.
            std::fs::write(dir.join("tedge-hsm"), script).unwrap();
        }
    }
    for dir in ["man", "bash", "zsh", "fish"] {
        let (made, dist) = (made.path().join(dir), dist.join(dir));
        for name in names(&made) {
            let content = std::fs::read_to_string(made.join(&name)).unwrap();
            let content = if dir.ends_with("man") {
                completed(&name, &content)
            } else {
                content
            };
            Assert::new()
                .action_env("SNAPSHOTS")
                .eq(content, Data::read_from(&dist.join(&name), None).raw());
        }
        assert_eq!(names(&dist), names(&made), "what is too much in {dist:?}?");
    }
}

/// clap_mangen's page with a title, the values of options in its synopsis, and what stands at its end.
fn completed(name: &str, page: &str) -> String {
    let (command, _) = name.split_once(".1").unwrap();
    let page = with_values(page).replace(".SH EXTRA", ".SH NOTES");
    let (before, title) = page.split_once(".TH ").unwrap();
    let (_, after) = title.split_once('\n').unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let more = match command {
        "tedge-hsm" => OF_ALL,
        _ => OF_A_COMMAND,
    };
    format!("{before}.TH {command} 1 \"\" \"tedge-hsm {version}\"\n{after}{more}")
}

const OF_ALL: &str = r#".SH FILES
.TP
/run/tedge\-p11\-server/tedge\-p11\-server.sock
Socket of the signer. Members of group tedge may use it.
.TP
/etc/tedge/tedge.toml
Settings that are shared with thin\-edge.io: the PKCS#11 module, the URI of the token, brokers, certificates.
.TP
/etc/tedge/device\-certs/tedge\-certificate.pem
The device's certificate, unless device.cert_path in tedge.toml names another file.
.TP
/etc/tedge\-hsm/renew.conf
Settings of tedge\-hsm\-renew.service.
.TP
/etc/credstore.encrypted/tedge\-p11\-server.pin, /etc/credstore.encrypted/tedge\-hsm.so\-pin
The user PIN and the SO PIN as
.B tedge\-hsm setup
seals them; in /etc/credstore without systemd\-creds.
.SH "SEE ALSO"
.BR tedge\-p11\-server (8),
.BR tedge\-p11\-server.toml (5),
.BR tedge\-hsm\-bridge (8),
.BR systemd\-creds (1)
"#;

const OF_A_COMMAND: &str = r#".SH "SEE ALSO"
.BR tedge\-hsm (1),
.BR tedge\-p11\-server (8)
"#;

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
