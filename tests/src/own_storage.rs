//! A storage of a test's own for podman, behind which the images of the tests are read-only.

use std::fs;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Cmd, Sandbox};

/// Files that describe the storage.
#[derive(Debug)]
pub struct OwnStorage {
    storage: PathBuf,
    containers: PathBuf,
}

impl OwnStorage {
    /// Describes a storage in the directory `own`, whose `graph` has what podman stores. `containers` are
    /// sections of `containers.conf(5)`.
    ///
    /// # Panics
    /// If it cannot be described.
    #[must_use]
    pub fn make(sandbox: &Sandbox, own: &Path, containers: &str) -> Self {
        let at = |name: &str| own.join(name);
        let quoted = |name: &str| format!("\"{}\"", at(name).display());
        let info = sandbox
            .podman(["info", "--format={{.Store.GraphRoot}}"])
            .run();
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {}\nrunroot = {}\n\
             [storage.options]\nadditionalimagestores = [{:?}]\n",
            quoted("graph"),
            quoted("run"),
            info.expect_success().text()
        );
        let storage = at("storage.conf");
        fs::write(&storage, text).expect("write");
        let text = format!("{containers}[engine]\ntmp_dir = {}\n", quoted("tmp"));
        let containers = at("containers.conf");
        fs::write(&containers, text).expect("write");
        Self {
            storage,
            containers,
        }
    }

    /// Lets a command use it.
    pub fn used_by(&self, command: Cmd) -> Cmd {
        command
            .env("CONTAINERS_STORAGE_CONF", &self.storage)
            .env("CONTAINERS_CONF", &self.containers)
    }
}
