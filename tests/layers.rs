//! Checks the layers of docs/architecture.md, and that no files depend on each other in a cycle. Both are read from
//! the `use` lines and paths of `src/`.
//!
//! A file that names an item in a `use` line, or by a path from `crate` or `super`, depends on the file that defines
//! the item, through any re-exports. A `mod.rs` is the head of its folder: its re-exports of its children, and its
//! calls of `child::function`, are no dependencies. Code under `#[cfg(test)]` is ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// Path of a module from the root of its crate: `["input", "scan"]`. The binary's root holds only `cli`, so that
/// library and binary form one tree.
type Module = Vec<String>;

/// What a file names and re-exports.
#[derive(Default)]
struct Source {
    path: PathBuf,
    /// Paths that the file names, from the root.
    names: Vec<Module>,
    /// Re-exports: a name, and the path that it stands for.
    exports: BTreeMap<String, Module>,
}

fn is_test(attributes: &[Attribute]) -> bool {
    let of = |attribute: &Attribute| {
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        attribute.path().is_ident("cfg")
            && text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
    };
    attributes.iter().any(of)
}

/// Collects the names in one file.
struct Reader<'a> {
    module: &'a [String],
    modules: &'a BTreeSet<Module>,
    source: Source,
}

impl Reader<'_> {
    /// Resolves `path`, as written, from the root; `None` if it lies in another crate or no module has that name.
    fn resolve(&self, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "microraptor" => Some(rest.to_vec()),
            "self" => Some([self.module, rest].concat()),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                let base = self.module.len().checked_sub(up)?;
                Some([&self.module[..base], &path[up..]].concat())
            }
            _ => {
                let child = [self.module, std::slice::from_ref(first)].concat();
                self.modules.contains(&child).then(|| [&child, rest].concat())
            }
        }
    }

    fn tree(&mut self, before: &[String], tree: &UseTree, exported: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree, exported),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree, exported)),
            UseTree::Glob(_) => self.leaf(before, None, exported),
            UseTree::Name(name) if name.ident == "self" => {
                self.leaf(before, before.last().cloned(), exported)
            }
            UseTree::Name(name) => self.leaf(&with(&name.ident), Some(name.ident.to_string()), exported),
            UseTree::Rename(rename) => {
                self.leaf(&with(&rename.ident), Some(rename.rename.to_string()), exported);
            }
        }
    }

    fn leaf(&mut self, path: &[String], name: Option<String>, exported: bool) {
        let Some(path) = self.resolve(path) else { return };
        let own = path.len() > self.module.len() && path.starts_with(self.module);
        if let (true, Some(name)) = (exported, name) {
            self.source.exports.insert(name, path.clone());
        }
        if !(exported && own) {
            self.source.names.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 && ["crate", "super", "microraptor"].contains(&parts[0].as_str()) {
            self.source.names.extend(self.resolve(&parts));
        }
        syn::visit::visit_path(self, path);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every file of `src/` except the crate roots and files that only tests use, by module.
fn sources() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let module = |path: &Path| -> Module {
        let inside = path.strip_prefix(&root).unwrap().with_extension("");
        let mut parts: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        parts.pop_if(|last| last == "mod");
        parts
    };
    let is_source = |module: &Module| {
        let last = module.last().unwrap();
        !matches!(last.as_str(), "lib" | "main" | "tests" | "fixtures") && !last.ends_with("_tests")
    };
    let paths: BTreeMap<Module, PathBuf> =
        paths.into_iter().map(|path| (module(&path), path)).filter(|(module, _)| is_source(module)).collect();
    let modules: BTreeSet<Module> = paths.keys().cloned().collect();
    let read = |(module, path): (Module, PathBuf)| {
        let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let path = path.strip_prefix(root.parent().unwrap()).unwrap().to_owned();
        let source = Source { path, ..Source::default() };
        let mut reader = Reader { module: &module, modules: &modules, source };
        reader.visit_file(&file);
        let source = reader.source;
        (module, source)
    };
    paths.into_iter().map(read).collect()
}

/// The module whose file defines what `path` names; `None` if a crate root defines it.
fn definer(sources: &BTreeMap<Module, Source>, path: &[String], hops: usize) -> Option<Module> {
    let len = (1..=path.len()).rev().find(|&len| sources.contains_key(&path[..len]))?;
    let (module, rest) = path.split_at(len);
    let exported = rest.first().and_then(|name| sources[module].exports.get(name));
    match exported.filter(|_| hops > 0) {
        Some(target) => definer(sources, &[target, &rest[1..]].concat(), hops - 1),
        None => Some(module.to_vec()),
    }
}

/// The files that each file depends on.
fn dependencies(sources: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<Module>> {
    let of = |(module, source)| {
        let Source { names, .. }: &Source = source;
        let found: BTreeSet<Module> = names.iter().filter_map(|name| definer(sources, name, 8)).collect();
        (module, found.into_iter().filter(|other| other != module).collect())
    };
    sources.iter().map(of).collect()
}

/// Rank of each layer: the index of its line in the first block of docs/architecture.md, so the lowest layer comes
/// last.
fn ranks() -> BTreeMap<String, usize> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let block = text.lines().skip_while(|line| !line.starts_with("    src/main.rs"));
    let mut ranks = BTreeMap::new();
    // A line with deeper indentation continues the one before.
    let lines = block.take_while(|line| line.starts_with("    ")).filter(|line| !line.starts_with("     "));
    for (rank, line) in lines.enumerate() {
        // Two spaces separate the names from the description of the layer.
        let names = line.trim_start().split("  ").next().unwrap();
        for name in names.split([' ', ',']).filter(|name| !name.is_empty()) {
            ranks.insert(name.trim_end_matches('/').trim_end_matches(".rs").to_owned(), rank);
        }
    }
    ranks
}

#[test]
fn layers_point_downwards() {
    let (sources, ranks) = (sources(), ranks());
    let rank = |module: &Module| match ranks.get(&module[0]) {
        Some(rank) => *rank,
        None => panic!("src/{} is in no line of the first block of docs/architecture.md", module[0]),
    };
    let mut upward = Vec::new();
    for (module, others) in dependencies(&sources) {
        for other in others.iter().filter(|other| rank(other) < rank(module)) {
            upward.push(format!("{} uses {}", sources[module].path.display(), sources[other].path.display()));
        }
    }
    assert!(upward.is_empty(), "these point upwards:\n{}", upward.join("\n"));
}

#[test]
fn files_form_no_circle() {
    let sources = sources();
    let mut graph = dependencies(&sources);
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    // If the sources were read wrongly, there would be only a handful of edges and no cycle.
    assert!(sources.len() > 300 && edges > 3 * sources.len(), "{} files, {edges} edges", sources.len());
    // A file that depends on nothing is in no cycle. Remove such files until none is left.
    loop {
        let free: BTreeSet<Module> = graph
            .iter()
            .filter(|(_, others)| others.is_empty())
            .map(|(module, _)| (*module).clone())
            .collect();
        if free.is_empty() {
            break;
        }
        graph.retain(|module, _| !free.contains(*module));
        graph.values_mut().for_each(|others| others.retain(|other| !free.contains(other)));
    }
    let Some(start) = graph.keys().next() else { return };
    // Every remaining file leads to a cycle: follow the edges until a file comes twice.
    let mut way = vec![(*start).clone()];
    let round = loop {
        let next = graph[way.last().unwrap()].first().unwrap().clone();
        if let Some(first) = way.iter().position(|module| *module == next) {
            break way.split_off(first);
        }
        way.push(next);
    };
    let names: Vec<String> = round.iter().map(|module| sources[module].path.display().to_string()).collect();
    panic!("{} files are in circles or lead there, such as {}", graph.len(), names.join(" -> "));
}
