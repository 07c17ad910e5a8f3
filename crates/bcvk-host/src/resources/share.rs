//! Directories that a VM is to see: checked before anything is started.

use std::fs;
use std::path::Path;

use bcvk_contract::spec::{Share, ShareRequest};

use crate::FileError;

/// Checks whether `request` can be a share. `cwd` is the directory that a relative path starts from,
/// `index` the share's place among those of the VM.
///
/// # Errors
/// [`FileError`] if the directory is none, cannot be reached, or has no name.
pub fn resolve_share(
    request: &ShareRequest,
    cwd: &Path,
    index: usize,
    read_only: bool,
) -> Result<Share, FileError> {
    let target = request.target_in(cwd)?;
    let path = cwd.join(&request.host);
    let unusable = |source| FileError::Share {
        path: path.clone(),
        source,
    };
    let host = fs::canonicalize(&path).map_err(unusable)?;
    if !fs::metadata(&host).map_err(unusable)?.is_dir() {
        return Err(FileError::ShareNotDirectory(path));
    }
    Ok(Share {
        tag: target.tag(index),
        host,
        guest_path: target.guest_path(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_are_shared() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let cwd = tmp.path().canonicalize().expect("a path");
        fs::create_dir(cwd.join("data")).expect("make a directory");
        fs::write(cwd.join("file"), "").expect("write");
        let resolve = |value: &str| {
            let request: ShareRequest = value.parse().expect("a request");
            resolve_share(&request, &cwd, 3, true)
        };
        for (value, tag, guest_path) in [
            ("data", "mount_data", "/run/virtiofs-mnt-data"),
            ("./data/../data:/srv", "path~3", "/srv"),
        ] {
            let share = resolve(value).expect(value);
            assert_eq!(share.host, cwd.join("data"), "{value}");
            assert_eq!((&*share.tag, share.guest_path), (tag, guest_path.into()));
        }
        let file = resolve("file");
        assert!(
            matches!(file, Err(FileError::ShareNotDirectory(path)) if path == cwd.join("file"))
        );
        let missing = resolve("none");
        assert!(matches!(missing, Err(FileError::Share { path, .. }) if path == cwd.join("none")));
        let unnamed = resolve("../".repeat(64).as_str());
        assert!(matches!(unnamed, Err(FileError::Spec(_))));
    }
}
