//! Environment variables, as sessions and services read them.

use bcvk_contract::spec::EnvVar;

/// Writes lines of `/etc/environment` (`pam_env(8)`), which sessions read. Between quotes it leaves
/// blanks, quotes and a backslash at the end alone (Linux-PAM, modules/pam_env/pam_env.c); it has
/// no way to write a `#`, which begins a comment.
pub(crate) fn environment(env: &[EnvVar]) -> String {
    env.iter()
        .map(|var| format!("{}='{}'\n", var.name, var.value))
        .collect()
}

/// Writes assignments for `DefaultEnvironment=` (`systemd-system.conf(5)`), which services get.
pub(crate) fn manager_env(env: &[EnvVar]) -> String {
    env.iter()
        .map(|var| {
            let assignment = var
                .to_string()
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('%', "%%");
            format!("\"{assignment}\"")
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_values_survive_systemds_quoting() {
        let env = EnvVar {
            name: "A".into(),
            value: r#"100% "b" \c"#.into(),
        };
        assert_eq!(manager_env(&[env]), r#""A=100%% \"b\" \\c""#);
    }

    #[test]
    fn environment_values_survive_pams_quoting() {
        for (value, line) in [
            ("\"b\" c", "A='\"b\" c'\n"),
            ("it's", "A='it's'\n"),
            ("end\\", "A='end\\'\n"),
            ("", "A=''\n"),
        ] {
            let (name, value) = ("A".into(), value.into());
            assert_eq!(environment(&[EnvVar { name, value }]), line);
        }
    }
}
