//! Stand-ins for what names one device, one person or one customer, such as `host-1`. They are the same in each text, so
//! that a reader still sees which two are equal.

use std::collections::{BTreeMap, HashMap};

/// Names that must not be in a text. Letters are compared without their case, as resolvers, brokers and certificates write
/// host names in small ones.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In small letters.
    known: BTreeMap<String, Known>,
    /// Of how many names of a kind there are stand-ins.
    counts: BTreeMap<&'static str, usize>,
    /// How many names were found by their form.
    found: usize,
}

#[derive(Debug)]
struct Known {
    stand_in: String,
    /// Whether it counts where nothing but the name itself tells what it is.
    is_told: bool,
}

/// Where a name was found by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In settings, findings, tokens.
    Machine,
    /// In a log, into which clients and brokers write names of their choice: common words as well. Such a name is replaced
    /// where it has its form, and nowhere else.
    Log,
}

impl Names {
    /// The stand-in of a name; one that many devices have stays as it is.
    pub(super) fn stand_in(&mut self, kind: &'static str, name: &str) -> String {
        self.add(kind, name, true)
    }

    /// The same for a name that was found by its form. Of those beyond the most that there can be it tells the kind only.
    pub(super) fn found(&mut self, source: Source, kind: &'static str, name: &str) -> String {
        if !is_common(name) && !self.known.contains_key(&name.to_ascii_lowercase()) {
            if self.found >= MOST_FOUND {
                return format!("{kind}-more");
            }
            self.found += 1;
        }
        self.add(kind, name, source == Source::Machine)
    }

    fn add(&mut self, kind: &'static str, name: &str, is_told: bool) -> String {
        if is_common(name) {
            return name.to_owned();
        }
        let name = name.to_ascii_lowercase();
        if let Some(known) = self.known.get_mut(&name) {
            known.is_told |= is_told;
            return known.stand_in.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let stand_in = format!("{kind}-{count}");
        let known = Known {
            stand_in: stand_in.clone(),
            is_told,
        };
        self.known.insert(name, known);
        stand_in
    }

    /// The same stand-in for another form of a name.
    pub(super) fn add_form(&mut self, source: Source, form: &str, stand_in: &str) {
        // Names beyond the most have one stand-in.
        if is_common(form) || stand_in.ends_with("-more") {
            return;
        }
        let known = self
            .known
            .entry(form.to_ascii_lowercase())
            .or_insert_with(|| Known {
                stand_in: stand_in.to_owned(),
                is_told: false,
            });
        known.is_told |= source == Source::Machine;
    }

    /// How many names have one.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// `text` with the stand-ins in place of the names. A name counts as a whole word only, since it may be part of
    /// another word.
    pub(super) fn replaced(&self, text: &str) -> String {
        let told = self
            .known
            .iter()
            .filter(|(name, known)| known.is_told && name.len() >= SHORTEST);
        // By how they begin, as each place of a long text is looked at.
        let mut names: HashMap<[u8; SHORTEST], Vec<(&str, &str)>> = HashMap::new();
        for (name, known) in told {
            let begin = begin(name).unwrap_or_default();
            let names = names.entry(begin).or_default();
            names.push((name, &known.stand_in));
        }
        for names in names.values_mut() {
            // A part of a longer name comes after it.
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut in_word = false;
        while let Some(next) = rest.chars().next() {
            let candidates = begin(rest).filter(|_| !in_word);
            let candidates = candidates.and_then(|begin| names.get(&begin));
            let found = candidates.into_iter().flatten().find(|(name, _)| {
                rest.get(..name.len()).is_some_and(|begin| {
                    begin.eq_ignore_ascii_case(name)
                        && !rest[name.len()..].starts_with(char::is_alphanumeric)
                })
            });
            let (replaced, by) = match found {
                Some((name, stand_in)) => (name.len(), *stand_in),
                None => (next.len_utf8(), &rest[..next.len_utf8()]),
            };
            out.push_str(by);
            in_word = rest[..replaced].ends_with(char::is_alphanumeric);
            rest = &rest[replaced..];
        }
        out
    }
}

/// The first bytes in small letters.
fn begin(text: &str) -> Option<[u8; SHORTEST]> {
    let begin = text.as_bytes().first_chunk::<SHORTEST>()?;
    Some(begin.map(|byte| byte.to_ascii_lowercase()))
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
/// Names that are found by their form. Each is looked for at each place of a text, and another user's file or a client may
/// bring as many as they like.
const MOST_FOUND: usize = 2000;

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

    #[test]
    fn letters_are_compared_without_their_case() {
        let mut names = Names::default();
        assert_eq!(names.stand_in("host", "Plant-Seven"), "host-1");
        assert_eq!(names.stand_in("host", "PLANT-seven"), "host-1");
        let text = "plant-seven PLANT-SEVEN Plant-Seven2 plänt-seven";
        assert_eq!(
            names.replaced(text),
            "host-1 host-1 Plant-Seven2 plänt-seven"
        );
    }

    /// Clients of the signer choose labels.
    #[test]
    fn a_name_of_the_log_is_replaced_where_it_has_its_form_only() {
        let mut names = Names::default();
        assert_eq!(names.found(Source::Log, "label", "refused"), "label-1");
        names.add_form(Source::Log, "Refused", "label-1");
        assert_eq!(names.replaced("refused"), "refused");
        // The token has that label, too.
        assert_eq!(names.found(Source::Machine, "label", "refused"), "label-1");
        assert_eq!(names.replaced("refused"), "label-1");
    }

    #[test]
    fn there_are_only_so_many_names() {
        let mut names = Names::default();
        for number in 0..2 * MOST_FOUND {
            let shown = names.found(Source::Machine, "label", &format!("name{number}"));
            assert_eq!(shown == "label-more", number >= MOST_FOUND, "{number}");
        }
        assert_eq!(names.len(), MOST_FOUND);
        assert_eq!(names.found(Source::Machine, "label", "name7"), "label-8");
        assert_eq!(names.stand_in("host", "acme"), "host-1");
    }
}
