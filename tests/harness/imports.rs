//! Imports: which source file of a crate imports which, and the circles among them.
//!
//! [`Crate::new`] reads the sources of one crate, in memory, and follows `mod` items from the crate's root. It reads code
//! only: comments, literals and items under `cfg(test)` are left out. [`Crate::imports`] resolves paths (`crate::`,
//! `self::`, `super::`, and those that begin with a child module) to files. A name that a module re-exports leads to the
//! file that defines it. A file may import the modules that it lies in, as Rust needs it between a `mod.rs` and its
//! children; this is no edge. [`circles`] finds the circles that are left, by Tarjan's algorithm.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Imports of files: from each file to those that it imports.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// Longest chain of re-exports that is followed.
const REEXPORTS_MAX: usize = 8;

/// A path in code or in a `use` item, and the module that it stands in.
struct Use {
    module: usize,
    path: Vec<String>,
}

/// A module: a file, or a `mod` block inside one.
#[derive(Default)]
struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names that `use` items bring in, and where these come from.
    aliases: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    defined: BTreeSet<String>,
}

/// One crate's modules and the paths in their code.
pub struct Crate {
    modules: Vec<Module>,
    uses: Vec<Use>,
}

impl Crate {
    /// Reads a crate from `sources`, pairs of path and text. `root` is the path of its `lib.rs` or `main.rs`.
    pub fn new(root: &str, sources: &[(String, String)]) -> Crate {
        let mut found = Crate { modules: vec![Module { file: root.into(), ..Module::default() }], uses: Vec::new() };
        found.read_file(0, sources);
        found
    }

    /// The files that belong to the crate.
    pub fn files(&self) -> BTreeSet<&str> {
        self.modules.iter().map(|m| m.file.as_str()).collect()
    }

    /// From each file to the files that it imports, those of the modules that it lies in left out.
    ///
    /// `through_parents` decides what a name is that a child takes from its parent, `super::Name`, if the parent has it
    /// from another child: an import of the parent, or of the file that defines it.
    pub fn imports(&self, through_parents: bool) -> Graph {
        let mut graph = Graph::new();
        for u in &self.uses {
            let from = self.file_module(u.module);
            let is_parents = u.path.first().is_some_and(|first| first == "super");
            let reexports = if is_parents && !through_parents { 0 } else { REEXPORTS_MAX };
            let Some(target) = self.resolve(u.module, &u.path, reexports) else { continue };
            let to = self.file_module(target);
            if to != from && !self.is_inside(from, to) {
                graph.entry(self.modules[from].file.clone()).or_default().insert(self.modules[to].file.clone());
            }
        }
        graph
    }

    /// The outermost module that is in the same file.
    fn file_module(&self, mut module: usize) -> usize {
        while let Some(parent) =
            self.modules[module].parent.filter(|&p| self.modules[p].file == self.modules[module].file)
        {
            module = parent;
        }
        module
    }

    /// Whether `module` is a descendant of `ancestor`.
    fn is_inside(&self, module: usize, ancestor: usize) -> bool {
        std::iter::successors(self.modules[module].parent, |&m| self.modules[m].parent).any(|m| m == ancestor)
    }

    fn read_file(&mut self, module: usize, sources: &[(String, String)]) {
        let file = self.modules[module].file.clone();
        let Some((_, text)) = sources.iter().find(|(path, _)| *path == file) else { return };
        let tokens = without_tests(tokens(text));
        let mut reader = Reader { krate: self, tokens: &tokens, at: 0, outside: Vec::new() };
        reader.read(module);
        for (name, parent) in reader.outside {
            let (dir, stem) = file.rsplit_once('/').unwrap_or(("", &file));
            let stem = stem.trim_end_matches(".rs");
            let dir = if ["mod", "lib", "main"].contains(&stem) { dir.to_string() } else { format!("{dir}/{stem}") };
            let places = [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")];
            let Some((path, _)) = sources.iter().find(|(path, _)| places.contains(path)) else { continue };
            let child = self.add(parent, &name, path);
            self.read_file(child, sources);
        }
    }

    fn add(&mut self, parent: usize, name: &str, file: &str) -> usize {
        let child = self.modules.len();
        self.modules.push(Module { file: file.into(), parent: Some(parent), ..Module::default() });
        self.modules[parent].children.insert(name.into(), child);
        child
    }

    /// The module whose file defines what `path` names, seen from `from`; none if it is another crate's.
    fn resolve(&self, from: usize, path: &[String], reexports: usize) -> Option<usize> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.modules[from].parent?,
            _ => {
                rest = path;
                if !self.modules[from].children.contains_key(first) {
                    // A name that a `use` item brought in: that item is an edge of its own.
                    return None;
                }
                from
            }
        };
        while let Some((name, more)) = rest.split_first() {
            let here = &self.modules[module];
            if name == "super" {
                module = here.parent?;
            } else if let Some(&child) = here.children.get(name) {
                module = child;
            } else if reexports > 0 && !here.defined.contains(name) {
                let longer = |alias: &[String]| [alias, more].concat();
                let named =
                    here.aliases.get(name).and_then(|alias| self.resolve(module, &longer(alias), reexports - 1));
                let from_glob =
                    || here.globs.iter().find_map(|glob| self.resolve_in_glob(module, glob, rest, reexports));
                return named.or_else(from_glob).or(Some(module));
            } else {
                break;
            }
            rest = more;
        }
        Some(module)
    }

    /// What `rest` names in the module of a glob import, if that module has its first name.
    fn resolve_in_glob(&self, from: usize, glob: &[String], rest: &[String], reexports: usize) -> Option<usize> {
        let module = self.resolve(from, glob, reexports - 1)?;
        let (here, name) = (&self.modules[module], rest.first()?);
        let has = here.defined.contains(name) || here.children.contains_key(name) || here.aliases.contains_key(name);
        let path = [&["self".to_string()], rest].concat();
        if has { self.resolve(module, &path, reexports - 1) } else { None }
    }
}

/// Reads the tokens of one file.
struct Reader<'a> {
    krate: &'a mut Crate,
    tokens: &'a [String],
    at: usize,
    /// Modules in files of their own, with their parent.
    outside: Vec<(String, usize)>,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    /// Reads a module up to the brace that closes it.
    fn read(&mut self, module: usize) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match (self.peek(0), self.peek(1), self.peek(2)) {
                ("mod", name, ";") => {
                    self.outside.push((name.into(), module));
                    self.at += 3;
                }
                ("mod", name, "{") => {
                    let file = self.krate.modules[module].file.clone();
                    let child = self.krate.add(module, name, &file);
                    self.at += 3;
                    self.read(child);
                }
                ("use", ..) => {
                    self.at += 1;
                    self.read_use(module, Vec::new(), depth == 0);
                    self.at += usize::from(self.peek(0) == ";");
                }
                ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union", name, _) if depth == 0 => {
                    self.krate.modules[module].defined.insert(name.into());
                    self.at += 1;
                }
                ("{", ..) => {
                    depth += 1;
                    self.at += 1;
                }
                ("}", ..) => {
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                    depth -= 1;
                }
                (_, "::", _) if is_name(self.peek(0)) => self.read_path(module),
                _ => self.at += 1,
            }
        }
    }

    /// A path in code, such as `crate::clock::now_us`.
    fn read_path(&mut self, module: usize) {
        let is_whole = self.at == 0 || self.tokens[self.at - 1] != "::";
        let mut path = vec![self.next()];
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            self.at += 1;
            path.push(self.next());
        }
        if is_whole {
            self.krate.uses.push(Use { module, path });
        }
    }

    /// A tree of a `use` item behind `prefix`. Names are kept for others to resolve if `is_item`: not inside a function.
    fn read_use(&mut self, module: usize, mut path: Vec<String>, is_item: bool) {
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.read_use(module, path.clone(), is_item);
                        self.at += usize::from(self.peek(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    self.at += 1;
                    self.krate.uses.push(Use { module, path: path.clone() });
                    if is_item {
                        self.krate.modules[module].globs.push(path);
                    }
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                name if is_name(name) && name != "as" => path.push(self.next()),
                _ => break,
            }
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.peek(0) == "as" {
            self.at += 1;
            name = self.next();
        }
        self.krate.uses.push(Use { module, path: path.clone() });
        // `use self::x::x` would lead to itself; a path of one name is another crate's or a child's.
        if is_item && path.len() > 1 {
            self.krate.modules[module].aliases.insert(name, path);
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single signs of `text`, without comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    let has = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while let Some(&c) = chars.get(at) {
        if has(at, "//") {
            at += chars[at..].iter().take_while(|&&c| c != '\n').count();
        } else if has(at, "/*") {
            let mut depth = 1;
            at += 2;
            while depth > 0 && at < chars.len() {
                depth += usize::from(has(at, "/*"));
                depth -= usize::from(has(at, "*/"));
                at += if has(at, "/*") || has(at, "*/") { 2 } else { 1 };
            }
        } else if let Some(end) = raw_string(&chars, at) {
            at = end;
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')) {
            at += if chars.get(at + 1) == Some(&'\\') { 3 } else { 2 };
            at += chars[at.min(chars.len())..].iter().take_while(|&&c| c != '\'').count() + 1;
        } else if c.is_alphanumeric() || c == '_' {
            let name: String = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            at += name.chars().count();
            found.push(name);
        } else if has(at, "::") {
            at += 2;
            found.push("::".into());
        } else {
            at += 1;
            if !c.is_whitespace() {
                found.push(c.into());
            }
        }
    }
    found
}

/// Where the raw string that begins at `at` ends, if one does.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    if at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') {
        return None;
    }
    let r = at + usize::from(chars[at] == 'b');
    let hashes = chars.get(r + 1..)?.iter().take_while(|&&c| c == '#').count();
    if chars.get(r) != Some(&'r') || chars.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let start = r + 2 + hashes;
    let closes =
        |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    Some((start..chars.len()).find(closes).map_or(chars.len(), |end| end + 1 + hashes))
}

/// Leaves out what stands under an attribute `cfg` that asks for `test`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let is_attribute = tokens[at] == "#" && tokens.get(at + 1).is_some_and(|t| t == "[");
        if !is_attribute {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = group_end(&tokens, at + 1);
        let attribute = &tokens[at..end];
        let has = |word: &str| attribute.iter().any(|t| t == word);
        if attribute.get(2).is_some_and(|t| t == "cfg") && has("test") && !has("not") {
            at = item_end(&tokens, end);
        } else {
            at = end;
        }
    }
    kept
}

/// The end of the bracketed group that opens at `at`.
fn group_end(tokens: &[String], at: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// The end of the item at `at`: behind its block or its semicolon.
fn item_end(tokens: &[String], mut at: usize) -> usize {
    let (start, mut is_use) = (at, false);
    while let Some(token) = tokens.get(at) {
        is_use |= at <= start + 4 && token == "use";
        match token.as_str() {
            ";" | "," => return at + 1,
            "}" => return at,
            "{" if !is_use => return group_end(tokens, at),
            "(" | "[" | "{" => at = group_end(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The circles of a graph: each is a set of files that all reach one another (Tarjan, 1972).
pub fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    #[derive(Default)]
    struct Search<'g> {
        index: BTreeMap<&'g str, usize>,
        low: BTreeMap<&'g str, usize>,
        stack: Vec<&'g str>,
        found: Vec<BTreeSet<String>>,
    }
    fn visit<'g>(graph: &'g Graph, file: &'g str, s: &mut Search<'g>) {
        let index = s.index.len();
        s.index.insert(file, index);
        s.low.insert(file, index);
        s.stack.push(file);
        for next in graph.get(file).into_iter().flatten() {
            if !s.index.contains_key(next.as_str()) {
                visit(graph, next, s);
                s.low.insert(file, s.low[file].min(s.low[next.as_str()]));
            } else if s.stack.contains(&next.as_str()) {
                s.low.insert(file, s.low[file].min(s.index[next.as_str()]));
            }
        }
        if s.low[file] == index {
            let from = s.stack.iter().position(|f| *f == file).unwrap_or(0);
            let members: BTreeSet<String> = s.stack.split_off(from).into_iter().map(str::to_string).collect();
            if members.len() > 1 {
                s.found.push(members);
            }
        }
    }
    let mut search = Search::default();
    for file in graph.keys() {
        if !search.index.contains_key(file.as_str()) {
            visit(graph, file, &mut search);
        }
    }
    search.found
}

/// The shortest way round inside a circle, as `a -> b -> a`.
pub fn way_round(graph: &Graph, circle: &BTreeSet<String>) -> String {
    let shortest = circle.iter().map(|start| way_back(graph, circle, start)).min_by_key(Vec::len).unwrap_or_default();
    shortest.join(" -> ")
}

/// The shortest way from `start` to itself inside a circle, breadth first.
fn way_back<'g>(graph: &'g Graph, circle: &BTreeSet<String>, start: &'g str) -> Vec<&'g str> {
    let (mut ways, mut seen) = (VecDeque::from([vec![start]]), BTreeSet::new());
    while let Some(way) = ways.pop_front() {
        let last = way.last().copied().unwrap_or(start);
        for next in graph.get(last).into_iter().flatten().filter(|next| circle.contains(*next)) {
            let longer = [&way[..], &[next]].concat();
            if next == start {
                return longer;
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    Vec::new()
}
