//! Part of a spec that may be shown.

use serde_json::Value;

use super::VmSpec;

/// Keys of the spec that nobody but the guest needs.
const SECRETS: [&str; 1] = ["host_key"];

impl VmSpec {
    /// Returns the spec without secrets: for people, their scripts and their bug reports.
    pub fn public(&self) -> serde_json::Result<Value> {
        let mut value = serde_json::to_value(self)?;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|key, _| !SECRETS.contains(&key.as_str()));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use crate::examples::example;

    #[test]
    fn no_private_key_is_shown() {
        let spec = example();
        let whole = serde_json::to_string(&spec).expect("serialise");
        assert!(whole.contains("PRIVATE"), "the example must have one");
        let public = spec.public().expect("serialise");
        assert!(!public.to_string().contains("PRIVATE"), "{public:#}");
        assert_eq!(public["ssh"]["authorized_key"], "ssh-ed25519 AAAA bcvk");
        assert_eq!(public["memory"], spec.memory.mib());
    }
}
