//! Stand-ins for what names one device, one person or one customer, such as `host-1`. They are the same in each text, so
//! that a reader still sees which two are equal.

use std::collections::BTreeMap;

/// Names that must not be in a text.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// With their stand-ins.
    known: BTreeMap<String, String>,
    /// Of how many names of a kind there are stand-ins.
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// The stand-in of a name; one that many devices have stays as it is.
    pub(super) fn stand_in(&mut self, kind: &'static str, name: &str) -> String {
        if is_common(name) {
            return name.to_owned();
        }
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let stand_in = format!("{kind}-{count}");
        self.known.insert(name.to_owned(), stand_in.clone());
        stand_in
    }

    /// The same stand-in for another form of a name.
    pub(super) fn add_form(&mut self, form: String, stand_in: &str) {
        if !is_common(&form) {
            self.known
                .entry(form)
                .or_insert_with(|| stand_in.to_owned());
        }
    }

    /// How many names have one.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// `text` with the stand-ins in place of the names. A name counts as a whole word only, since it may be part of
    /// another word.
    pub(super) fn replaced(&self, text: &str) -> String {
        let long = self.known.iter().filter(|(name, _)| name.len() >= SHORTEST);
        let mut names: Vec<_> = long.collect();
        // A part of a longer name comes after it.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut in_word = false;
        while let Some(next) = rest.chars().next() {
            let found = names.iter().find(|(name, _)| {
                let after = rest.strip_prefix(name.as_str());
                !in_word && after.is_some_and(|after| !after.starts_with(char::is_alphanumeric))
            });
            let (replaced, by) = match found {
                Some((name, stand_in)) => (name.len(), stand_in.as_str()),
                None => (next.len_utf8(), &rest[..next.len_utf8()]),
            };
            out.push_str(by);
            in_word = rest[..replaced].ends_with(char::is_alphanumeric);
            rest = &rest[replaced..];
        }
        out
    }
}

/// What our pages and units name, and words that tell nothing.
fn is_common(name: &str) -> bool {
    name.is_empty()
        || COMMON
            .iter()
            .any(|common| name.eq_ignore_ascii_case(common))
}

const COMMON: &[&str] = &[
    "device",
    "tls",
    "claim",
    "tedge",
    "tedge-p11",
    "tedge-hsm",
    "root",
    "localhost",
    "localhost.localdomain",
    "none",
    "private",
    "public",
    "token",
    "debian",
    "raspberrypi",
    "thin-edge.io",
    "thin-edge.github.io",
    "github.com",
    "127.0.0.1",
    "::1",
    "removed",
];
/// By Debian's numbers: users below it belong to programs.
pub(super) const FIRST_PERSON: u32 = 1000;
/// In bytes. A shorter one is replaced only where its form tells what it is.
const SHORTEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_word_and_the_longest_counts() {
        let mut names = Names::default();
        assert_eq!(names.stand_in("host", "acme"), "host-1");
        assert_eq!(names.stand_in("host", "acme.example"), "host-2");
        assert_eq!(names.stand_in("user", "acme"), "host-1");
        assert_eq!(names.stand_in("label", "tls"), "tls");
        assert_eq!(
            names.replaced("acme: acme.example:8883, acmes, /home/acme/x äacme acme_acme"),
            "host-1: host-2:8883, acmes, /home/host-1/x äacme host-1_host-1"
        );
    }
}
