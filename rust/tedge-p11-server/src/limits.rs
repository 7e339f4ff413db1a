//! How many connections a user may hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of each user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    connections: Arc<Mutex<HashMap<u32, usize>>>,
}

/// A connection that is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    uid: u32,
    limits: Limits,
}

impl Limits {
    /// A place for one more connection of `uid`; none if it has as many as it may, or if there are as
    /// many as there may be.
    pub(crate) fn admit(&self, uid: u32) -> Option<Place> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let total: usize = connections.values().sum();
        let own = connections.entry(uid).or_default();
        if *own >= MAX_A_USER || total >= MAX_IN_ALL {
            return None;
        }
        *own += 1;
        Some(Place {
            uid,
            limits: self.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self
            .limits
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = connections.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                connections.remove(&self.uid);
            }
        }
    }
}

/// Connections of one user: far more than its programs need, and few enough to leave others theirs.
const MAX_A_USER: usize = 200;
/// Connections in all; each has two descriptors while it is answered, of 1,024 by default.
const MAX_IN_ALL: usize = 450;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others() {
        let limits = Limits::default();
        let mut greedy: Vec<_> = (0..MAX_A_USER).map(|_| limits.admit(1).unwrap()).collect();
        assert!(limits.admit(1).is_none());
        let other = limits.admit(2).unwrap();
        greedy.pop();
        assert!(limits.admit(1).is_some());
        drop((greedy, other));
        assert!(limits.connections.lock().unwrap().is_empty());
    }
}
