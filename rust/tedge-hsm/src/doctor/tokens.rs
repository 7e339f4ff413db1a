//! Slots, tokens, the state of their PINs and what they can sign with; the login, if it is asked for.

use std::sync::Arc;

use tedge_p11_client::{Pin, Uri};
use tedge_p11_token::{Access, Module, PinState, Result, SlotState, TlsMechanism, TokenInfo};

use super::context::{Context, within};
use super::cures;
use super::report::{Area, Report};
use crate::pins;
use crate::store::Store;

/// The module, open for this process.
pub(super) struct Login {
    pub(super) store: Store,
    pub(super) pin: Option<Pin>,
    /// What the token is called.
    pub(super) token: Uri,
}

/// Tells of all tokens; with `--login`, logs in to the one that is meant.
pub(super) fn check(
    context: &Context<'_>,
    module: Option<&Arc<Module>>,
    report: &mut Report,
) -> Option<Login> {
    let Some(module) = module else {
        if context.args.login {
            report.skipped(Area::Pin, "no login without the module");
        }
        return None;
    };
    let asked = module.clone();
    let (slots, tokens) = match within(context.limit, move || look(&asked)) {
        None => {
            report.failure(
                Area::Token,
                format!(
                    "the module does not list its tokens within {} s",
                    context.limit.as_secs()
                ),
                "see whether the device answers, and whether another program keeps it",
            );
            return None;
        }
        Some(Err(error)) => {
            let error = error.to_string();
            report.failure(Area::Token, &error, cures::of(&error));
            return None;
        }
        Some(Ok(found)) => found,
    };
    if tokens.is_empty() {
        tell_of_no_token(context, &slots, report);
        return None;
    }
    let any_initialized = tokens.iter().any(|token| token.info.initialized);
    for token in &tokens {
        check_token(token, any_initialized, report);
    }
    if !context.args.login {
        return None;
    }
    log_in(context, module, &tokens, report)
}

/// A token, and what it says of itself without a login.
struct Seen {
    info: TokenInfo,
    pin: PinState,
    mechanisms: Vec<TlsMechanism>,
}

fn look(module: &Module) -> Result<(Vec<SlotState>, Vec<Seen>)> {
    let tokens = module.tokens()?.into_iter().map(|info| {
        Ok(Seen {
            pin: module.pin_state(info.slot)?,
            mechanisms: module.signing_mechanisms(info.slot)?,
            info,
        })
    });
    Ok((module.slots()?, tokens.collect::<Result<_>>()?))
}

fn tell_of_no_token(context: &Context<'_>, slots: &[SlotState], report: &mut Report) {
    let what = if slots.is_empty() {
        "the module has no slot: it found no device".to_owned()
    } else {
        let names: Vec<_> = slots.iter().map(|slot| slot.description.trim()).collect();
        format!("no token in the slots of the module ({})", names.join(", "))
    };
    if context.is_straight() || rustix::process::geteuid().is_root() {
        report.failure(
            Area::Token,
            what,
            "plug the token in, and see the device's lines above; for files, whether the module's \
             environment (tedge-hsm hsms) names the right folder",
        );
    } else {
        report.skipped(
            Area::Token,
            format!("{what}, or this user may not see it; the signer's are below"),
        );
    }
}

fn check_token(token: &Seen, any_initialized: bool, report: &mut Report) {
    let info = &token.info;
    let name = format!("token {:?}", info.label);
    if !info.initialized {
        let what = format!(
            "slot {}: a blank token, {} {}",
            info.slot, info.manufacturer, info.model
        );
        // Some modules always have one more.
        return if any_initialized {
            report.ok(Area::Token, what);
        } else {
            report.warning(Area::Token, what, "tedge-hsm init --label NAME");
        };
    }
    report.ok(Area::Token, format!("slot {}: {}", info.slot, info.uri));
    if !info.login_required {
        report.ok(Area::Pin, format!("{name} needs no login"));
    } else if info.protected_authentication_path {
        report.warning(
            Area::Pin,
            format!("{name} takes its PIN at the reader's keys"),
            "an unattended device needs a token that takes the PIN from the signer",
        );
    } else {
        check_pin(&name, token.pin, report);
    }
    let names = |tls13| -> Vec<_> {
        let mechanisms = token.mechanisms.iter().filter(|known| known.tls13 == tls13);
        mechanisms.map(|mechanism| mechanism.name).collect()
    };
    let (tls13, tls12) = (names(true), names(false));
    match (tls13.is_empty(), tls12.is_empty()) {
        (false, _) => report.ok(Area::Mechanism, format!("{name} signs with {}", tls13.join(", "))),
        (true, false) => report.warning(
            Area::Mechanism,
            format!("{name} signs with {} only, which is for TLS 1.2", tls12.join(", ")),
            "use an EC key on a token with CKM_ECDSA, or one with CKM_RSA_PKCS_PSS, for TLS 1.3",
        ),
        (true, true) => report.failure(
            Area::Mechanism,
            format!("{name} has no mechanism that TLS signs with (CKM_ECDSA, CKM_RSA_PKCS_PSS, CKM_EDDSA)"),
            "use another token, or a newer firmware or module",
        ),
    }
}

fn check_pin(name: &str, pin: PinState, report: &mut Report) {
    if pin.tries.locked {
        report.failure(
            Area::Pin,
            format!("the user PIN of {name} is locked (CKF_USER_PIN_LOCKED)"),
            cures::of("CKR_PIN_LOCKED"),
        );
    } else if pin.tries.final_try {
        report.failure(
            Area::Pin,
            format!("the user PIN of {name} has one try left (CKF_USER_PIN_FINAL_TRY)"),
            cures::of("one try left"),
        );
    } else if pin.tries.count_low {
        report.warning(
            Area::Pin,
            format!("wrong PINs were given for {name} (CKF_USER_PIN_COUNT_LOW)"),
            "find out which user gives them (journalctl -u tedge-p11-server); a login with the right PIN resets it",
        );
    } else if !pin.initialized {
        report.failure(
            Area::Pin,
            format!("{name} has no user PIN yet (CKF_USER_PIN_INITIALIZED is not set)"),
            "set it with the SO PIN: pkcs11-tool --init-pin --login --login-type so",
        );
    } else if pin.to_be_changed {
        report.warning(
            Area::Pin,
            format!("{name} has the PIN that it came with (CKF_USER_PIN_TO_BE_CHANGED)"),
            "change it: pkcs11-tool --change-pin",
        );
    } else {
        report.ok(
            Area::Pin,
            format!("the user PIN of {name} is set, and no wrong one was given"),
        );
    }
}

fn log_in(
    context: &Context<'_>,
    module: &Arc<Module>,
    tokens: &[Seen],
    report: &mut Report,
) -> Option<Login> {
    let uri = context.uri().unwrap_or_default().token_part();
    // The module decides what the URI leaves; a PIN is for one token only.
    let meant: Vec<_> = tokens
        .iter()
        .filter(|token| token.info.initialized && uri.covers(&token.info.uri))
        .collect();
    let [token] = meant[..] else {
        report.failure(
            Area::Pin,
            format!(
                "not logged in: {} initialised tokens match {uri}, and the PIN is for one",
                meant.len()
            ),
            "name the token by --uri",
        );
        return None;
    };
    let name = &token.info.uri;
    if token.pin.tries.locked || token.pin.tries.final_try {
        report.skipped(
            Area::Pin,
            format!("not logged in to {name}: this check spends no try of its PIN"),
        );
        return None;
    }
    let pin = match pins::given(
        context.place.pin_file.as_deref(),
        context.args.uri.clone().as_mut(),
    ) {
        Ok(pin) => pin,
        Err(error) => {
            report.failure(Area::Pin, format!("{error:#}"), "correct --pin-file");
            return None;
        }
    };
    if pin.is_none() && token.info.login_required {
        report.failure(
            Area::Pin,
            format!("not logged in to {name}: there is no PIN"),
            "give --pin-file or TEDGE_DEVICE_CRYPTOKI_PIN",
        );
        return None;
    }
    let (asked, with, of) = (module.clone(), pin.clone(), name.clone());
    match within(context.limit, move || {
        asked.keys_on_token(&of, Access::to_all(with.as_ref()))
    }) {
        None => report.failure(
            Area::Pin,
            format!(
                "the login to {name} takes more than {} s",
                context.limit.as_secs()
            ),
            "see whether the device answers; give a longer --timeout for a slow one",
        ),
        Some(Err(error)) => {
            let error = error.to_string();
            report.failure(Area::Pin, &error, cures::of(&error));
        }
        Some(Ok(_)) => {
            report.ok(Area::Pin, format!("logged in to {name}"));
            return Some(Login {
                store: Store::Module(module.clone()),
                pin,
                token: name.clone(),
            });
        }
    }
    None
}
