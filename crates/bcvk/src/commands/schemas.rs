//! JSON Schemas of what is printed for programs, made from the types that are printed.
//!
//! They are in `docs/schemas`. `make schemas` writes them anew; otherwise, this test compares.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bcvk_host::BootableImage;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};

use super::{inspect, ps, snapshots};
use crate::ui::{Description, Finding, Line};

/// Set by `make schemas`.
const WRITE: &str = "BCVK_WRITE_SCHEMAS";

/// Schemas: the file, and the schema of what the command prints.
fn all() -> [(&'static str, Schema); 7] {
    [
        (
            "ephemeral-ps",
            schema::<Vec<ps::Row>>("bcvk ephemeral ps --json"),
        ),
        (
            "ephemeral-check",
            schema::<Description>("bcvk ephemeral check --json"),
        ),
        (
            "ephemeral-inspect",
            schema::<inspect::Description>("bcvk ephemeral inspect"),
        ),
        (
            "ephemeral-run-events",
            schema::<Line>("a line of bcvk ephemeral run --output json"),
        ),
        (
            "ephemeral-snapshots-ls",
            schema::<Vec<snapshots::Row>>("bcvk ephemeral snapshots ls --json"),
        ),
        (
            "images-list",
            schema::<Vec<BootableImage>>("bcvk images list --json"),
        ),
        ("doctor", schema::<Vec<Finding>>("bcvk doctor --json")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Schema {
    let generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    // bcvk refuses unknown keys in what it reads itself, but other readers shall accept new ones.
    RecursiveTransform(|schema: &mut Schema| {
        if schema.get("additionalProperties") == Some(&false.into()) {
            schema.remove("additionalProperties");
        }
    })
    .transform(&mut schema);
    schema.insert("title".to_owned(), title.into());
    schema
}

#[test]
fn schemas_in_docs_are_those_of_the_types() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let mut known = BTreeSet::new();
    for (name, schema) in all() {
        let file = dir.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).expect("serialise") + "\n";
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(&dir).expect("make the directory");
            fs::write(&file, &text).expect("write");
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "{name}.json is stale: run `make schemas`");
        known.insert(file);
    }
    let files = fs::read_dir(&dir).expect("read the directory");
    for file in files.map(|entry| entry.expect("an entry").path()) {
        assert!(known.contains(&file), "nothing makes {}", file.display());
    }
}

#[test]
fn no_key_of_the_guests_is_described() {
    let all = all();
    let found = all.iter().find(|(name, _)| *name == "ephemeral-inspect");
    let (_, schema) = found.expect("there is one");
    let text = serde_json::to_string(schema).expect("serialise");
    assert!(text.contains("authorized_key") && !text.contains("host_key"));
}
