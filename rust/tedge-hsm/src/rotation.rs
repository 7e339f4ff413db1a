//! A new key for a certificate, in steps, each recorded on the disk before it is taken: whatever stops this program,
//! the device connects with the old pair or with the new one, and the next run goes on.

pub(crate) mod record;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tedge_p11_client::{PrivateKey, Uri};
use tedge_p11_config::read_key_uris;

use self::record::{Record, Step, next_path, record_path, unix_time};
use crate::certificate::{self, Certificate};
use crate::file;
use crate::key_type::KeyType;
use crate::keys::Keys;
use crate::new_key::new_id;
use crate::output::{note, say};
use crate::progress::Progress;
use crate::refused::is_refusal;
use crate::root::Root;
use crate::try_connect::{Trial, config_dir};

/// How a key is to be replaced.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Another key")]
#[group(id = "rotation")]
pub(crate) struct Args {
    /// Type of the new key [default: that of the old key]
    #[arg(long, value_enum, value_name = "TYPE", requires = "new_key")]
    key_type: Option<KeyType>,

    /// Label of the new key [default: that of the old key, since URIs and rules name keys by it]
    #[arg(long, value_name = "LABEL", requires = "new_key")]
    new_key_label: Option<String>,

    /// Days to keep the old key after the new one is in use
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=3650))]
    keep_old: u32,

    /// Program to run, without arguments, after the new certificate has replaced the old one
    #[arg(long, value_name = "PROGRAM", requires = "new_key")]
    hook: Option<PathBuf>,
}

/// A rotation, and what it needs.
pub(crate) struct Rotation<'a> {
    pub(crate) keys: Keys<'a>,
    /// File of the installed certificate.
    pub(crate) cert: &'a Path,
    /// URI by which clients find the key.
    pub(crate) uri: Option<&'a Uri>,
    pub(crate) trial: &'a Trial,
    pub(crate) args: &'a Args,
    /// Gets a certificate.
    pub(crate) ca: &'a dyn Issuer,
}

/// Who issues certificates.
pub(crate) trait Issuer {
    /// A certificate for `new`, with its chain, which is good; `old` logs in with the installed one.
    fn issue(
        &self,
        old: &Arc<dyn PrivateKey>,
        new: &Arc<dyn PrivateKey>,
    ) -> anyhow::Result<Vec<Certificate>>;

    /// Whether a TLS server that trusts the same takes `chain` now.
    fn verify(&self, chain: &[Certificate]) -> anyhow::Result<()>;
}

/// Where a rotation stands when this program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The new pair is in use, and the old key is gone.
    Finished,
    /// The new pair is in use, and the old key is kept for a while.
    KeepsOld,
}

impl Rotation<'_> {
    /// Begins a rotation, or goes on with the one that `is_under_way`.
    pub(crate) fn run(&self, is_under_way: bool) -> anyhow::Result<Outcome> {
        let _lock = file::lock_beside(self.cert)?;
        let mut record = match Record::read(self.cert)? {
            Some(record) => record,
            // Another process has gone on with it meanwhile.
            None if is_under_way => return Ok(Outcome::Finished),
            None => self.begin()?,
        };
        loop {
            let step = record.step;
            match self.take(&mut record) {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(error) => {
                    // For `status`. A record that was removed stays so.
                    if Record::look(self.cert).is_some() {
                        record.error = Some(format!("{error:#}"));
                        record.write(self.cert)?;
                    }
                    let kept = if step < Step::Hook {
                        "; the old key and certificate stay in use, and the next run goes on"
                    } else {
                        "; the new key and certificate are in use, and the next run goes on"
                    };
                    return Err(error.context(format!("{}{kept}", step.what())));
                }
            }
        }
    }

    fn take(&self, record: &mut Record) -> anyhow::Result<Option<Outcome>> {
        self.check_record(record)?;
        match record.step {
            Step::MakeKey => self.make_key(record)?,
            Step::Request => self.request(record)?,
            Step::Try => self.try_new(record)?,
            Step::Switch => self.switch(record)?,
            Step::Hook => self.run_hook(record)?,
            Step::KeepOld => {
                if let Some(days) = self.days_to_keep(record)? {
                    say(format_args!(
                        "the old key {} is kept for {days} more days",
                        record.old_key
                    ))?;
                    return Ok(Some(Outcome::KeepsOld));
                }
            }
            Step::DeleteOld => {
                self.delete_old(record)?;
                return Ok(Some(Outcome::Finished));
            }
        }
        Ok(None)
    }

    /// Whether the record goes with the installed certificate. A user who owns its folder can put back a record of an
    /// earlier step, or a backup may.
    fn check_record(&self, record: &Record) -> anyhow::Result<()> {
        let uri = match record.step {
            Step::MakeKey | Step::Request | Step::Try => record.old_key()?,
            Step::Hook => record.new_key()?,
            // The certificate may be there already. The other two look before they delete.
            Step::Switch | Step::KeepOld | Step::DeleteOld => return Ok(()),
        };
        let fits = self
            .keys
            .find(Some(&uri))
            .and_then(|key| self.installed()?.check_key(key.as_ref()));
        fits.with_context(|| {
            format!(
                "the record {} does not go with the installed certificate, and nothing is changed. If this lasts, \
                 remove the record, and delete the key that is not wanted (tedge-hsm list-keys)",
                record_path(self.cert).display()
            )
        })
    }

    /// Looks whether all can be done, as far as that shows beforehand, and records the first step.
    fn begin(&self) -> anyhow::Result<Record> {
        let installed = self.installed()?;
        let old = self.keys.find(self.uri)?;
        installed.check_key(old.as_ref())?;
        let spec = old.public_key().spec();
        let key_type = match (self.args.key_type, spec) {
            (Some(key_type), _) => key_type,
            (None, Some(spec)) => spec.into(),
            (None, None) => bail!(
                "{} is of no type that can be made; give --key-type",
                old.uri()
            ),
        };
        let new = Uri {
            id: Some(new_id()?),
            object: self.args.new_key_label.clone().or(old.uri().object.clone()),
            ..old.uri().clone()
        };
        self.check_uris(&new)?;
        file::check_writable(self.cert)?;
        file::check_writable(&next_path(self.cert))?;
        Record::check_writable(self.cert)?;
        self.check_rights(&new)?;
        let by_default = self.keys.find(None);
        let record = Record {
            step: Step::MakeKey,
            since: unix_time(),
            old_key: old.uri().to_string(),
            new_key: new.to_string(),
            key_type,
            found_by_default: by_default.is_ok_and(|key| key.public_key() == old.public_key()),
            error: None,
        };
        file::remove(&next_path(self.cert))?;
        record.write(self.cert)?;
        Ok(record)
    }

    /// No URI of the configuration may leave the old key only.
    fn check_uris(&self, new: &Uri) -> anyhow::Result<()> {
        let mut uris = Vec::new();
        if self.keys.store.is_signer() {
            uris = read_key_uris(&config_dir().join("tedge.toml"))?;
        }
        if let Some(uri) = self.uri {
            uris.push(("--uri".to_owned(), uri.to_string()));
        }
        for (name, uri) in uris {
            let parsed: Uri = uri.parse().with_context(|| name.clone())?;
            let named = Uri {
                id: parsed.id.clone(),
                object: parsed.object.clone(),
                ..Uri::default()
            };
            if !named.covers(new) {
                let cure = match parsed.id {
                    Some(_) => {
                        "take id= out of it first: the signer tells keys apart by the certificate"
                    }
                    None => "take object= out of it first, or leave --new-key-label out",
                };
                bail!("{name} is {uri}, which will not leave the new key ({new}): {cure}");
            }
        }
        Ok(())
    }

    /// Whether the signer lets this user make and delete the key. A key that is not there can be asked about.
    fn check_rights(&self, new: &Uri) -> anyhow::Result<()> {
        match self.keys.store.delete_key(new, self.keys.pin()?.as_ref()) {
            Err(error) if is_refusal(&error) => Err(needs_rule(error, new)),
            // There is no such key; or what is wrong shows when it is to be made.
            _ => Ok(()),
        }
    }

    fn make_key(&self, record: &mut Record) -> anyhow::Result<()> {
        let (old, new) = (record.old_key()?, record.new_key()?);
        let mut is_ours = false;
        if self.keys.find(Some(&new)).is_err() {
            let _progress = record.key_type.is_slow().then(|| {
                Progress::start("making an RSA key, this can take minutes on a slow token ...")
            });
            let label = new.object.clone().unwrap_or_default();
            let pin = self.keys.pin()?;
            let made = self.keys.store.create_key(
                Some(&new.token_part()),
                pin.as_ref(),
                record.key_type.into(),
                &label,
                new.id.clone(),
            );
            match made {
                Err(error) if is_refusal(&error) => {
                    Record::remove(self.cert)?;
                    return Err(needs_rule(error, &new));
                }
                // The signer may have been about to make it for a run that was killed.
                Err(error) if self.keys.find(Some(&new)).is_err() => return Err(error),
                Err(_) => {}
                Ok(_) => is_ours = true,
            }
        }
        if let Err(error) = self.check_choice(record, &old) {
            // Only what this run has made is deleted without another look: what was there before may be in use.
            if !is_ours {
                return Err(error.context(format!(
                    "with two keys the device would not find the one of its certificate any more. Delete the new one, if \
                     nothing uses it: tedge-hsm delete-key --uri '{new}'"
                )));
            }
            self.keys
                .store
                .delete_key(&new, self.keys.pin()?.as_ref())?;
            Record::remove(self.cert)?;
            return Err(error.context(
                "with two keys the device would not find the one of its certificate any more, so the new one is \
                 deleted again",
            ));
        }
        record.goes_on_with(Step::Request);
        record.write(self.cert)
    }

    /// Whether clients still get the old key.
    fn check_choice(&self, record: &Record, old: &Uri) -> anyhow::Result<()> {
        let old = self.keys.find(Some(old))?;
        let mut ways = vec![self.uri];
        if record.found_by_default {
            ways.push(None);
        }
        for uri in ways {
            let found = self.keys.find(uri)?;
            if found.public_key() != old.public_key() {
                let asked = uri.map_or_else(|| "no URI".to_owned(), ToString::to_string);
                bail!(
                    "the signer takes {} when it is asked for {asked}; does it know where the certificate is \
                     (device.cert_path in tedge.toml), and may it read it?",
                    found.uri()
                );
            }
        }
        Ok(())
    }

    fn request(&self, record: &mut Record) -> anyhow::Result<()> {
        let new = self.keys.find(Some(&record.new_key()?))?;
        // It may have come before this program was stopped.
        if self.next(new.as_ref()).is_err() {
            let old = self.keys.find(Some(&record.old_key()?))?;
            let chain = self.ca.issue(&old, &new)?;
            let text = certificate::to_pem(&chain)?;
            file::write(&next_path(self.cert), text.as_bytes())?;
        }
        record.goes_on_with(Step::Try);
        record.write(self.cert)
    }

    /// The certificate beside the installed one, if it is good.
    fn next(&self, new: &dyn PrivateKey) -> anyhow::Result<Vec<Certificate>> {
        let chain = certificate::read_chain(&next_path(self.cert))?;
        chain[0].check_key(new)?;
        self.ca.verify(&chain)?;
        Ok(chain)
    }

    fn try_new(&self, record: &mut Record) -> anyhow::Result<()> {
        let new = self.keys.find(Some(&record.new_key()?))?;
        if let Err(error) = self.next(new.as_ref()) {
            return self.ask_again(record, &error);
        }
        self.trial.run(&new, &next_path(self.cert))?;
        record.goes_on_with(Step::Switch);
        record.write(self.cert)
    }

    /// The certificate has waited for too long, say, or is gone.
    fn ask_again(&self, record: &mut Record, error: &anyhow::Error) -> anyhow::Result<()> {
        note(format_args!("another certificate is asked for: {error:#}"));
        file::remove(&next_path(self.cert))?;
        record.goes_on_with(Step::Request);
        record.write(self.cert)
    }

    fn switch(&self, record: &mut Record) -> anyhow::Result<()> {
        let new = self.keys.find(Some(&record.new_key()?))?;
        if self.installed()?.check_key(new.as_ref()).is_err() {
            let chain = match self.next(new.as_ref()) {
                Ok(chain) => chain,
                Err(error) => return self.ask_again(record, &error),
            };
            file::write(self.cert, certificate::to_pem(&chain)?.as_bytes())?;
        }
        say(format_args!(
            "{}: for the new key {}",
            self.cert.display(),
            new.uri()
        ))?;
        record.goes_on_with(Step::Hook);
        record.write(self.cert)?;
        file::remove(&next_path(self.cert))
    }

    fn run_hook(&self, record: &mut Record) -> anyhow::Result<()> {
        file::remove(&next_path(self.cert))?;
        if let Some(program) = &self.args.hook {
            let status = std::process::Command::new(program)
                .env("TEDGE_HSM_CERT", self.cert)
                .stdin(Stdio::null())
                .status()
                .with_context(|| format!("cannot run {}", program.display()))?;
            if !status.success() {
                bail!("{}: {status}", program.display());
            }
        }
        record.goes_on_with(Step::KeepOld);
        record.write(self.cert)
    }

    /// For how many days the old key stays; none if it is to go now.
    fn days_to_keep(&self, record: &mut Record) -> anyhow::Result<Option<u64>> {
        let now = unix_time();
        if now < record.since {
            // The clock was ahead.
            record.goes_on_with(Step::KeepOld);
            record.write(self.cert)?;
        }
        let left = (record.since + u64::from(self.args.keep_old) * A_DAY).saturating_sub(now);
        if left > 0 {
            return Ok(Some(left.div_ceil(A_DAY)));
        }
        let new = self.keys.find(Some(&record.new_key()?))?;
        self.check_in_use(new.as_ref())?;
        self.trial.run(&new, self.cert)?;
        record.goes_on_with(Step::DeleteOld);
        record.write(self.cert)?;
        Ok(None)
    }

    /// Whether the installed certificate is that of the new key.
    fn check_in_use(&self, new: &dyn PrivateKey) -> anyhow::Result<()> {
        self.installed()?.check_key(new).with_context(|| {
            format!(
                "somebody has installed another certificate; the old key is kept. To end the rotation, remove {} \
                 and delete the key that is not wanted",
                record_path(self.cert).display()
            )
        })
    }

    fn delete_old(&self, record: &Record) -> anyhow::Result<()> {
        let new = self.keys.find(Some(&record.new_key()?))?;
        self.check_in_use(new.as_ref())?;
        let old = record.old_key()?;
        let pin = self.keys.pin()?;
        let is_there = |keys: Vec<_>| !keys.is_empty();
        if self
            .keys
            .store
            .keys(Some(&old), pin.as_ref())
            .map_or(true, is_there)
        {
            self.keys
                .store
                .delete_key(&old, pin.as_ref())
                .map_err(|error| {
                    if is_refusal(&error) {
                        needs_rule(error, &old)
                    } else {
                        error
                    }
                })?;
        }
        Record::remove(self.cert)?;
        say(format_args!("deleted the old key {old}"))?;
        Ok(())
    }

    fn installed(&self) -> anyhow::Result<Certificate> {
        // It has one at least.
        Ok(certificate::read_chain(self.cert)?.swap_remove(0))
    }
}

impl Step {
    /// What failed, if it fails.
    fn what(self) -> &'static str {
        match self {
            Self::MakeKey => "the new key cannot be made",
            Self::Request => "there is no certificate for the new key",
            Self::Try => "the new key and certificate are not used yet",
            Self::Switch => "the new certificate cannot be installed",
            Self::Hook => "the hook failed",
            Self::KeepOld => "the old key is kept",
            Self::DeleteOld => "the old key cannot be deleted",
        }
    }
}

/// The error with the rule that is missing.
fn needs_rule(error: anyhow::Error, key: &Uri) -> anyhow::Error {
    let token = key.token.as_ref().map(|token| Uri {
        token: Some(token.clone()),
        object: key.object.clone(),
        ..Uri::default()
    });
    let keys = token.unwrap_or_else(|| Uri {
        id: None,
        ..key.clone()
    });
    let uid = rustix::process::geteuid().as_raw();
    let name = Root::default().user(uid);
    let user = if name == uid.to_string() {
        format!("uid = {uid}")
    } else {
        format!("user = \"{name}\"")
    };
    error.context(format!(
        "a rotation makes a key and deletes one, which the signer's policy does not let this user do; \
         the policy begins as a copy of /usr/share/tedge-hsm/tedge-p11-server.toml, and the rule for it is [[rule]] {user} operations = [\"create-key\", \"delete-key\"] keys = [\"{keys}\"]"
    ))
}

/// In seconds.
const A_DAY: u64 = 24 * 60 * 60;
