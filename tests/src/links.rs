//! Links between the documents.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::page::{Page, root};

/// Lists every document that people read, below [`root`].
///
/// # Panics
/// If the tree cannot be read.
#[must_use]
pub fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = ["", "docs", "examples"].map(PathBuf::from).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("read a directory") {
            let path = directory.join(entry.expect("read a directory").file_name());
            if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            } else if directory != Path::new("") && root().join(&path).is_dir() {
                directories.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Lists the links of a page that lead nowhere, one line for each. Links to other hosts are not
/// followed.
#[must_use]
pub fn broken(page: &Page) -> Vec<String> {
    page.links
        .iter()
        .filter(|link| !link.target.contains(':'))
        .filter_map(|link| {
            let problem = problem(page, &link.target)?;
            Some(format!(
                "{}:{}: {}: {problem}",
                page.path.display(),
                link.line,
                link.target
            ))
        })
        .collect()
}

fn problem(page: &Page, target: &str) -> Option<&'static str> {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = match path {
        "" => page.path.clone(),
        path => plain(&page.path.with_file_name(path)),
    };
    let anchors = if path == page.path {
        page.anchors()
    } else if !root().join(&path).exists() {
        return Some("there is no such file");
    } else if path.extension().is_some_and(|end| end == "md") {
        Page::read(&path).anchors()
    } else {
        Vec::new()
    };
    let has_it = anchor.is_none_or(|anchor| anchors.iter().any(|known| known == anchor));
    (!has_it).then_some("the file has no such heading")
}

/// Returns the path without `..` and `.`.
#[must_use]
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = Page::parse(
            "docs/x.md",
            "# Here\n[a](../README.md) [b](nothing.md) [c](#here) [d](#there)\n\
             [e](../README.md#nothing) [f](https://example.com/)\n",
        );
        let broken = broken(&page);
        assert_eq!(broken.len(), 3, "{broken:?}");
    }
}
