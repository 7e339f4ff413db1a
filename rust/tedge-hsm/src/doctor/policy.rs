//! What the signer's policy allows this user, by the code that the signer itself goes by.

use tedge_p11_config::{Operation, Peer, Policy, Purpose, ROOT_DIR, load_policy, shadowed_by};

use super::config::{SIGNER, policy_file};
use super::context::{Context, Key};
use super::report::{Area, Report};

/// The policy, if it can be read.
pub(super) fn check(context: &Context<'_>, report: &mut Report) -> Option<Policy> {
    let path = policy_file(context);
    let shown = path.display();
    let own = rustix::process::geteuid().as_raw();
    let signer = context.root.uid(SIGNER).unwrap_or(own);
    let policy = match load_policy(&path, signer) {
        Ok(policy) => policy,
        Err(error) => {
            report.failure(
                Area::Policy,
                error.to_string(),
                "correct it, then systemctl reload tedge-p11-server; the signer does not start with it",
            );
            return None;
        }
    };
    if let Some(other) = shadowed_by(&path, &context.root.path(ROOT_DIR), &context.config_dir) {
        report.warning(
            Area::Policy,
            format!("{} is not read, as {shown} goes before it", other.display()),
            format!("have {shown} say what it should, and remove the other"),
        );
    }
    let peer = Peer::myself();
    let (may, may_not): (Vec<_>, Vec<_>) = Operation::ALL
        .into_iter()
        .partition(|operation| policy.check(&peer, *operation).is_ok());
    let names = |operations: &[Operation]| {
        let names: Vec<_> = operations.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let user = context.root.user(peer.uid);
    let from = if path.exists() {
        shown.to_string()
    } else {
        format!("the default, as there is no {shown}")
    };
    if may.contains(&Operation::Sign) {
        let refused = if may_not.is_empty() {
            String::new()
        } else {
            format!("; not {}", names(&may_not))
        };
        report.ok(
            Area::Policy,
            format!("user {user} may {}{refused} (by {from})", names(&may)),
        );
    } else {
        report.failure(
            Area::Policy,
            format!("user {user} may not sign: no rule allows it (by {from})"),
            format!(
                "add a rule with user = {user:?} and operations = [\"sign\", \"describe\"] to {shown}, which begins as a \
                 copy of /usr/share/tedge-hsm/tedge-p11-server.toml, then systemctl reload tedge-p11-server"
            ),
        );
    }
    Some(policy)
}

/// What for this user may have the key sign.
pub(super) fn check_purposes(policy: &Policy, key: &Key, report: &mut Report) {
    let peer = Peer::myself();
    let allowed = |purpose: &Purpose| {
        let recognize = || Ok(*purpose);
        policy.check_signature(&peer, key.uri(), recognize).is_ok()
    };
    let (may, may_not): (Vec<_>, Vec<_>) = Purpose::ALL.into_iter().partition(allowed);
    let names = |purposes: &[Purpose]| {
        let names: Vec<_> = purposes.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    };
    let what = format!("key {} may be used for {}", key.uri(), names(&may));
    if may.contains(&Purpose::Tls13Client) {
        let refused = if may_not.is_empty() {
            String::new()
        } else {
            format!("; not for {}", names(&may_not))
        };
        report.ok(Area::Policy, what + &refused);
    } else {
        report.warning(
            Area::Policy,
            what,
            "the rule that is for this key needs the purpose tls13-client, for TLS 1.3",
        );
    }
}
