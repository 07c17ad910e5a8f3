//! The files for CI services in `examples/ci`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use crate::page::root;

/// A file of a CI service's.
#[derive(Debug)]
pub struct CiFile {
    /// Path of the file, below [`root`].
    pub path: PathBuf,
    /// Environment variables of all its steps.
    pub variables: Vec<(String, String)>,
    /// Steps that the file runs, in this order.
    pub steps: Vec<Step>,
}

/// A script of such a file.
#[derive(Debug)]
pub struct Step {
    name: String,
    script: String,
}

/// Steps that change the machine they run on, or need the service.
const ELSEWHERE: &[&str] = &["Install bcvk", "Open KVM to all users"];

impl Step {
    /// Returns true if this machine can run the step.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        !ELSEWHERE.contains(&self.name.as_str())
    }

    /// Returns the script, for a machine without KVM.
    #[must_use]
    pub fn script_with(&self, variables: &[(String, String)]) -> String {
        // The initramfs does not matter here, and this one is done sooner.
        let direct = ("BCVK_INITRAMFS".to_owned(), "direct".to_owned());
        let exports: String = std::iter::once(&direct)
            .chain(variables)
            .map(|(name, value)| format!("export {name}='{value}'\n"))
            .collect();
        exports + &self.script.replace("--accel kvm ", "")
    }
}

/// Reads all of the files.
///
/// # Panics
/// If one cannot be read, or is not as its service would have it.
#[must_use]
pub fn files() -> Vec<CiFile> {
    let directory = Path::new("examples/ci");
    let mut names: Vec<PathBuf> = fs::read_dir(root().join(directory))
        .expect("read a directory")
        .map(|entry| directory.join(entry.expect("read a directory").file_name()))
        .collect();
    names.sort();
    names.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> CiFile {
    let text = fs::read_to_string(root().join(&path)).expect("read a file");
    let yaml: Value =
        serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut steps = Vec::new();
    let mut add = |name: &Value, script: &Value| {
        let name = name.as_str().unwrap_or_default().to_owned();
        let lines: Vec<&str> = match script {
            Value::Sequence(lines) => lines.iter().filter_map(Value::as_str).collect(),
            line => line.as_str().into_iter().collect(),
        };
        if !lines.is_empty() {
            let script = lines.join("\n");
            steps.push(Step { name, script });
        }
    };
    // The loops below are for GitHub's, GitLab's and tmt's files.
    for (_, job) in yaml["jobs"].as_mapping().into_iter().flatten() {
        for step in job["steps"].as_sequence().into_iter().flatten() {
            add(&step["name"], &step["run"]);
        }
    }
    for (name, job) in yaml.as_mapping().into_iter().flatten() {
        add(name, &job["script"]);
    }
    let variables = yaml["env"].as_mapping().into_iter().flatten();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    CiFile {
        variables: variables
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        steps,
        path,
    }
}
