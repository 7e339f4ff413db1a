//! Where clients come in: the socket, the threads that accept, who a client is, and clients that are slow.

pub(crate) mod acceptors;
pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod peer;
