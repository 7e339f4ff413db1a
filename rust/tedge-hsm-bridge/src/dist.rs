//! The man page in dist/tedge-hsm-bridge/, made of the command line and of what is said below. `SNAPSHOTS=overwrite cargo test -p
//! tedge-hsm-bridge dist` writes it anew.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use snapbox::{Assert, Data};

use crate::args::Args;
use crate::man_page::with_values;

#[test]
fn the_man_page_is_that_of_the_command_line() {
    let mut page = Vec::new();
    let man = Man::new(Args::command()).section("8");
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let page = with_values(&String::from_utf8(page).unwrap()) + MORE;
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../dist/tedge-hsm-bridge/tedge-hsm-bridge.8");
    Assert::new()
        .action_env("SNAPSHOTS")
        .eq(page, Data::read_from(&file, None).raw());
}

const MORE: &str = r#".SH EXIT STATUS
0 after SIGTERM or SIGINT, and if \fB\-\-check\fR found nothing; 1 if the configuration has a mistake; 2 for a mistake in
the command line; 3 if \fB\-\-check\fR found that something is missing or can't be used.
.SH FILES
.TP
/etc/tedge\-hsm/tedge\-hsm\-bridge.toml, /etc/tedge/tedge\-hsm\-bridge.toml
The first of the two that exists. Brokers, keys and rules: see
.BR tedge\-hsm\-bridge.toml (5).
.TP
/usr/share/tedge\-hsm/tedge\-hsm\-bridge.toml
An example, to begin with. It names no cloud.
.TP
/run/tedge\-p11\-server/tedge\-p11\-server.sock
The socket of the signer, which has the key.
.SH EXAMPLES
A cloud in /etc/tedge\-hsm/tedge\-hsm\-bridge.toml:
.PP
.nf
[cloud.c8y]
preset = "cumulocity"
host = "example.cumulocity.com"
client_id = "DEVICE_ID"
cert = "/etc/tedge/device\-certs/tedge\-certificate.pem"
key = "pkcs11:token=device;object=tls"
.fi
.PP
Check the configuration, then start the service:
.PP
.nf
tedge\-hsm\-bridge \-\-check
systemctl enable \-\-now tedge\-hsm\-bridge
.fi
.SH "SEE ALSO"
.BR tedge\-hsm\-bridge.toml (5),
.BR tedge\-hsm (1),
.BR tedge\-p11\-server (8),
.BR mosquitto (8)
"#;
