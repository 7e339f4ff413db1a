//! `hsms`: what is known of each kind of HSM, and which of them are on this machine.

use serde_json::json;

use crate::output::say;
use crate::profile::{OpenedBy, PROFILES, Profile, Service};
use crate::root::Root;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What --json prints is in docs/json.md.

Examples:
  tedge-hsm hsms
  tedge-hsm hsms --json | jq -r '.[] | select(.seen) | .name'
  tedge-hsm --hsm tpm2 list-tokens")]
pub(crate) struct Args {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::default();
    if args.json {
        let all: Vec<_> = PROFILES.iter().map(|p| describe(p, &root)).collect();
        return Ok(say(serde_json::to_string_pretty(&all)?)?);
    }
    for profile in &PROFILES {
        show(profile, &root)?;
    }
    Ok(())
}

fn show(profile: &Profile, root: &Root) -> std::io::Result<()> {
    let line = |name: &str, value: &str| {
        if value.is_empty() {
            return Ok(());
        }
        say(format_args!("  {name:<12} {value}"))
    };
    say(format_args!("{:<14} {}", profile.name, profile.title))?;
    let seen = profile.seen(root);
    line("seen", seen.as_deref().unwrap_or("no"))?;
    let module = match profile.module() {
        Some(module) => module.display().to_string(),
        None => format!(
            "not installed; Debian: {}; Yocto: {}",
            profile.packages.debian, profile.packages.yocto
        ),
    };
    line("module", &module)?;
    for variable in profile.environment {
        let setting = format!("{}={}", variable.name, variable.value);
        line("environment", &setting)?;
    }
    for node in profile.nodes {
        let by = match node.opened_by {
            OpenedBy::Signer => "",
            OpenedBy::TeeSupplicant => ", for tee-supplicant",
        };
        line(
            "device",
            &format!("{}, group {}{by}", node.path, node.groups.join(" or ")),
        )?;
    }
    for usb in profile.usb {
        line("USB id", &usb_id(usb.vendor, usb.product))?;
    }
    let services: Vec<_> = profile.services.iter().map(|s| s.name()).collect();
    line("must run", &services.join(", "))?;
    let drop_in = format!("/usr/lib/tedge-p11-server/{}", profile.drop_in);
    line("drop-in", &drop_in)?;
    line("keys", profile.keys)
}

fn describe(profile: &Profile, root: &Root) -> serde_json::Value {
    json!({
        "name": profile.name,
        "title": profile.title,
        "seen": profile.seen(root),
        "module": profile.module(),
        "module_candidates": profile.module_candidates(),
        "packages": {"debian": profile.packages.debian, "yocto": profile.packages.yocto},
        "environment": profile.environment.iter()
            .map(|variable| (variable.name.to_owned(), json!(variable.value)))
            .collect::<serde_json::Map<_, _>>(),
        "devices": profile.nodes.iter()
            .map(|node| json!({"path": node.path, "groups": node.groups}))
            .collect::<Vec<_>>(),
        "usb": profile.usb.iter()
            .map(|usb| usb_id(usb.vendor, usb.product))
            .collect::<Vec<_>>(),
        "services": profile.services.iter().map(|service| service.name()).collect::<Vec<_>>(),
        "drop_in": profile.drop_in,
        "keys": profile.keys,
    })
}

fn usb_id(vendor: &str, product: &str) -> String {
    match product {
        "" => format!("{vendor}:*"),
        product => format!("{vendor}:{product}"),
    }
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pcscd => "pcscd",
            Self::TeeSupplicant => "tee-supplicant",
        }
    }
}
