//! The architecture, as rules that fail when somebody breaks them: who may import whom, which crates do the work and
//! where they may be named, and how long a file may be.
//!
//! The rules hold for the code without its comments, texts, and unit tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and what it may import besides itself. A path allows everything below it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("storage", &["sigv4"]),
    ("sigv4", &[]),
    ("cache", &[]),
    ("telemetry", &["storage"]),
    ("config", &["storage", "telemetry"]),
    ("layers", &["storage", "sigv4", "cache", "telemetry"]),
    ("s3", &["storage", "sigv4", "telemetry"]),
    ("ftp", &["storage", "telemetry"]),
    ("provider", &["storage", "cache", "telemetry"]),
    (
        "devhub",
        &["storage", "provider::hub::wire", "provider::cas::wire"],
    ),
    ("stack", &["storage", "layers", "provider", "telemetry"]),
    ("shutdown", &["config"]),
    ("tls", &[]),
];

/// Parts of one module that must not know each other.
const STRANGERS: &[(&str, &str)] = &[
    ("provider::hub", "provider::cas"),
    ("provider::cas", "provider::hub"),
    ("provider::http", "provider::hub"),
    ("provider::http", "provider::cas"),
];

/// Modules that may import everything.
const ROOTS: &[&str] = &["app", "main", "lib", "fuzzing", "micro"];

/// Fuzz targets lie beside the code that they are about, in files of this name, and take their inputs apart with this module. They
/// are no part of the program.
const FUZZ: (&str, &str) = ("fuzz", "fuzzing");

/// Crates that the architecture names, and that must do real work in `src/`.
const NAMED_CRATES: &[&str] = &[
    "tower",
    "tower-http",
    "hyper",
    "hyper-util",
    "axum",
    "tokio",
    "reqwest",
    "reqwest-middleware",
    "reqwest-retry",
    "quick-xml",
    "opentelemetry",
    "tracing-opentelemetry",
    "prometheus",
    "cached",
    "libunftp",
    "unftp-core",
];

/// The one file that names the FTP engine.
const FTP_ENGINE: (&str, &str) = ("libunftp", "ftp::engine");

/// The crates that know the formats of Xet, and the only places that may name them.
const XET_CRATES: &[&str] = &[
    "xet_core_structures",
    "xet_data",
    "xet_client",
    "xet_runtime",
    "hf_xet",
];
const XET_PLACES: &[&str] = &["provider::cas", "devhub"];

/// The longest file, in lines without its unit tests.
const MAX_LINES: usize = 500;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "storage/operation.rs",
        "the one table of all operations and their outputs",
    ),
    (
        "s3/error.rs",
        "one exhaustive table from outcomes to S3's errors",
    ),
];

/// A source file of the crate.
struct Source {
    file: PathBuf,
    /// The module that the file is, as a path without `crate`.
    module: Vec<String>,
    /// The code without comments, texts, and unit tests.
    code: String,
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let mut offences = Vec::new();
    for source in sources() {
        let Some(own) = source
            .module
            .first()
            .filter(|own| !ROOTS.contains(&own.as_str()))
        else {
            continue;
        };
        let allowed = IMPORTS.iter().find(|(module, _)| module == own);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("no rule for module `{own}`"));
        let is_fuzz = source.module.last().is_some_and(|name| name == FUZZ.0);
        for path in paths(&source) {
            let is_own = path.first() == Some(own);
            let is_allowed = allowed.iter().any(|allowed| is_below(&path, allowed))
                || (is_fuzz && is_below(&path, FUZZ.1));
            if !is_own && !is_allowed {
                offences.push(format!("{}: {}", source.file.display(), path.join("::")));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "forbidden imports:\n{}",
        offences.join("\n")
    );
}

#[test]
fn the_hub_and_the_cas_do_not_know_each_other() {
    let mut offences = Vec::new();
    for source in sources() {
        for (one, other) in STRANGERS {
            let knows = |path: &Vec<String>| is_below(path, other);
            if is_below(&source.module, one) && paths(&source).iter().any(knows) {
                offences.push(format!("{}: {other}", source.file.display()));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "forbidden imports:\n{}",
        offences.join("\n")
    );
}

#[test]
fn only_the_cas_client_and_the_development_hub_name_xet_crates() {
    for source in sources() {
        if XET_PLACES
            .iter()
            .any(|place| is_below(&source.module, place))
        {
            continue;
        }
        for name in XET_CRATES {
            assert!(
                !names(&source.code, name),
                "{} names {name}",
                source.file.display()
            );
        }
    }
}

#[test]
fn one_file_names_the_ftp_engine() {
    let (engine, place) = FTP_ENGINE;
    for source in sources() {
        let is_place = source.module.join("::") == place;
        assert!(
            is_place || !names(&source.code, engine),
            "{} names {engine}",
            source.file.display()
        );
    }
}

#[test]
fn the_hf_xet_client_is_for_tests_only() {
    let manifest = manifest();
    let section = |name: &str| {
        manifest[name]
            .as_table()
            .expect("the section is a table")
            .clone()
    };
    assert!(section("dev-dependencies").contains_key("hf-xet"));
    assert!(!section("dependencies").contains_key("hf-xet"));
}

#[test]
fn every_named_crate_does_real_work() {
    let manifest = manifest();
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    let present = |name: &&str| dependencies.contains_key(*name);
    let missing: Vec<_> = NAMED_CRATES.iter().filter(|name| !present(name)).collect();
    assert!(missing.is_empty(), "not in Cargo.toml: {missing:?}");
    let sources = sources();
    for name in NAMED_CRATES {
        let ident = name.replace('-', "_");
        let is_used = sources.iter().any(|source| names(&source.code, &ident));
        assert!(
            is_used,
            "{name} is in Cargo.toml, but no file in src/ names it"
        );
    }
}

#[test]
fn no_file_is_longer_than_the_limit() {
    let mut offences = Vec::new();
    for file in rust_files(&source_dir()) {
        let text = fs::read_to_string(&file).expect("source files are readable");
        let lines = without_unit_tests(&text).lines().count();
        let is_tests = file.file_stem().is_some_and(|stem| stem == "tests");
        let is_excused = LONG_FILES.iter().any(|(long, _)| file.ends_with(long));
        if lines > MAX_LINES && !is_tests && !is_excused {
            offences.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(offences.is_empty(), "too long:\n{}", offences.join("\n"));
}

// === The checks themselves, checked ===

#[test]
fn the_reader_sees_groups_relative_paths_and_inline_paths() {
    let source = Source {
        file: PathBuf::new(),
        module: ["provider", "hub", "client"].map(String::from).to_vec(),
        code: code_of(
            "use crate::{storage::{Secret, name::*}, cache as c};\n\
             // crate::comment\n\
             fn f() { let s = \"crate::text\"; crate::s3::g(super::call::Call, super::super::cas::X); }\n\
             fn raw() -> char { let s = r#\"crate::raw \" \"#; '\"' }\n\
             fn quote<'a>(x: &'a str) { crate::telemetry::f() }\n\
             #[cfg(test)]\nmod tests { use crate::layers::X; }\n",
        ),
    };
    let found: BTreeSet<String> = paths(&source).iter().map(|path| path.join("::")).collect();
    let expected = [
        "cache",
        "provider::cas::X",
        "provider::hub::call",
        "s3::g",
        "storage::Secret",
        "storage::name",
        "telemetry::f",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_reader_finds_whole_names_only() {
    assert!(names("use tower::Layer;", "tower") && !names("use tower_http::X;", "tower"));
    assert!(!names("let my_tower = 1;", "tower") && !names("let tower = 1;", "tower"));
}

// === Reading the sources ===

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn manifest() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(path).expect("the manifest is readable");
    text.parse().expect("the manifest is TOML")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("source directories are readable");
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("source directories are readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn sources() -> Vec<Source> {
    let files = rust_files(&source_dir()).into_iter();
    let source = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("source files are readable");
        let relative = file
            .strip_prefix(source_dir())
            .expect("it lies in src")
            .with_extension("");
        let segments = relative
            .iter()
            .map(|segment| segment.to_string_lossy().into_owned());
        Source {
            module: segments.filter(|segment| segment != "mod").collect(),
            code: code_of(&text),
            file,
        }
    };
    files.map(source).collect()
}

fn without_unit_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    &text[..end]
}

/// Returns the code with comments and texts replaced by blanks.
fn code_of(text: &str) -> String {
    let text = without_unit_tests(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_len(rest, code.chars().last());
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Returns the length of the comment or text that begins here, or 0.
fn skipped_len(rest: &str, before: Option<char>) -> usize {
    let until = |start: usize, end: &str| {
        let found = rest[start..].find(end);
        found.map_or(rest.len(), |at| start + at + end.len())
    };
    let is_raw = rest.starts_with("r\"") || rest.starts_with("r#");
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        until(2, "*/")
    } else if is_raw && !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
            return 0; // A raw identifier such as r#type.
        }
        until(2 + hashes, &format!("\"{}", "#".repeat(hashes)))
    } else if rest.starts_with('"') {
        text_len(rest, '"')
    } else if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') && rest.starts_with('\'')
    {
        text_len(rest, '\'')
    } else {
        0
    }
}

/// Returns the length of a text with escapes, both quotes included.
fn text_len(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// Reports whether the code uses a path that begins with the name.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().last();
        let is_whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        is_whole && code[at + name.len()..].starts_with("::")
    })
}

/// Returns the paths into the crate that the code uses, at most three segments deep.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (keyword, base) in [("crate::", 0), ("super::", source.module.len())] {
        for (at, _) in source.code.match_indices(keyword) {
            let before = source.code[..at].chars().last();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut rest = &source.code[at..];
            let mut base = base;
            while let Some(inner) = rest.strip_prefix("super::") {
                base = base.saturating_sub(1);
                rest = inner;
            }
            let rest = rest.strip_prefix("crate::").unwrap_or(rest);
            expand(&source.module[..base], rest, &mut found);
        }
    }
    for path in &mut found {
        path.truncate(3);
    }
    found
}

/// Expands a use tree such as `a::{b, c::{d, e}}` behind `prefix`, and returns what follows it.
fn expand<'a>(prefix: &[String], tree: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = expand(prefix, rest, found).trim_start();
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => return &rest[1..],
                _ => return rest,
            }
        }
    }
    let end = tree
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(tree.len());
    let (segment, rest) = tree.split_at(end);
    let mut path = prefix.to_vec();
    if !segment.is_empty() && segment != "self" {
        path.push(segment.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(inner) if !segment.is_empty() => expand(&path, inner, found),
        _ => {
            if !path.is_empty() {
                found.push(path);
            }
            // Skip `as name` and `*` up to the next separator of the group.
            let end = rest.find([',', '}', ';', ')', '{']).unwrap_or(rest.len());
            &rest[end..]
        }
    }
}

fn is_below(path: &[String], place: &str) -> bool {
    let mut segments = place.split("::");
    let mut path = path.iter();
    segments.all(|segment| path.next().is_some_and(|own| own == segment))
}
