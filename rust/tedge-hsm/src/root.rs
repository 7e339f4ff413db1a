//! Where /dev, /sys, /etc, /run, /proc and /usr are: a tree made up for a test has them elsewhere.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The folder that everything of the machine is looked for in.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self("/".into())
    }
}

impl Root {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Whether it is that of this machine, whose services can be asked.
    pub(crate) fn is_machine(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where the machine's absolute `path` is.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The id of a group by /etc/group; `None` if there is no such group.
    pub(crate) fn gid(&self, group: &str) -> Option<u32> {
        self.database("group")
            .into_iter()
            .find(|(name, _)| name == group)
            .map(|(_, gid)| gid)
    }

    /// The name of a group, or its number.
    pub(crate) fn group(&self, gid: u32) -> String {
        name(self.database("group"), gid)
    }

    /// The id of a user by /etc/passwd; `None` if there is no such user.
    pub(crate) fn uid(&self, user: &str) -> Option<u32> {
        self.database("passwd")
            .into_iter()
            .find(|(name, _)| name == user)
            .map(|(_, uid)| uid)
    }

    /// The id of a user's own group by /etc/passwd; `None` if there is no such user.
    pub(crate) fn own_gid(&self, user: &str) -> Option<u32> {
        let text =
            tedge_file::read_text(&self.path("/etc/passwd"), tedge_file::MAX_SETTINGS).ok()?;
        let mut lines = text.lines().map(|line| line.split(':'));
        let mut fields = lines.find_map(|mut fields| (fields.next()? == user).then_some(fields))?;
        // The password and the uid are before it.
        fields.nth(2)?.parse().ok()
    }

    /// The name of a user, or its number.
    pub(crate) fn user(&self, uid: u32) -> String {
        name(self.database("passwd"), uid)
    }

    /// `0660 root:tss`.
    pub(crate) fn permissions(&self, file: &std::fs::Metadata) -> String {
        format!(
            "{:04o} {}:{}",
            file.mode() & 0o7777,
            self.user(file.uid()),
            self.group(file.gid())
        )
    }

    /// Names and ids in /etc/passwd or /etc/group.
    fn database(&self, name: &str) -> Vec<(String, u32)> {
        let text = tedge_file::read_text(&self.path("/etc").join(name), tedge_file::MAX_SETTINGS)
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?.to_owned();
                let id = fields.nth(1)?.parse().ok()?;
                Some((name, id))
            })
            .collect()
    }
}

fn name(database: Vec<(String, u32)>, id: u32) -> String {
    database
        .into_iter()
        .find(|(_, known)| *known == id)
        .map_or_else(|| id.to_string(), |(name, _)| name)
}
