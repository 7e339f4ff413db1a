//! The man pages in dist/tedge-p11-server/: that of section 8 is made of the command line and of what is said below
//! (`SNAPSHOTS=overwrite cargo test -p tedge-p11-server dist` writes it anew), that of section 5 describes what the policy's
//! reader knows.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use snapbox::{Assert, Data};
use tedge_p11_config::{Names, Policy};

use crate::args::Args;
use crate::man_page::with_values;
use crate::settings_page::{described, examples, known, values};

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
        .join("../../dist/tedge-p11-server/tedge-p11-server.8");
    Assert::new()
        .action_env("SNAPSHOTS")
        .eq(page, Data::read_from(&file, None).raw());
}

#[test]
fn the_page_of_the_policy_describes_what_the_policy_has() {
    let page = include_str!("../../../dist/tedge-p11-server/tedge-p11-server.toml.5");
    for (section, table) in [("RULES", "[[rule]]\n"), ("LIMITS", "[limits]\n")] {
        let message = refused(&format!("{table}nonsense = 1"));
        assert_eq!(described(page, section), known(&message), "{message}");
    }
    // Each value is taken, and what is no value names all that are.
    let of_rules = values(page, "RULES");
    let operations = refused("[[rule]]\noperations = ['nonsense']");
    let purposes = refused("[[rule]]\noperations = []\npurposes = ['nonsense']");
    for value in &of_rules {
        assert!(
            operations.contains(value.as_str()) || purposes.contains(value.as_str()),
            "{value}"
        );
    }
    for message in [operations, purposes] {
        let (_, listed) = message.split_once("are ").unwrap();
        for value in listed.replace(" and ", ", ").split(", ") {
            assert!(of_rules.contains(value), "{value}: {message}");
        }
    }
    let files = examples(page);
    assert!(files.len() > 1);
    for file in files {
        Policy::parse(&file, &Everybody).unwrap();
    }
}

fn refused(text: &str) -> String {
    Policy::parse(text, &Everybody).unwrap_err().to_string()
}

/// Knows all names.
struct Everybody;

impl Names for Everybody {
    fn uid(&self, _: &str) -> Option<u32> {
        Some(1)
    }

    fn gid(&self, _: &str) -> Option<u32> {
        Some(1)
    }
}

const MORE: &str = r#".SH SIGNALS
.TP
SIGHUP
Read the policy, tedge.toml and the PIN again. A file with a mistake is refused, and what was read before stays.
.TP
SIGTERM, SIGINT
Finish the calls on the token, and end.
.SH EXIT STATUS
0 after SIGTERM or SIGINT; 1 if it cannot start; 2 for a mistake in the command line.
.SH ENVIRONMENT
.TP
CREDENTIALS_DIRECTORY
The file pin in this folder holds the user PIN. systemd sets it for LoadCredential= and LoadCredentialEncrypted=.
.TP
STATE_DIRECTORY
Folder for the record of wrong PINs. systemd sets it for StateDirectory=.
.SH FILES
.TP
/run/tedge\-p11\-server/tedge\-p11\-server.sock
The socket, root:tedge with mode 0660.
.TP
/etc/tedge/tedge.toml
Table [device.cryptoki]: module_path, pin, uri, socket_path.
.TP
/etc/tedge\-hsm/tedge\-p11\-server.toml, /etc/tedge/tedge\-p11\-server.toml
The policy; the first of the two that exists. See
.BR tedge\-p11\-server.toml (5).
.TP
/usr/share/tedge\-hsm/tedge\-p11\-server.toml
The rules that hold without a policy, to begin with.
.TP
/usr/lib/tedge\-p11\-server/*.conf
Drop\-ins of the unit, one for each kind of HSM.
.B tedge\-hsm setup
links the ones that are needed.
.TP
/var/lib/tedge\-p11\-server
Tokens that are files, and the record of wrong PINs.
.SH EXAMPLES
Set up the service for a TPM, and look at it:
.PP
.nf
tedge\-hsm setup \-\-hsm tpm2 \-\-common\-name device\-1 \-\-output device.csr
systemctl status tedge\-p11\-server
tedge\-hsm status
.fi
.PP
By hand, on SoftHSM2, with the PIN in a file:
.PP
.nf
tedge\-p11\-server \-\-socket\-path signer.sock \-\-module\-path /usr/lib/softhsm/libsofthsm2.so \e
    \-\-uri 'pkcs11:token=demo?pin\-source=/root/user.pin'
.fi
.PP
What was refused, and to whom:
.PP
.nf
journalctl \-u tedge\-p11\-server OUTCOME=refused
.fi
.SH "SEE ALSO"
.BR tedge\-p11\-server.toml (5),
.BR tedge\-hsm (1),
.BR tedge\-hsm\-bridge (8),
.BR systemd\-creds (1)
"#;
