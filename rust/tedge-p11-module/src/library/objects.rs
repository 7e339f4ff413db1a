//! Objects: searches, attributes, keys that come and go.

use std::sync::Arc;

use cryptoki_sys::*;

use super::{Library, lock};
use crate::attribute::{Class, Value, needs_details};
use crate::generate::NewKey;
use crate::mechanism::Mechanism;
use crate::object::Object;
use crate::rv::{Result, Rv};
use crate::signer::Wanted;
use crate::slot::{Login, Slot};
use crate::template::Template;

impl Library {
    pub(crate) fn find_init(&self, handle: CK_SESSION_HANDLE, template: &Template) -> Result<()> {
        let session = self.session(handle)?;
        if session.active().found.is_some() {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        let found = self.find(&session.slot, template)?;
        let handles = found.iter().map(|object| object.handle).collect();
        session.active().found = Some(handles);
        Ok(())
    }

    /// The next handles, at most `max`.
    pub(crate) fn find_next(
        &self,
        handle: CK_SESSION_HANDLE,
        max: usize,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let session = self.session(handle)?;
        let mut active = session.active();
        let found = active.found.as_mut();
        let found = found.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        let len = max.min(found.len());
        Ok(found.drain(..len).collect())
    }

    pub(crate) fn find_final(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.session(handle)?;
        let found = session.active().found.take();
        found.map(|_| ()).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    /// The values of attributes, in their order.
    pub(crate) fn values(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: &[CK_ATTRIBUTE_TYPE],
    ) -> Result<Vec<Value>> {
        let session = self.session(handle)?;
        let object = self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)?;
        let pin = session.slot.pin();
        object.values(attributes, &self.signer, pin.as_ref())
    }

    /// Whether the handle is one of an object.
    pub(crate) fn has_object(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)
            .map(|_| ())
    }

    pub(crate) fn destroy(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        let object = self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)?;
        session.need_rw()?;
        if object.listed.class == Class::Certificate {
            return Err(Rv(CKR_ACTION_PROHIBITED));
        }
        let pin = session.slot.pin();
        self.signer.delete_key(&object.listed.uri, pin.as_ref())?;
        lock(&self.objects).remove(object.handle);
        Ok(())
    }

    /// Handles of the public and the private key.
    pub(crate) fn generate_key_pair(
        &self,
        handle: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        public: &Template,
        private: &Template,
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let session = self.session(handle)?;
        let new = NewKey::of(mechanism.makes()?, public, private)?;
        session.need_rw()?;
        let (token, pin) = (self.token(&session.slot)?, session.slot.pin());
        let uri = self.signer.create_key(
            &token,
            pin.as_ref(),
            new.spec,
            &new.label,
            new.id.as_deref(),
        )?;
        let made = Wanted::named(uri);
        let found = self.signer.objects(&token, &made, pin.as_ref())?;
        let mut objects = lock(&self.objects);
        let mut put = |class| -> Result<_> {
            let mut found = found.iter();
            let found = found.find(|found| found.listed.class == class);
            let found = found.ok_or(Rv(CKR_DEVICE_ERROR))?;
            let object = objects.put(session.slot.id, found.clone());
            object.forget();
            Ok(object.handle)
        };
        Ok((put(Class::PublicKey)?, put(Class::PrivateKey)?))
    }

    /// The objects of a slot that fit the template, each with its handle.
    fn find(&self, slot: &Slot, template: &Template) -> Result<Vec<Arc<Object>>> {
        let Some(wanted) = wanted(template)? else {
            return Ok(Vec::new());
        };
        let (token, pin) = (self.token(slot)?, slot.pin());
        let found = self.signer.objects(&token, &wanted, pin.as_ref())?;
        let hidden = token.needs_pin && !matches!(slot.login(), Login::User(_));
        let found = found
            .into_iter()
            .filter(|found| !(hidden && found.listed.private));
        let all: Vec<_> = {
            let mut objects = lock(&self.objects);
            found.map(|found| objects.put(slot.id, found)).collect()
        };
        let mut found = Vec::new();
        for object in all {
            match object.matches(template, &self.signer, pin.as_ref()) {
                Ok(true) => found.push(object),
                Err(rv @ Rv(CKR_DEVICE_ERROR)) => return Err(rv),
                // One that went away just now, or that nobody can read, hides no other.
                Ok(false) | Err(_) => {}
            }
        }
        Ok(found)
    }
}

/// What a search asks the signer for; none if no object can fit.
fn wanted(template: &Template) -> Result<Option<Wanted>> {
    let class = match template.number(CKA_CLASS)? {
        None => None,
        Some(CKO_PRIVATE_KEY) => Some(Class::PrivateKey),
        Some(CKO_PUBLIC_KEY) => Some(Class::PublicKey),
        Some(CKO_CERTIFICATE) => Some(Class::Certificate),
        Some(_) => return Ok(None),
    };
    // There are no objects of a session.
    if template.flag(CKA_TOKEN)? == Some(false) {
        return Ok(None);
    }
    let label = template.get(CKA_LABEL).map(std::str::from_utf8);
    let Ok(label) = label.transpose() else {
        return Ok(None);
    };
    let some = |value: &&[u8]| !value.is_empty();
    let classes = class.map_or(
        vec![Class::PrivateKey, Class::PublicKey, Class::Certificate],
        |class| vec![class],
    );
    let mut attributes = template.iter().map(|(attribute, _)| attribute);
    let contents = attributes.any(|a| classes.iter().any(|class| needs_details(*class, a)));
    Ok(Some(Wanted {
        class,
        id: template.get(CKA_ID).filter(some).map(<[u8]>::to_vec),
        label: label.filter(|label| !label.is_empty()).map(str::to_owned),
        contents,
    }))
}
