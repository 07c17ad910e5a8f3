//! The map in docs/design/architecture.md is that of the code: the crates, the modules, and who may import
//! from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bcvk_tests::page::root;
use syn::visit::{Visit, visit_item, visit_path};
use syn::{Attribute, Item, ItemUse, UseTree};

/// Path of a module below its crate; the crate's root is the empty one.
type Module = Vec<String>;

/// Reads the lines of a code block of the document.
fn block(name: &str) -> Vec<String> {
    let document = fs::read_to_string(root().join("docs/design/architecture.md")).expect("read");
    let fence = format!("```text {name}\n");
    let (_, rest) = document.split_once(&fence).expect("the block is there");
    let (block, _) = rest.split_once("```").expect("the block has an end");
    let lines = block.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Lists the directories of the workspace's crates.
fn crates() -> Vec<PathBuf> {
    let below = |dir: &str| {
        let entries = fs::read_dir(root().join(dir)).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path())
    };
    let all = below("").chain(below("crates"));
    all.filter(|dir| dir.join("Cargo.toml").is_file() && !dir.ends_with("fuzz"))
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_map_says() {
    let mut stated = BTreeMap::new();
    for line in block("crates") {
        let mut names = words(&line).into_iter();
        let name = names.next().expect("a name");
        assert_eq!(stated.insert(name, names.collect::<BTreeSet<_>>()), None);
    }
    let mut found = BTreeMap::new();
    for dir in crates() {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let ours = dependencies.into_iter().flat_map(|table| table.keys());
        let ours = ours.filter(|name| name.starts_with("bcvk"));
        let name = manifest["package"]["name"].as_str().expect("a name");
        found.insert(name.to_owned(), ours.cloned().collect());
    }
    assert_eq!(stated, found);
}

#[test]
fn modules_import_downward_only() {
    let mut stated: BTreeMap<PathBuf, Vec<Vec<String>>> = BTreeMap::new();
    let mut current = PathBuf::new();
    for line in block("modules") {
        if let Some(line) = line.strip_prefix("  ") {
            let (names, _) = line.split_once("  ").unwrap_or((line, ""));
            let lines = stated.get_mut(&current).expect("a crate before it");
            lines.push(words(names));
        } else {
            current = root().join(words(&line).remove(0));
            let _ = stated.insert(current.clone(), Vec::new());
        }
    }
    let mut wrong = Vec::new();
    for (dir, lines) in stated {
        let shown = dir.strip_prefix(root()).expect("below the root").display();
        let place = |module: &str| {
            lines
                .iter()
                .position(|line| line.iter().any(|m| m == module))
        };
        let imports = imports(&dir.join("src"));
        let found: BTreeSet<&String> = imports.keys().filter_map(|m| m.first()).collect();
        let listed: BTreeSet<&String> = lines.iter().flatten().collect();
        for module in found.symmetric_difference(&listed) {
            wrong.push(format!(
                "{shown}: {module} is only in the map or only in the code"
            ));
        }
        for (from, to) in edges(&imports) {
            let (Some(from_top), Some(to_top)) = (from.first(), to.first()) else {
                continue;
            };
            if from_top != to_top && place(from_top) >= place(to_top) {
                let (from, to) = (from.join("::"), to.join("::"));
                wrong.push(format!(
                    "{shown}: {from} imports from {to}, which is not below it"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of every crate, those that the map does not describe included.
#[test]
fn no_modules_import_from_each_other() {
    let mut wrong = Vec::new();
    for dir in crates() {
        let source = dir.join("src");
        if !source.is_dir() {
            continue;
        }
        let imports = imports(&source);
        for start in imports.keys() {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&Module> = imports[start].iter().collect();
            while let Some(module) = next.pop() {
                if reached.insert(module) {
                    next.extend(imports.get(module).into_iter().flatten());
                }
            }
            if reached.contains(start) {
                wrong.push(format!("{}: {}", source.display(), start.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "circles through\n{}", wrong.join("\n"));
}

fn edges(imports: &BTreeMap<Module, BTreeSet<Module>>) -> impl Iterator<Item = (&Module, &Module)> {
    imports
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
}

/// Finds out from which modules of its crate each module imports, tests aside. A module above or below it
/// in the tree does not count: they are one thing, seen from outside.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = BTreeMap::new();
    collect(source, source, &mut files);
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let mut imports = BTreeMap::new();
    for (module, path) in files {
        let text = fs::read_to_string(&path).expect("a source file");
        let file = syn::parse_file(&text).expect("Rust");
        let mut paths = Paths {
            module: module.clone(),
            found: Vec::new(),
        };
        file.items.iter().for_each(|item| paths.visit_item(item));
        let mut from = BTreeSet::new();
        for mut path in paths.found {
            while !modules.contains(&path) {
                let _ = path.pop();
            }
            if !path.starts_with(&module) && !module.starts_with(&path) {
                let _ = from.insert(path);
            }
        }
        imports.insert(module, from);
    }
    imports
}

fn collect(source: &Path, dir: &Path, files: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap_or_default().to_owned();
        if path.is_dir() {
            collect(source, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && stem != "tests" {
            let below = path.strip_prefix(source).expect("below").with_extension("");
            let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
            let mut module: Module = parts.collect();
            if ["mod", "lib", "main"].iter().any(|root| stem == *root) {
                let _ = module.pop();
            }
            // A program's main.rs beside its lib.rs has nothing that others could import.
            let _ = files.entry(module).or_insert(path);
        }
    }
}

/// Paths in a module that begin at its crate, at its parent or at itself.
struct Paths {
    module: Module,
    found: Vec<Module>,
}

impl Paths {
    fn add(&mut self, path: &[String]) {
        let base = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self") => self.module.clone(),
            Some("super") => {
                let parent = self.module.len().saturating_sub(1);
                self.module[..parent].to_vec()
            }
            _ => return,
        };
        let supers = path[1..].iter().take_while(|part| *part == "super").count();
        let base = &base[..base.len().saturating_sub(supers)];
        let rest = path[1 + supers..].iter().cloned();
        self.found.push(base.iter().cloned().chain(rest).collect());
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_tree(&path, &part.tree);
            }
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.add_tree(&path, tree)),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.add(&path);
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.add(&path);
            }
            UseTree::Glob(_) => self.add(&path),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.add(&parts);
        visit_path(self, path);
    }
}

fn is_for_tests(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}
