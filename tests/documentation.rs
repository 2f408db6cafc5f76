//! The README against the code: what it says about the configuration is generated from the table of settings.

use std::path::Path;

use hugbucket::config::setting::SETTINGS;

#[test]
fn the_readme_lists_every_setting_with_its_default_and_meaning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("the README is readable");
    let rows = SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        format!(
            "| `{}` | {default} | {} |",
            setting.variable, setting.meaning
        )
    });
    let table = rows.collect::<Vec<_>>().join("\n");
    assert!(
        readme.contains(&table),
        "the README's table should be:\n{table}"
    );
}
