//! What the man pages that clap_mangen makes lack.

/// The page with the values of options in its synopsis, too: `[--uri URI]`. They are in its list of options.
pub(crate) fn with_values(page: &str) -> String {
    let options = page.lines().filter(|line| line.starts_with(r"\fB\-\-"));
    let mut completed = page.to_owned();
    for line in options {
        let Some((option, value)) = line.split_once(r"\fR ") else {
            continue;
        };
        let name = match value.split_once(r"\fI<") {
            Some((before, name)) if before.len() <= 1 => name.split(r">\fR").next().unwrap(),
            _ => continue,
        };
        let with_value = if value.starts_with('[') {
            format!(r"{option}\fR [\fI{name}\fR]")
        } else {
            format!(r"{option}\fR \fI{name}\fR")
        };
        completed = completed.replace(&format!(r"[{option}\fR]"), &format!("[{with_value}]"));
        completed = completed.replace(&format!(r"<{option}\fR>"), &with_value);
    }
    completed
}
