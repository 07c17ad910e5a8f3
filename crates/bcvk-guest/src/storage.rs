//! Configuration of the guest's container storage (containers-storage.conf(5)).

use bcvk_contract::spec::STORAGE_GUEST_PATH;
use toml::{Table, Value};

/// Storage as podman has it where nothing is configured: a file without these is refused.
const BUILT_IN: &str = "[storage]
driver = \"overlay\"
runroot = \"/run/containers/storage\"
graphroot = \"/var/lib/containers/storage\"
";

/// Returns the image's own configuration (`None` if it has none, or none that can be read) with the
/// host's storage as a further, read-only store of images.
pub(super) fn with_host_store(own: Option<&str>) -> String {
    let parse = |text: &str| text.parse::<Table>().ok();
    let mut config = own
        .and_then(parse)
        .filter(|config| config.contains_key("storage"))
        .or_else(|| parse(BUILT_IN))
        .unwrap_or_default();
    let stores = table(table(&mut config, "storage"), "options")
        .entry("additionalimagestores")
        .or_insert_with(|| Value::Array(Vec::new()));
    match stores {
        Value::Array(stores) => stores.push(STORAGE_GUEST_PATH.into()),
        other => *other = Value::Array(vec![STORAGE_GUEST_PATH.into()]),
    }
    config.to_string()
}

/// Returns the table under `key`, which is made if there is none.
fn table<'t>(parent: &'t mut Table, key: &str) -> &'t mut Table {
    let value = parent
        .entry(key)
        .or_insert_with(|| Value::Table(Table::new()));
    if !value.is_table() {
        *value = Value::Table(Table::new());
    }
    let Value::Table(table) = value else {
        unreachable!("it was just made one");
    };
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_configuration_is_kept() {
        let own = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/srv/c\"\n\
                   [storage.options]\nadditionalimagestores = [\"/usr/lib/containers/storage\"]\n\
                   [storage.options.overlay]\nmountopt = \"nodev\"\n";
        let config: Table = with_host_store(Some(own)).parse().expect("TOML");
        let storage = &config["storage"];
        assert_eq!(storage["graphroot"].as_str(), Some("/srv/c"));
        let options = &storage["options"];
        assert_eq!(options["overlay"]["mountopt"].as_str(), Some("nodev"));
        assert_eq!(
            options["additionalimagestores"].as_array().map(Vec::len),
            Some(2)
        );
    }

    #[test]
    fn without_one_it_is_podmans_own() {
        for own in [None, Some(""), Some("not TOML"), Some("[other]\n")] {
            let config: Table = with_host_store(own).parse().expect("TOML");
            let storage = &config["storage"];
            assert_eq!(storage["driver"].as_str(), Some("overlay"), "{own:?}");
            let stores = &storage["options"]["additionalimagestores"];
            assert_eq!(stores[0].as_str(), Some(STORAGE_GUEST_PATH), "{own:?}");
        }
    }
}
