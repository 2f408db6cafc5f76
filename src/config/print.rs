//! The effective configuration as a TOML document: what `--print-config` shows.

use std::fmt::Write;

use crate::config::setting::{Kind, SETTINGS};
use crate::config::source::{Origin, Values};

/// Returns every setting with its effective value and its origin.
///
/// **Shape:** a configuration file that, with the secrets added, means the same. Defaults are commented out; secrets are
/// comments that say only whether there is one; credentials and users of the file are shown by their public names.
pub fn document(values: &Values) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let value = values.get(setting.variable);
        let key = setting.key();
        let shown = value.text.expose();
        let line = match setting.kind {
            Kind::Secret if shown.is_empty() => format!("# {key} is not set"),
            Kind::Secret => format!("# {key} is set, and not shown"),
            Kind::Switch if matches!(shown, "true" | "false") => format!("{key} = {shown}"),
            Kind::Text | Kind::TextOrFile | Kind::Switch => {
                format!("{key} = {}", toml::Value::from(shown))
            }
        };
        match &value.origin {
            Origin::Default if line.starts_with('#') => push_line(&mut text, &line),
            Origin::Default => push_line(&mut text, &format!("# {line}")),
            given => push_line(&mut text, &format!("{line}  # {given}")),
        }
    }
    for credential in &values.file.s3_credentials {
        push_line(
            &mut text,
            &format!("# s3_credentials: {}", credential.access_key_id),
        );
    }
    for rule in &values.file.cors_rules {
        push_line(&mut text, &format!("# cors_rules: {}", rule.bucket));
    }
    for (bucket, period) in &values.file.undo {
        push_line(&mut text, &format!("# undo: {bucket} for {period}"));
    }
    for user in &values.file.ftp_users {
        push_line(&mut text, &format!("# ftp_users: {}", user.name));
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_document_shows_origins_and_hides_secrets() {
        let environment = [
            ("HF_TOKEN", "hush"),
            ("AWS_ACCESS_KEY_ID", "own"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ];
        let environment = environment.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let flags = BTreeMap::from([("HUGBUCKET_S3_ADDR", "127.0.0.1:0".to_owned())]);
        let values = Values::gather(&environment.into(), &flags, None).unwrap();
        let document = document(&values);
        assert!(!document.contains("hush"));
        assert!(document.contains("# hf_token is set, and not shown  # HF_TOKEN\n"));
        assert!(document.contains("aws_access_key_id = \"own\"  # AWS_ACCESS_KEY_ID\n"));
        assert!(document.contains("s3_addr = \"127.0.0.1:0\"  # --s3-addr\n"));
        assert!(document.contains("\n# log = \"info\"\n"));
    }

    #[test]
    fn the_document_is_a_configuration_file_with_the_same_meaning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("printed.toml");
        let flags = BTreeMap::from([
            ("HUGBUCKET_LOG", "a=\"b\"".to_owned()),
            ("HUGBUCKET_STORE_CHECKSUMS", "true".to_owned()),
        ]);
        let gathered = Values::gather(&BTreeMap::new(), &flags, None).unwrap();
        std::fs::write(&path, document(&gathered)).unwrap();
        let again = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&path)).unwrap();
        for setting in SETTINGS {
            let (first, second) = (gathered.get(setting.variable), again.get(setting.variable));
            assert_eq!(first.text, second.text, "{}", setting.variable);
        }
    }
}
