//! Who answers the applet's requests: PINs, RSA, files in pieces, and Trussed itself for the rest.

use trussed::Platform;
use trussed::backend::{Backend as _, BackendId};
use trussed::serde_extensions::{ExtensionDispatch, ExtensionId, ExtensionImpl};
use trussed::service::ServiceResources;
use trussed::types::Context;
use trussed_auth::AuthExtension;
use trussed_auth_backend::{AuthBackend, AuthContext, FilesystemLayout};
use trussed_chunked::ChunkedExtension;
use trussed_core::Error;
use trussed_core::api::{Reply, Request, reply, request};
use trussed_core::types::Location;
use trussed_hpke::HpkeExtension;
use trussed_rsa_alloc::SoftwareRsa;
use trussed_staging::{StagingBackend, StagingContext};
use trussed_wrap_key_to_file::WrapKeyToFileExtension;

/// Asked in this order.
pub(crate) const BACKENDS: &[BackendId<Backend>] = &[
    BackendId::Custom(Backend::Rsa),
    BackendId::Custom(Backend::Staging),
    BackendId::Custom(Backend::Auth),
    BackendId::Core,
];

pub(crate) struct Backends {
    auth: AuthBackend,
    rsa: SoftwareRsa,
    staging: StagingBackend,
}

pub(crate) enum Backend {
    Auth,
    Rsa,
    Staging,
}

#[derive(Clone, Copy)]
pub(crate) enum Extension {
    Auth,
    Chunked,
    Hpke,
    WrapKeyToFile,
}

#[derive(Default)]
pub(crate) struct Contexts {
    auth: AuthContext,
    staging: StagingContext,
}

impl Backends {
    pub(crate) fn new() -> Self {
        Self {
            auth: AuthBackend::new(Location::Internal, FilesystemLayout::V1),
            rsa: SoftwareRsa,
            staging: StagingBackend::new(),
        }
    }
}

impl ExtensionDispatch for Backends {
    type BackendId = Backend;
    type Context = Contexts;
    type ExtensionId = Extension;

    fn core_request<P: Platform>(
        &mut self,
        backend: &Backend,
        ctx: &mut Context<Contexts>,
        request: &Request,
        resources: &mut ServiceResources<P>,
    ) -> Result<Reply, Error> {
        let Context { core, backends, .. } = ctx;
        match backend {
            Backend::Auth => self
                .auth
                .request(core, &mut backends.auth, request, resources),
            Backend::Rsa => self.rsa.request(core, &mut (), request, resources),
            Backend::Staging => {
                self.staging
                    .request(core, &mut backends.staging, request, resources)
            }
        }
    }

    fn extension_request<P: Platform>(
        &mut self,
        backend: &Backend,
        extension: &Extension,
        ctx: &mut Context<Contexts>,
        request: &request::SerdeExtension,
        resources: &mut ServiceResources<P>,
    ) -> Result<reply::SerdeExtension, Error> {
        let Context { core, backends, .. } = ctx;
        macro_rules! ask {
            ($backend:ident, $extension:ty) => {
                ExtensionImpl::<$extension>::extension_request_serialized(
                    &mut self.$backend,
                    core,
                    &mut backends.$backend,
                    request,
                    resources,
                )
            };
        }
        match (backend, extension) {
            (Backend::Auth, Extension::Auth) => ask!(auth, AuthExtension),
            (Backend::Staging, Extension::Chunked) => ask!(staging, ChunkedExtension),
            (Backend::Staging, Extension::Hpke) => ask!(staging, HpkeExtension),
            (Backend::Staging, Extension::WrapKeyToFile) => ask!(staging, WrapKeyToFileExtension),
            _ => Err(Error::RequestNotAvailable),
        }
    }
}

macro_rules! extension_ids {
    ($($extension:ty => $id:ident = $number:literal),* $(,)?) => {
        $(impl ExtensionId<$extension> for Backends {
            type Id = Extension;
            const ID: Extension = Extension::$id;
        })*

        impl From<Extension> for u8 {
            fn from(extension: Extension) -> u8 {
                match extension {
                    $(Extension::$id => $number,)*
                }
            }
        }

        impl TryFrom<u8> for Extension {
            type Error = Error;

            fn try_from(number: u8) -> Result<Self, Error> {
                match number {
                    $($number => Ok(Self::$id),)*
                    _ => Err(Error::FunctionNotSupported),
                }
            }
        }
    };
}

extension_ids! {
    AuthExtension => Auth = 0,
    ChunkedExtension => Chunked = 1,
    HpkeExtension => Hpke = 2,
    WrapKeyToFileExtension => WrapKeyToFile = 3,
}
