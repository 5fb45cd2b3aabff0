//! No cycle of imports between the files of a crate.
//!
//! A file imports another one if its code names something that the other one defines: by `use`, or by a path within
//! code or a macro. Every path (`crate::`, `super::`, `self::`, names in scope, nested trees, globs) is followed
//! through re-exports to the file that defines the item. A re-export itself (`pub use`) imports nothing. Code under
//! `#[cfg(test)]` is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, UseTree, Visibility};

use crate::head::Head;
use crate::workspace::{Package, Violation, read, rust_files, short_name};

/// The cycles of every crate.
pub fn check(packages: &[Package]) -> Result<Vec<Violation>, String> {
    cycles(packages.iter())
}

/// The cycles of each root of each package: the library, the program, each further program.
fn cycles<'a>(packages: impl Iterator<Item = &'a Package>) -> Result<Vec<Violation>, String> {
    let mut found = Vec::new();
    for package in packages {
        let source = package.manifest.with_file_name("src");
        let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
        roots.extend(rust_files(&source.join("bin"))?);
        for root in roots.into_iter().filter(|root| root.is_file()) {
            let name = short_name(&package.name);
            let cycles = Tree::of(&root, &read)?.cycles();
            found.extend(cycles.iter().map(|files| format!("`{name}`: cycle of imports: {}", names(files, &source))));
        }
    }
    Ok(found)
}

/// Whether a macro declares the modules of operations.
fn is_op_list(call: &syn::Macro) -> bool {
    call.path.segments.last().is_some_and(|name| name.ident == "for_each_op") && call.tokens.to_string() == "modules"
}

fn names(files: &[PathBuf], source: &Path) -> String {
    let names = files.iter().map(|file| file.strip_prefix(source).unwrap_or(file).display().to_string());
    names.collect::<Vec<_>>().join(" -> ")
}

/// What a name of a module stands for.
enum Name {
    Module(usize),
    Item,
    /// Imported or re-exported: the path that was written.
    Alias(Vec<String>),
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Module(usize),
    /// An item of a file, by the file's number.
    Item(usize),
}

#[derive(Default)]
struct Module {
    file: usize,
    parent: usize,
    names: BTreeMap<String, Vec<Name>>,
    globs: Vec<Vec<String>>,
    /// The paths that its code names.
    mentioned: BTreeSet<Vec<String>>,
}

/// The modules of a crate; module 0 is the root.
struct Tree<'a> {
    read: &'a dyn Fn(&Path) -> Result<String, String>,
    files: Vec<PathBuf>,
    modules: Vec<Module>,
}

impl<'a> Tree<'a> {
    fn of(root: &Path, read: &'a dyn Fn(&Path) -> Result<String, String>) -> Result<Self, String> {
        let mut tree = Self { read, files: Vec::new(), modules: Vec::new() };
        let folder = root.parent().unwrap_or(root).to_path_buf();
        tree.file(root.to_path_buf(), &folder, 0)?;
        Ok(tree)
    }

    /// Reads a file as a module; its children are files of `folder`.
    fn file(&mut self, path: PathBuf, folder: &Path, parent: usize) -> Result<usize, String> {
        let text = (self.read)(&path)?;
        let parsed = syn::parse_file(&text).map_err(|e| format!("cannot parse `{}`: {e}", path.display()))?;
        self.files.push(path);
        self.module(self.files.len() - 1, parsed.items, folder, parent)
    }

    fn module(&mut self, file: usize, items: Vec<Item>, folder: &Path, parent: usize) -> Result<usize, String> {
        let this = self.modules.len();
        self.modules.push(Module { file, parent, ..Module::default() });
        for item in items {
            match item {
                item if Head::of(&item).test => {}
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let below = folder.join(&name);
                    let child = match item.content {
                        Some((_, items)) => self.module(file, items, &below, this)?,
                        None => self.child(folder, &name, this)?,
                    };
                    self.modules[this].names.entry(name).or_default().push(Name::Module(child));
                }
                Item::Macro(item) if is_op_list(&item.mac) => self.ops(folder, this)?,
                item => self.modules[this].add(&item),
            }
        }
        Ok(this)
    }

    /// The files of a folder `ops`, whose modules `for_each_op!` declares and re-exports.
    fn ops(&mut self, folder: &Path, parent: usize) -> Result<(), String> {
        let Ok(entries) = folder.read_dir() else { return Ok(()) };
        let mut names: Vec<String> = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| format!("cannot list `{}`: {e}", folder.display()))?.path();
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
            names.extend(name.filter(|name| name != "mod"));
        }
        names.sort();
        for name in names {
            let child = self.child(folder, &name, parent)?;
            self.modules[parent].globs.push(vec![name.clone()]);
            self.modules[parent].names.entry(name).or_default().push(Name::Module(child));
        }
        Ok(())
    }

    /// Reads the module `name` of a folder: `name.rs` or `name/mod.rs`.
    fn child(&mut self, folder: &Path, name: &str, parent: usize) -> Result<usize, String> {
        let below = folder.join(name);
        let flat = below.with_extension("rs");
        let path = if (self.read)(&flat).is_ok() { flat } else { below.join("mod.rs") };
        self.file(path, &below, parent)
    }

    /// What `path` leads to, seen from a module.
    fn find(&self, from: usize, path: &[String], depth: usize) -> BTreeSet<Found> {
        let [first, rest @ ..] = path else { return BTreeSet::new() };
        let start = match first.as_str() {
            "crate" => BTreeSet::from([Found::Module(0)]),
            "self" => BTreeSet::from([Found::Module(from)]),
            "super" => BTreeSet::from([Found::Module(self.modules[from].parent)]),
            name => self.member(from, name, depth),
        };
        start.into_iter().flat_map(|found| self.follow(found, rest, depth)).collect()
    }

    fn follow(&self, found: Found, rest: &[String], depth: usize) -> BTreeSet<Found> {
        let (Found::Module(module), [first, rest @ ..]) = (found, rest) else { return BTreeSet::from([found]) };
        let next = match first.as_str() {
            "super" => BTreeSet::from([Found::Module(self.modules[module].parent)]),
            // What a glob brings besides names, such as the methods of traits.
            "*" => BTreeSet::from([Found::Item(self.modules[module].file)]),
            name => self.member(module, name, depth),
        };
        if next.is_empty() {
            // Made by a macro.
            return BTreeSet::from([Found::Item(self.modules[module].file)]);
        }
        next.into_iter().flat_map(|found| self.follow(found, rest, depth)).collect()
    }

    /// What a name stands for in a module: as a module, as an item, through an import.
    fn member(&self, module: usize, name: &str, depth: usize) -> BTreeSet<Found> {
        const RE_EXPORTS: usize = 16;
        let at = &self.modules[module];
        let mut found = BTreeSet::new();
        for name in at.names.get(name).into_iter().flatten() {
            match name {
                Name::Module(child) => drop(found.insert(Found::Module(*child))),
                Name::Item => drop(found.insert(Found::Item(at.file))),
                Name::Alias(path) if depth < RE_EXPORTS => found.extend(self.find(module, path, depth + 1)),
                Name::Alias(_) => {}
            }
        }
        if found.is_empty() && depth < RE_EXPORTS {
            for glob in &at.globs {
                for source in self.find(module, glob, depth + 1) {
                    if let Found::Module(source) = source {
                        found.extend(self.member(source, name, depth + 1));
                    }
                }
            }
        }
        found
    }

    /// For each file the files that it imports.
    fn imports(&self) -> Vec<BTreeSet<usize>> {
        let mut imports = vec![BTreeSet::new(); self.files.len()];
        for (number, module) in self.modules.iter().enumerate() {
            for path in &module.mentioned {
                for found in self.find(number, path, 0) {
                    if let Found::Item(file) = found {
                        imports[module.file].insert(file);
                    }
                }
            }
            imports[module.file].remove(&module.file);
        }
        imports
    }

    /// A shortest cycle for each set of files that reach each other, beginning and ending with the same file.
    fn cycles(&self) -> Vec<Vec<PathBuf>> {
        let imports = self.imports();
        let (mut cycles, mut seen) = (Vec::new(), BTreeSet::<usize>::new());
        for start in 0..imports.len() {
            let back = (!seen.contains(&start)).then(|| way(&imports, start)).flatten();
            if let Some(files) = back {
                seen.extend(&files);
                cycles.push(files.iter().map(|file| self.files[*file].clone()).collect());
            }
        }
        cycles
    }
}

/// A shortest way of imports from a file to itself.
fn way(imports: &[BTreeSet<usize>], start: usize) -> Option<Vec<usize>> {
    let mut open = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(files) = open.pop_front() {
        for next in files.last().into_iter().flat_map(|last| &imports[*last]) {
            let longer = || files.iter().copied().chain([*next]).collect();
            if *next == start {
                return Some(longer());
            }
            if seen.insert(*next) {
                open.push_back(longer());
            }
        }
    }
    None
}

impl Module {
    fn add(&mut self, item: &Item) {
        let mut re_export = false;
        match item {
            Item::Use(item) => {
                self.import(&item.tree, &mut Vec::new());
                re_export = !matches!(item.vis, Visibility::Inherited);
            }
            item => {
                if let Some(name) = Head::of(item).name {
                    self.names.entry(name).or_default().push(Name::Item);
                }
            }
        }
        if !re_export {
            mentioned(item.to_token_stream(), &[], &mut self.mentioned);
        }
    }

    /// Takes the names of a `use` into scope.
    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        let mut alias = |name: String, path: Vec<String>| {
            self.names.entry(name).or_default().push(Name::Alias(path));
        };
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, path)),
            UseTree::Glob(_) => self.globs.push(path.clone()),
            UseTree::Name(tree) if tree.ident == "self" => {
                alias(path.last().cloned().unwrap_or_default(), path.clone());
            }
            UseTree::Name(tree) => alias(tree.ident.to_string(), joined(path, &tree.ident.to_string())),
            UseTree::Rename(tree) => alias(tree.rename.to_string(), joined(path, &tree.ident.to_string())),
        }
    }
}

fn joined(path: &[String], last: &str) -> Vec<String> {
    path.iter().cloned().chain((last != "self" || path.is_empty()).then(|| last.to_owned())).collect()
}

/// Collects the paths within tokens; `before` is the path in front of a group of a `use` tree.
fn mentioned(tokens: TokenStream, before: &[String], paths: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let mut at = 0;
    while at < tokens.len() {
        let field = at > 0 && is(at - 1, '.') && !(at > 1 && is(at - 2, '.'));
        let mut path = match &tokens[at] {
            TokenTree::Ident(name) if !field => joined(before, &name.to_string()),
            TokenTree::Punct(p) if p.as_char() == '*' && !before.is_empty() => joined(before, "*"),
            TokenTree::Group(group) => {
                mentioned(group.stream(), before, paths);
                at += 1;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        at += 1;
        while is(at, ':') && is(at + 1, ':') {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(name)) => path.push(name.to_string()),
                Some(TokenTree::Punct(p)) if p.as_char() == '*' => path.push("*".to_owned()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    mentioned(group.stream(), &path, paths);
                    path.clear();
                }
                _ => break,
            }
            at += 3;
        }
        // `name: ...` is a field.
        if path.len() > 1 || path.len() == 1 && !is(at, ':') {
            paths.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cycles of a crate of these files, as text.
    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let read = |path: &Path| {
            let text = files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
            text.ok_or_else(|| format!("{} not found", path.display()))
        };
        let found = Tree::of(Path::new("lib.rs"), &read).unwrap().cycles();
        found.iter().map(|files| names(files, Path::new(""))).collect()
    }

    #[test]
    fn a_cycle_of_two_files_is_found_however_it_is_written() {
        let root = ("lib.rs", "mod a; mod b;");
        for (a, b) in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use super::b::B;", "use crate::a::{self, A};"),
            ("use crate::{b::{B as Other}};", "fn f() { crate::a::f(1); }"),
            ("use crate::b; fn f() -> b::B {}", "use super::a::*;"),
            ("fn f() { use crate::b::B; }", "const X: u8 = line!(crate::a::A);"),
            ("impl crate::b::B {}", "struct S { a: Vec<super::a::A> }"),
        ] {
            let a = format!("pub struct A; {a}");
            let b = format!("pub struct B; {b}");
            assert_eq!(cycles(&[root, ("a.rs", &a), ("b.rs", &b)]), ["a.rs -> b.rs -> a.rs"], "{a} {b}");
        }
    }

    #[test]
    fn a_cycle_behind_re_exports_is_found() {
        let found = cycles(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b/mod.rs", "mod c; pub use c::B;"),
            ("b/c.rs", "pub struct B(crate::A);"),
        ]);
        assert_eq!(found, ["a.rs -> b/c.rs -> a.rs"]);
    }

    #[test]
    fn a_parent_that_uses_its_re_export_is_in_the_cycle() {
        let child = ("b.rs", "use super::T; pub struct B;");
        let lib = |code: &str| cycles(&[("lib.rs", &format!("mod b; pub use b::B; pub trait T {{}} {code}")), child]);
        assert_eq!(lib("fn f() -> B {}"), ["lib.rs -> b.rs -> lib.rs"]);
        assert_eq!(lib("fn f(x: S) -> u8 { x.B }"), [""; 0]);
    }

    #[test]
    fn what_only_points_down_is_fine() {
        let found = cycles(&[
            ("lib.rs", "mod a; mod b; pub use b::B; fn f() { a::A::new(B) }"),
            ("a.rs", "use super::B; pub struct A; #[cfg(test)] mod tests { use crate::f; }"),
            ("b.rs", "use std::fmt; pub struct B; #[cfg(test)] use crate::a::A;"),
        ]);
        assert_eq!(found, [""; 0]);
    }
}
