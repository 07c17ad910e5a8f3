//! The value of `--format`: a list's form, which may be a template in the manner of Go's, as podman has
//! them.

use std::str::FromStr;

use bcvk_contract::status::printable;
use clap::builder::PossibleValue;
use serde_json::Value;

use super::words::Words;

/// Form in which a list is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
    /// A line for each entry, as the user laid it out.
    Template(Template),
}

/// Layout of a line for each entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// True if the lines are laid out in columns, with a heading.
    pub(crate) table: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Keys that lead to a value; none for the entry itself.
    Value {
        keys: Vec<String>,
        json: bool,
    },
}

/// A value of `--format` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(
        "'{0}' is no format: give table, json or a template such as '{{{{.ID}}}} {{{{.Image}}}}'"
    )]
    Unknown(String),
    #[error("a '{{{{' in '{0}' has no '}}}}'")]
    Open(String),
    #[error(
        "'{{{{{0}}}}}' is not understood: a template has {{{{.KEY}}}}, {{{{.KEY.KEY}}}} and {{{{json .KEY}}}}; `--format json | jq` can do more"
    )]
    Action(String),
}

/// A key that a template asks for and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key '{key}': known are {known}")]
pub(crate) struct NoSuchKey {
    key: String,
    known: String,
}

/// Words for the forms that are no template.
const TABLE: &str = "table";
const JSON: &str = "json";

impl Words for Format {
    fn words() -> Vec<PossibleValue> {
        [TABLE, JSON].map(PossibleValue::new).into()
    }
}

/// Form in which something is described that has no columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Description {
    Json,
    Template(Template),
}

/// A value of `--format` that nothing can be described by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DescriptionError {
    #[error("a VM is described by json or a template such as '{{{{.State}}}}', and not as a table")]
    Table,
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl FromStr for Description {
    type Err = DescriptionError;

    fn from_str(value: &str) -> Result<Self, DescriptionError> {
        match value.parse()? {
            Format::Json => Ok(Self::Json),
            Format::Template(template) if !template.table => Ok(Self::Template(template)),
            Format::Table | Format::Template(_) => Err(DescriptionError::Table),
        }
    }
}

impl Words for Description {
    fn words() -> Vec<PossibleValue> {
        vec![PossibleValue::new(JSON)]
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(value: &str) -> Result<Self, FormatError> {
        match value.trim() {
            TABLE => Ok(Self::Table),
            JSON => Ok(Self::Json),
            text if text.contains("{{") => text.parse().map(Self::Template),
            _ => Err(FormatError::Unknown(value.to_owned())),
        }
    }
}

impl FromStr for Template {
    type Err = FormatError;

    fn from_str(value: &str) -> Result<Self, FormatError> {
        let rest = value.strip_prefix("table");
        let rest = rest.filter(|rest| rest.starts_with([' ', '\t', '{']));
        let table = rest.is_some();
        let text = rest.map_or(value, str::trim_start);
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let open = || FormatError::Open(value.to_owned());
            let (action, after) = after.split_once("}}").ok_or_else(open)?;
            parts.push(part(action)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { table, parts })
    }
}

/// Parses what stands between the braces.
fn part(action: &str) -> Result<Part, FormatError> {
    let unknown = || FormatError::Action(action.to_owned());
    let (json, path) = match action.trim().strip_prefix("json ") {
        Some(path) => (true, path.trim()),
        None => (false, action.trim()),
    };
    let path = path.strip_prefix('.').ok_or_else(unknown)?;
    if path.is_empty() && json {
        return Ok(Part::Value { keys: vec![], json });
    }
    let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
    let is_key = |key: &String| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if keys.iter().all(is_key) {
        Ok(Part::Value { keys, json })
    } else {
        Err(unknown())
    }
}

impl Template {
    /// Returns an error if the template asks for a key that no entry has; `example` is an entry.
    pub(crate) fn check(&self, example: &Value) -> Result<(), NoSuchKey> {
        self.line(example).map(drop)
    }

    /// Returns the headings of the columns.
    pub(crate) fn headings(&self) -> Vec<String> {
        let text = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Value { keys, .. } => keys.last().map(|key| heading(key)).unwrap_or_default(),
        });
        cells(&text.collect::<String>())
    }

    /// Lays out an entry in columns.
    pub(crate) fn cells(&self, entry: &Value) -> Result<Vec<String>, NoSuchKey> {
        self.line(entry).map(|line| cells(&line))
    }

    /// Lays out an entry.
    pub(crate) fn line(&self, entry: &Value) -> Result<String, NoSuchKey> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Ok(text.clone()),
            // Some of the values are a guest's.
            Part::Value { keys, json } => {
                let value = find(entry, keys)?;
                let text = if *json {
                    value.to_string()
                } else {
                    shown(value)
                };
                Ok(printable(&text))
            }
        });
        parts.collect()
    }
}

/// Finds a value. Keys may be written in either case: podman has `ID` here and `Id` there.
fn find<'v>(entry: &'v Value, keys: &[String]) -> Result<&'v Value, NoSuchKey> {
    keys.iter().try_fold(entry, |value, key| {
        let object = value.as_object();
        let found = object.and_then(|object| {
            let mut entries = object.iter();
            let found = entries.find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value)
        });
        found.ok_or_else(|| NoSuchKey {
            key: key.clone(),
            known: match object {
                Some(object) => object.keys().cloned().collect::<Vec<_>>().join(", "),
                None => "none, because this is a value".to_owned(),
            },
        })
    })
}

/// Writes a value as podman does.
fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => list(items.iter().map(shown).collect()),
        Value::Object(entries) => {
            let entries = entries.iter();
            list(
                entries
                    .map(|(key, value)| format!("{key}={}", shown(value)))
                    .collect(),
            )
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Makes a heading of a key: `CREATED AT` of `CreatedAt`.
fn heading(key: &str) -> String {
    let mut heading = String::new();
    let mut before = None;
    for c in key.chars() {
        if c.is_ascii_uppercase() && before.is_some_and(|b: char| b.is_ascii_lowercase()) {
            heading.push(' ');
        }
        heading.push(c.to_ascii_uppercase());
        before = Some(c);
    }
    heading
}

/// Splits a line into cells.
fn cells(line: &str) -> Vec<String> {
    line.split('\t')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({
            "ID": "c0ffee", "Names": ["a", "b"], "Labels": {"k": "v", "l": ""}, "ExitCode": 3,
            "Status": {"phase": "ready", "failure": null},
        })
    }

    fn template(text: &str) -> Template {
        match text.parse() {
            Ok(Format::Template(template)) => template,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn values_are_written_as_podman_does() {
        for (text, line) in [
            ("{{.ID}}", "c0ffee"),
            ("{{ .id }}: {{.Names}}", "c0ffee: a,b"),
            (r"{{.ID}}\t{{.Labels}}\n", "c0ffee\tk=v,l=\n"),
            ("{{.ExitCode}}{{.Status.failure}}!", "3!"),
            ("{{json .Names}}", r#"["a","b"]"#),
            ("{{ json .Status.phase }}", r#""ready""#),
        ] {
            let line = Ok(line.to_owned());
            assert_eq!(template(text).line(&entry()), line, "{text}");
            assert!(!template(text).table, "{text}");
        }
        let all = template("{{json .}}").line(&entry()).expect("an entry");
        assert_eq!(all.parse::<Value>().expect("JSON"), entry());
    }

    #[test]
    fn a_table_has_headings() {
        let table = template(r"table {{.ID}}\t{{.ExitCode}} {{.Names}}");
        assert!(table.table);
        assert_eq!(table.headings(), ["ID", "EXIT CODE NAMES"]);
        let cells = table.cells(&entry()).expect("an entry");
        assert_eq!(cells, ["c0ffee", "3 a,b"]);
        assert!(template("table{{.ID}}").table);
        assert!(!template("tables {{.ID}}").table);
    }

    #[test]
    fn what_is_no_format_says_what_is() {
        assert_eq!("table".parse(), Ok(Format::Table));
        assert_eq!("json".parse(), Ok(Format::Json));
        for (text, words) in [
            (
                "yaml",
                "'yaml' is no format: give table, json or a template such as '{{.ID}} {{.Image}}'",
            ),
            ("{{.ID", "a '{{' in '{{.ID' has no '}}'"),
            ("{{range .}}", "'{{range .}}' is not understood"),
            ("{{.}}", "'{{.}}' is not understood"),
            ("{{.A..B}}", "'{{.A..B}}' is not understood"),
        ] {
            let error = text.parse::<Format>().expect_err(text).to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn a_description_has_no_columns() {
        assert_eq!("json".parse(), Ok(Description::Json));
        assert!("{{.ID}}".parse::<Description>().is_ok());
        for table in ["table", "table {{.ID}}"] {
            assert_eq!(table.parse::<Description>(), Err(DescriptionError::Table));
        }
    }

    #[test]
    fn keys_that_are_not_there_are_named() {
        let error = |text| template(text).check(&entry()).expect_err(text).to_string();
        let known = "known are ExitCode, ID, Labels, Names, Status";
        assert_eq!(error("{{.Pid}}"), format!("there is no key 'Pid': {known}"));
        assert!(error("{{.Status.x}}").contains("failure, phase"));
        assert!(error("{{.ID.x}}").contains("a value"));
    }
}
