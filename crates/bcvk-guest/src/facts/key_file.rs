//! Files of `KEY=VALUE` lines in groups (Desktop Entry Specification, "Basic format of the file";
//! systemd.syntax(7)).

/// Returns the last value of `key` in `[group]`.
pub(super) fn value<'t>(text: &'t str, group: &str, key: &str) -> Option<&'t str> {
    let mut is_in_group = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            is_in_group = name.strip_suffix(']') == Some(group);
        } else if is_in_group
            && let Some((name, value)) = line.split_once('=')
            && name.trim_end() == key
        {
            found = Some(value.trim_start());
        }
    }
    found
}
