//! Promise: of two modules beside each other at most one imports the other, directly or through others, so that each can be
//! read, tested and replaced without those above it.
//!
//! Paths that begin with `crate` or `super` are followed to the module that they name. Modules and what lies in them are one
//! room: a folder may name its files and these may name the folder. Tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::folders::files;

/// A module, by the names from the root of the crate.
type Module = Vec<String>;

/// For each room the modules in it, and for each of these those that it imports.
type Rooms = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

fn module_of(file: &Path) -> Module {
    let mut names: Module =
        file.with_extension("").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    names.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    names
}

/// The code without comments, and without what is compiled for tests only.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // To the end of the item: a semicolon, or a brace in the same column.
            let column = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(column));
            lines.find(|line| line.ends_with(';') && !line.starts_with(' ') || *line == end);
            continue;
        }
        code += line;
        code.push('\n');
    }
    code
}

/// Words, `::` and single characters.
fn tokens_of(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match rest.find(|c: char| !c.is_alphanumeric() && c != '_') {
            Some(0) if rest.starts_with("::") => 2,
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Reads the use tree, or the path of an expression, that begins with these tokens; tells how many were read.
fn read_tree(tokens: &[&str], mut path: Module, found: &mut Vec<Module>) -> usize {
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while tokens.get(at).is_some_and(|it| *it != "}") {
                    at += read_tree(&tokens[at..], path.clone(), found);
                    // A comma, `as` and its name, or `*`.
                    at += tokens[at..].iter().take_while(|it| !["}", ","].contains(*it)).count();
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push((*word).to_owned());
                at += 1;
            }
            _ => {}
        }
        if tokens.get(at) != Some(&"::") {
            found.push(path);
            return at;
        }
        at += 1;
    }
}

fn imports_of(module: &Module, code: &str) -> Vec<Module> {
    let tokens = tokens_of(code);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !["crate", "super"].contains(token) || at > 0 && tokens[at - 1] == "::" {
            continue;
        }
        let ups = tokens[at..].iter().step_by(2).take_while(|it| **it == "super").count();
        let base = if ups > 0 { module[..module.len().saturating_sub(ups)].to_vec() } else { Module::new() };
        if tokens.get(at + 1) == Some(&"::") {
            read_tree(&tokens[at + 2 * ups.max(1)..], base, &mut found);
        }
    }
    found
}

fn rooms() -> Rooms {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for file in files(&root) {
        let name = file.strip_prefix(&root).unwrap();
        let is_test = name.iter().any(|it| it == "tests" || it == "tests.rs");
        if name.extension().is_some_and(|it| it == "rs") && !is_test {
            modules.insert(module_of(name), code_of(&fs::read_to_string(&file).unwrap()));
        }
    }
    let mut rooms = Rooms::new();
    for (module, code) in &modules {
        for mut import in imports_of(module, code) {
            while !modules.contains_key(&import) {
                import.pop();
            }
            let shared = module.iter().zip(&import).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(shared), import.get(shared)) {
                let room = rooms.entry(module[..shared].to_vec()).or_default();
                room.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    rooms
}

/// The shortest way from a module of a room back to itself.
fn circle(room: &BTreeMap<String, BTreeSet<String>>, start: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut further = Vec::new();
        for way in ways {
            for next in room.get(way.last()?).into_iter().flatten() {
                let way = [way.clone(), vec![next.clone()]].concat();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    further.push(way);
                }
            }
        }
        ways = further;
    }
    None
}

#[test]
fn no_module_imports_one_that_imports_it() {
    let mut circles = BTreeSet::new();
    let rooms = rooms();
    assert!(
        rooms.len() > 5 && rooms[&Vec::new()]["collect"].contains("record"),
        "nothing was read: {rooms:?}"
    );
    for (room, modules) in &rooms {
        for module in modules.keys() {
            if let Some(mut way) = circle(modules, module) {
                // One circle is found from each of its modules.
                way.pop();
                let first = (0..way.len()).min_by_key(|at| &way[*at]).unwrap();
                way.rotate_left(first);
                circles.insert(format!("{}: {}", room.join("::"), way.join(" -> ")));
            }
        }
    }
    assert!(circles.is_empty(), "modules that import each other:\n{}", Vec::from_iter(circles).join("\n"));
}

/// So that the test above reads what is there.
#[test]
fn a_path_is_followed_through_trees_and_expressions() {
    let module = ["spool", "store"].map(str::to_owned).to_vec();
    let code = "use crate::{clock, record::{Draft, message::{self, Message as M}, derive::*}};\n\
                // use crate::cli;\n\
                use super::frame::{\n    Frame,\n};\n\
                pub(crate) fn read() { super::super::forward::plan(crate::rights::<u8>(1)) }\n\
                #[cfg(test)]\nmod tests {\n    use crate::watch;\n}\n";
    let found: Vec<String> = imports_of(&module, &code_of(code)).iter().map(|it| it.join("::")).collect();
    let expected = [
        "clock",
        "record::Draft",
        "record::message::self",
        "record::message::Message",
        "record::derive",
        "spool::frame::Frame",
        "forward::plan",
        "rights",
    ];
    assert_eq!(found, expected);
}
