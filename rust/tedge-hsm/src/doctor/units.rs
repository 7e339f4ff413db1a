//! Which of systemd's units are installed here. What to do next is not told by commands for others.

use crate::root::Root;

/// The units that advice may name.
#[derive(Debug)]
pub(crate) struct Units {
    missing: Vec<&'static str>,
}

impl Units {
    pub(crate) fn new(root: &Root) -> Self {
        let units = COMMANDS.iter().map(|command| command.unit);
        Self {
            missing: units.filter(|unit| !installed(root, unit)).collect(),
        }
    }

    /// The same advice, with other words in place of a command for a unit that is not installed.
    pub(super) fn advice(&self, cure: &str) -> String {
        let wrong = |command: &&Command| self.missing.contains(&command.unit);
        let commands = COMMANDS.iter().filter(wrong);
        commands.fold(cure.to_owned(), |cure, command| {
            cure.replace(command.systemd, command.otherwise)
        })
    }
}

/// Whether there is a file for `unit` in the folders of systemd.unit(5).
pub(super) fn installed(root: &Root, unit: &str) -> bool {
    UNIT_FOLDERS
        .iter()
        .any(|folder| root.path(folder).join(unit).exists())
}

/// Part of an advice.
struct Command {
    systemd: &'static str,
    unit: &'static str,
    otherwise: &'static str,
}

const fn signer(systemd: &'static str, otherwise: &'static str) -> Command {
    Command {
        systemd,
        unit: "tedge-p11-server.service",
        otherwise,
    }
}

/// A part of another one comes after it.
const COMMANDS: &[Command] = &[
    signer(
        "start it: systemctl start tedge-p11-server.socket",
        "start tedge-p11-server, or install it with its units (make install); --socket-path names another socket",
    ),
    signer(
        "systemctl enable --now tedge-p11-server.socket",
        "start tedge-p11-server, or install it with its units (make install); --socket-path names another socket",
    ),
    signer(
        "systemctl daemon-reload && systemctl restart tedge-p11-server.socket, once no unit and no drop-in of it \
         has SocketUser= any more (systemctl cat tedge-p11-server.socket)",
        "have the socket belong to root, or to the user who runs tedge-p11-server",
    ),
    signer(
        "systemctl restart tedge-p11-server.socket",
        "start tedge-p11-server",
    ),
    signer(
        "systemctl edit tedge-p11-server, and add SupplementaryGroups=",
        "start tedge-p11-server as a member of group ",
    ),
    signer(
        "systemctl reload tedge-p11-server",
        "send tedge-p11-server the signal SIGHUP",
    ),
    signer(
        "journalctl -u tedge-p11-server",
        "what tedge-p11-server has written to standard error",
    ),
    Command {
        systemd: "systemctl enable --now pcscd.socket (package pcscd on Debian, pcsc-lite on Yocto)",
        unit: "pcscd.socket",
        otherwise: "install pcscd (Debian) or pcsc-lite (Yocto), and start it",
    },
    Command {
        systemd: "systemctl start tee-supplicant@teepriv0 (or tee-supplicant), and see its log",
        unit: "tee-supplicant@.service",
        otherwise: "start tee-supplicant (package tee-supplicant on Debian, optee-client on Yocto), and see its log",
    },
];

pub(super) const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads this crate's own text: an advice with a command that the table lacks would be given to all.
    #[test]
    fn the_table_has_each_command_of_the_checks() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            // unit.rs speaks of a unit that systemd knows.
            if path.ends_with("units.rs") || path.ends_with("unit.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("\\\n", "");
            let text: Vec<_> = text.split_whitespace().collect();
            let mut left = text.join(" ");
            for command in COMMANDS {
                left = left.replace(command.systemd.trim(), "");
            }
            // Of systemd itself, or said where the unit was found.
            left = left.replace("systemctl daemon-reload", "");
            for word in ["systemctl ", "journalctl "] {
                assert!(!left.contains(word), "{}: {word}", path.display());
            }
        }
    }

    #[test]
    fn advice_is_for_what_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let advice = "have a rule allow it, then systemctl reload tedge-p11-server";
        let units = || Units::new(&Root::new(dir.path()));
        assert_eq!(
            units().advice(advice),
            "have a rule allow it, then send tedge-p11-server the signal SIGHUP"
        );
        let folder = dir.path().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tedge-p11-server.service"), "").unwrap();
        assert_eq!(units().advice(advice), advice);
    }
}
