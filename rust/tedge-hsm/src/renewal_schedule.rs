//! When the installed certificate is to be renewed, by the options and by the clock.

use std::time::{Duration, SystemTime};

use crate::certificate::Certificate;
use crate::renewal_plan::{Plan, is_urgent, pause_until, plan};
use crate::renewal_record::RenewalRecord;

/// When a certificate is to be renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// So many days before it ends at the latest.
    pub(crate) days: Option<u32>,
    /// At a moment of the device's own.
    pub(crate) spread: bool,
}

impl Schedule {
    /// When, after what was tried.
    pub(crate) fn due(
        self,
        certificate: &Certificate,
        history: &RenewalRecord,
    ) -> anyhow::Result<Plan> {
        let now = now()?;
        if self.spread {
            let reserve = self.days.map(|days| u64::from(days) * SECONDS_A_DAY);
            let term = certificate.term();
            return Ok(plan(&term, reserve, &history.failures(), now.as_secs()));
        }
        let left = certificate.days_left(now);
        Ok(match self.days {
            Some(days) if left >= i64::from(days) => {
                let reserve = u64::from(days) * SECONDS_A_DAY;
                Plan::At(certificate.not_after().as_secs().saturating_sub(reserve))
            }
            _ => Plan::Now,
        })
    }

    /// Until when is to be waited after a failure.
    pub(crate) fn pause(
        self,
        certificate: &Certificate,
        history: &RenewalRecord,
    ) -> anyhow::Result<Option<u64>> {
        if !self.spread {
            return Ok(None);
        }
        let now = now()?.as_secs();
        Ok(pause_until(&certificate.term(), &history.failures(), now))
    }

    /// Whether half of the time is gone in which the certificate should have been renewed.
    pub(crate) fn is_urgent(self, certificate: &Certificate) -> anyhow::Result<bool> {
        if self.days.is_none() && !self.spread {
            return Ok(false);
        }
        let reserve = self.days.map(|days| u64::from(days) * SECONDS_A_DAY);
        let term = certificate.term();
        Ok(is_urgent(&term, reserve, now()?.as_secs()))
    }
}

/// Since the Unix epoch.
pub(crate) fn now() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

const SECONDS_A_DAY: u64 = 86_400;
