//! What must hold for any input, as functions over bytes: the targets of `fuzz/`, and of the tests that replay their seeds.
//!
//! Each target lies beside the code that it is about, in a file `fuzz.rs`, and panics if a property does not hold. It is compiled
//! for `cargo fuzz` and for unit tests only.
//!
//! | target | feeds | asserts besides "no panic" |
//! |---|---|---|
//! | `sigv4` | a request's head | canonical forms are their own canonical forms, whatever the order of parameters; a true signature verifies, any other does not |
//! | `chunked` | an aws-chunked body | the same outcome however it is cut; agreement with a simple decoder; no changed byte of a signed body gets through |
//! | `xml` | a document | bounds of depth and count; what was read can be written and read again |
//! | `request` | a request's head | a name that was accepted is what was sent; ranges lie in the object; unknown sub-resources never write |
//! | `form` | a multipart form with a policy | the same outcome however it is cut; the file is a piece of the form; no field escapes the policy |
//! | `xorb` | a serialised xorb | the same chunks however it is cut; agreement with a simple decoder; what is built is read back |
//! | `shard` | files and xorbs | the official reader finds exactly what was written |
//! | `plan` | a reconstruction in JSON | terms lie in their segments, segments in a xorb, addresses are fit, the span is covered |
//! | `manifest` | the manifest of a part | what was read can be written and read again; joining adds up |
//! | `tokens` | continuation tokens, upload ids, hidden paths | round trips; nobody else's token is taken |
//! | `listing` | pages of a tree, and a position | names ascend behind the start, and no answer is longer than asked for |
//! | `ftp_line` | a control connection | the same lines however it is cut; every line is printable and bounded |
//! | `ftp_command` | a line, and a directory | replies have one code and no forged line; no path leaves its root |

mod feed;

pub(crate) use feed::{Feed, frames, head};

/// A target: takes any input, and panics if a property does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its binary and of its folder of seeds.
pub const TARGETS: [(&str, Target); 13] = [
    ("sigv4", crate::sigv4::fuzz::request),
    ("chunked", crate::sigv4::chunked::fuzz::chunked),
    ("xml", crate::s3::fuzz::xml),
    ("request", crate::s3::fuzz::request),
    ("form", crate::s3::fuzz::form),
    ("xorb", crate::provider::cas::fuzz::xorb),
    ("shard", crate::provider::cas::fuzz::shard),
    ("plan", crate::provider::cas::fuzz::plan),
    ("manifest", crate::provider::cas::fuzz::manifest),
    ("tokens", crate::provider::fuzz::tokens),
    ("listing", crate::provider::fuzz::listing),
    ("ftp_line", crate::ftp::fuzz::line),
    ("ftp_command", crate::ftp::fuzz::command),
];

/// Runs a target by its name. Panics if there is none, and if a property does not hold.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no target `{name}`"));
    target(input);
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn fuzz_dir() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
    }

    #[test]
    fn every_seed_holds_what_its_target_asserts() {
        for (name, target) in TARGETS {
            let seeds = fuzz_dir().join("seeds").join(name);
            let mut count = 0;
            for entry in std::fs::read_dir(&seeds).unwrap() {
                let path = entry.unwrap().path();
                let seed = std::fs::read(&path).unwrap();
                let held = std::panic::catch_unwind(|| target(&seed));
                assert!(held.is_ok(), "{}", path.display());
                count += 1;
            }
            assert!(count >= 3, "{name} has {count} seeds");
        }
    }

    #[test]
    fn every_target_has_a_binary_and_no_binary_lacks_a_target() {
        let manifest = std::fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let mut binaries: Vec<_> = manifest["bin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin["name"].as_str().unwrap().to_owned())
            .collect();
        let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        binaries.sort();
        targets.sort();
        assert_eq!(binaries, targets);
    }
}
