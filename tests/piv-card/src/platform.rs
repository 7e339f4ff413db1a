//! What the applet's firmware asks of its board.

use rand_core::OsRng;
use trussed::virt::{Store, UserInterface};

/// The random numbers are the system's: those of `trussed::virt` are the same in every run, and so would
/// be the keys of all cards.
pub(crate) struct Platform<'a> {
    rng: OsRng,
    store: Store<'a>,
    ui: UserInterface,
}

impl<'a> Platform<'a> {
    pub(crate) fn new(store: Store<'a>) -> Self {
        Self {
            rng: OsRng,
            store,
            ui: UserInterface::new(),
        }
    }
}

impl<'a> trussed::Platform for Platform<'a> {
    type R = OsRng;
    type S = Store<'a>;
    type UI = UserInterface;

    fn rng(&mut self) -> &mut OsRng {
        &mut self.rng
    }

    fn store(&self) -> Store<'a> {
        self.store
    }

    fn user_interface(&mut self) -> &mut UserInterface {
        &mut self.ui
    }
}
