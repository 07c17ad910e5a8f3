//! JSON against the schemas in `docs/schemas`, by a validator that is not the one they come from:
//! Python's jsonschema.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Script that reads a schema and what should be valid, and says where it is not.
const VALIDATE: &str = "
import json, sys, jsonschema
given = json.load(sys.stdin)
kind = jsonschema.Draft202012Validator
kind.check_schema(given['schema'])
wrong = [e for part in given['documents'] for e in kind(given['schema']).iter_errors(part)]
print(*wrong, sep='\\n')
sys.exit(bool(wrong))
";

/// Fails the test unless each of `documents` is what `docs/schemas/SCHEMA.json` says.
#[track_caller]
pub fn expect_valid(schema: &str, documents: &[Value]) {
    let text = match schema {
        "doctor" => include_str!("../../../docs/schemas/doctor.json"),
        "ephemeral-check" => include_str!("../../../docs/schemas/ephemeral-check.json"),
        "ephemeral-inspect" => include_str!("../../../docs/schemas/ephemeral-inspect.json"),
        "ephemeral-ps" => include_str!("../../../docs/schemas/ephemeral-ps.json"),
        "ephemeral-run-events" => include_str!("../../../docs/schemas/ephemeral-run-events.json"),
        "ephemeral-snapshots-ls" => {
            include_str!("../../../docs/schemas/ephemeral-snapshots-ls.json")
        }
        "images-list" => include_str!("../../../docs/schemas/images-list.json"),
        other => panic!("there is no schema {other}"),
    };
    let parsed: Value = serde_json::from_str(text).expect("a schema is JSON");
    let given = json!({ "schema": parsed, "documents": documents }).to_string();
    // Debian's Python has Debian's jsonschema; another Python may come first on the `PATH`.
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run python3: {e}"));
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin
        .write_all(given.as_bytes())
        .expect("write to the validator");
    drop(stdin);
    let output = python.wait_with_output().expect("wait for the validator");
    assert!(
        output.status.success(),
        "not valid by {schema}.json:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        json!(documents)
    );
}
