//! Objects and their handles. A handle stays the same for as long as a list shows the object, in every
//! session of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use tedge_p11_client::{ObjectType, Pin, PrivateKey as _, SocketKey};

use crate::attribute::{Class, Details, Found, KeyDetails, Listed, Said, Value, needs_details};
use crate::rv::{Result, Rv};
use crate::signer::{Signer, with_type};
use crate::template::Template;

/// An object that some list has shown.
pub struct Object {
    pub(crate) handle: CK_OBJECT_HANDLE,
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) listed: Listed,
    /// By the last list that told it.
    said: Mutex<Arc<Said>>,
    kept: Mutex<Option<Kept>>,
}

/// What the signer was asked for, and when.
#[derive(Clone)]
struct Kept {
    details: Arc<Details>,
    /// Of a private key, once it was asked for.
    key: Option<Arc<SocketKey>>,
    since: Instant,
}

impl Object {
    /// An object as a list shows it.
    #[must_use]
    pub fn new(handle: CK_OBJECT_HANDLE, slot: CK_SLOT_ID, listed: Listed) -> Self {
        Self {
            handle,
            slot,
            listed,
            said: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// What a list has just told besides.
    fn learn(&self, said: Option<Said>, details: Option<Details>) {
        if let Some(said) = said {
            *lock(&self.said) = Arc::new(said);
        }
        let mut kept = lock(&self.kept);
        match (details, kept.as_mut()) {
            (Some(details), Some(kept)) if *kept.details == details => kept.since = Instant::now(),
            (Some(details), _) => {
                *kept = Some(Kept {
                    details: Arc::new(details),
                    key: None,
                    since: Instant::now(),
                });
            }
            // Another key may have the name.
            (None, Some(old)) if old.since.elapsed() > DETAILS_AGE => *kept = None,
            (None, _) => {}
        }
    }

    fn said(&self) -> Arc<Said> {
        lock(&self.said).clone()
    }

    /// The values of some attributes, in their order. The signer is asked only if one takes that; if it
    /// does not answer, its failure is the result.
    pub(crate) fn values(
        &self,
        attributes: &[CK_ATTRIBUTE_TYPE],
        signer: &Signer,
        pin: Option<&Pin>,
    ) -> Result<Vec<Value>> {
        let class = self.listed.class;
        let needs = attributes.iter().any(|a| needs_details(class, *a));
        let details = match needs.then(|| self.kept(signer, pin)).transpose() {
            // A key that nobody can use here, such as one whose token has no public key of it, has no such attributes.
            // That it fails would hide all others from a program that reads them one after the other.
            Err(UNUSABLE) => None,
            details => details?,
        };
        let details = details.as_ref().map(|kept| &*kept.details);
        let said = self.said();
        let values = attributes
            .iter()
            .map(|a| self.listed.value(*a, &said, details));
        Ok(values.collect())
    }

    /// Whether the object has every attribute of the template. What the list says is looked at first: the
    /// signer is asked only about objects that fit so far.
    pub(crate) fn matches(
        &self,
        template: &Template,
        signer: &Signer,
        pin: Option<&Pin>,
    ) -> Result<bool> {
        let class = self.listed.class;
        let is = |value: &[u8], own: &Value| matches!(own, Value::Is(own) if own == value);
        let (later, now): (Vec<_>, Vec<_>) = template
            .iter()
            .partition(|(attribute, _)| needs_details(class, *attribute));
        let said = self.said();
        let fits = |(attribute, value): &(CK_ATTRIBUTE_TYPE, &[u8])| {
            is(value, &self.listed.value(*attribute, &said, None))
        };
        if !now.iter().all(fits) {
            return Ok(false);
        }
        if later.is_empty() {
            return Ok(true);
        }
        let attributes: Vec<_> = later.iter().map(|(attribute, _)| *attribute).collect();
        let own = self.values(&attributes, signer, pin)?;
        let mut pairs = later.iter().zip(&own);
        Ok(pairs.all(|((_, value), own)| is(value, own)))
    }

    /// The private key and its public numbers.
    pub(crate) fn key(
        &self,
        signer: &Signer,
        pin: Option<&Pin>,
    ) -> Result<(Arc<SocketKey>, Arc<Details>)> {
        let known = lock(&self.kept).clone();
        let kept = match known {
            Some(kept) if kept.key.is_some() => kept,
            _ => self.ask_and_keep(signer, pin)?,
        };
        let key = kept.key.ok_or(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED))?;
        Ok((key, kept.details))
    }

    /// What is kept is asked for anew when it is next wanted.
    pub(crate) fn forget(&self) {
        *lock(&self.kept) = None;
    }

    fn kept(&self, signer: &Signer, pin: Option<&Pin>) -> Result<Kept> {
        if let Some(kept) = lock(&self.kept).clone() {
            return Ok(kept);
        }
        self.ask_and_keep(signer, pin)
    }

    fn ask_and_keep(&self, signer: &Signer, pin: Option<&Pin>) -> Result<Kept> {
        // Not under the lock: a request takes its time.
        let (details, key) = self.ask(signer, pin)?;
        let kept = Kept {
            details: Arc::new(details),
            key: key.map(Arc::new),
            since: Instant::now(),
        };
        *lock(&self.kept) = Some(kept.clone());
        Ok(kept)
    }

    fn ask(&self, signer: &Signer, pin: Option<&Pin>) -> Result<(Details, Option<SocketKey>)> {
        let uri = &self.listed.uri;
        let details = |key: &SocketKey| {
            KeyDetails::new(key.public_key(), key.schemes(), key.signs_digests())
                .map(Details::Key)
                .ok_or(Rv(CKR_FUNCTION_FAILED))
        };
        match self.listed.class {
            Class::Certificate => Ok((signer.certificate(uri)?, None)),
            Class::PrivateKey => {
                let key = signer.key(uri, pin)?;
                Ok((details(&key)?, Some(key)))
            }
            Class::PublicKey => {
                // The private half tells its public key whole, also where there is no object for it.
                let private = with_type(uri, ObjectType::Private);
                match signer.key(&private, pin) {
                    Ok(key) => Ok((details(&key)?, None)),
                    Err(rv @ UNUSABLE) => {
                        let public = signer.public_key(uri);
                        Ok((public.map_err(|_| rv)?, None))
                    }
                    Err(_) => Ok((signer.public_key(uri)?, None)),
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The objects with handles.
#[derive(Default)]
pub(crate) struct Objects {
    last: CK_OBJECT_HANDLE,
    by_handle: HashMap<CK_OBJECT_HANDLE, Arc<Object>>,
    by_name: HashMap<(CK_SLOT_ID, Class, String), CK_OBJECT_HANDLE>,
}

impl Objects {
    pub(crate) fn get(&self, handle: CK_OBJECT_HANDLE) -> Option<Arc<Object>> {
        self.by_handle.get(&handle).cloned()
    }

    /// The object that a list has just shown. What is kept of it longer than a few seconds is asked for
    /// anew: another key may have the name.
    pub(crate) fn put(&mut self, slot: CK_SLOT_ID, found: Found) -> Arc<Object> {
        let Found {
            listed,
            said,
            details,
        } = found;
        let name = (slot, listed.class, listed.uri.to_string());
        if let Some(known) = self.by_name.get(&name).and_then(|h| self.get(*h)) {
            if known.listed == listed {
                known.learn(said, details);
                return known;
            }
        }
        // A process that lives for years sees keys come and go: what it can fill is bounded.
        if self.by_handle.len() >= MAX_OBJECTS {
            self.by_handle.clear();
            self.by_name.clear();
        }
        self.last += 1;
        let object = Arc::new(Object::new(self.last, slot, listed));
        object.learn(said, details);
        if let Some(old) = self.by_name.insert(name, object.handle) {
            self.by_handle.remove(&old);
        }
        self.by_handle.insert(object.handle, object.clone());
        object
    }

    /// Of all objects of a slot, what is kept with a PIN in it.
    pub(crate) fn forget_details(&self, slot: CK_SLOT_ID) {
        let objects = self.by_handle.values();
        objects
            .filter(|object| object.slot == slot)
            .for_each(|object| object.forget());
    }

    /// Gone for good.
    pub(crate) fn remove(&mut self, handle: CK_OBJECT_HANDLE) {
        if let Some(object) = self.by_handle.remove(&handle) {
            let listed = &object.listed;
            self.by_name
                .remove(&(object.slot, listed.class, listed.uri.to_string()));
        }
    }
}

/// What the signer's "unsupported" is here.
const UNUSABLE: Rv = Rv(CKR_MECHANISM_INVALID);
/// Of all tokens together.
const MAX_OBJECTS: usize = 65_536;
/// How long a list may show an object before its public key is looked at again.
const DETAILS_AGE: Duration = Duration::from_secs(10);
