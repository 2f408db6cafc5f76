//! The sources of values, and which one wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::file::{self, FileContents};
use crate::config::setting::{CONFIG_VARIABLE, SETTINGS, Setting, of_variable};
use crate::storage::Secret;

/// The process's environment, as far as it concerns the configuration.
pub type Environment = BTreeMap<String, String>;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table's default, or its default for the development Hub.
    Default,
    /// The configuration file, under this key.
    File(PathBuf, String),
    /// The environment variable of this name, or the file that it names.
    Variable(String),
    /// The flag of this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path, key) => write!(f, "`{key}` in {}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A winning text and its origin. All texts are kept as secrets, so that none is shown by accident.
#[derive(Debug, Clone)]
pub struct Value {
    /// The text; empty for none.
    pub text: Secret,
    /// Where it came from.
    pub origin: Origin,
}

/// The winning value of every setting, and the lists of the configuration file.
#[derive(Debug)]
pub struct Values {
    by_variable: BTreeMap<&'static str, Value>,
    /// `[[s3_credentials]]` and `[[ftp_users]]` of the file; its settings are merged already.
    pub file: FileContents,
    /// Path of the configuration file, if there is one.
    pub file_path: Option<PathBuf>,
    /// Sentences about things that are odd, but no reason to refuse the start.
    pub warnings: Vec<String>,
}

impl Values {
    /// Merges the sources: defaults, then the file, then the environment, then the flags. `flags` maps variables to the
    /// texts that were given on the command line.
    ///
    /// An empty text counts as not given, but for `HF_TOKEN`, where it is kept and refused later: an empty token is a
    /// broken deployment, and must not silently start the development Hub.
    ///
    /// Errors: the configuration file or a `*_FILE` cannot be read, or a value is given in two ways at once.
    pub fn gather(
        environment: &Environment,
        flags: &BTreeMap<&'static str, String>,
        config_flag: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let file_path = config_flag.map(Path::to_path_buf).or_else(|| {
            let path = environment.get(CONFIG_VARIABLE);
            path.filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let mut values = Self {
            by_variable: BTreeMap::new(),
            file: file_path
                .as_deref()
                .map_or_else(|| Ok(FileContents::default()), file::read)?,
            file_path,
            warnings: unknown_variables(environment),
        };
        values.take_file()?;
        for setting in SETTINGS {
            values.take_variable(setting, environment)?;
            if let (Some(text), Some(flag)) = (flags.get(setting.variable), setting.flag()) {
                values.set(setting, text, Origin::Flag(flag));
            }
        }
        values.take_defaults();
        Ok(values)
    }

    /// Returns the winning value of a setting.
    pub fn get(&self, variable: &str) -> &Value {
        self.by_variable
            .get(variable)
            .expect("only variables of the table are asked for, and each of them has a value")
    }

    /// Reports whether a source, and not a default, gave the value.
    pub fn is_given(&self, variable: &str) -> bool {
        self.get(variable).origin != Origin::Default
    }

    /// Parses the winning text of a setting. Errors name the origin; for secrets, `parse` must not repeat the text.
    pub fn parse<T>(
        &self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let value = self.get(variable);
        parse(value.text.expose().trim())
            .map_err(|problem| ConfigError::new(format!("{}: {problem}", value.origin)))
    }

    fn set(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        if text.is_empty() && setting.variable != "HF_TOKEN" {
            return;
        }
        let text = Secret::new(text);
        self.by_variable
            .insert(setting.variable, Value { text, origin });
    }

    fn take_file(&mut self) -> Result<(), ConfigError> {
        let Some(path) = self.file_path.clone() else {
            return Ok(());
        };
        for value in std::mem::take(&mut self.file.values) {
            if self.by_variable.contains_key(value.setting.variable) {
                return Err(ConfigError::new(format!(
                    "{}: `{}` is given twice, directly and by file",
                    path.display(),
                    value.setting.key()
                )));
            }
            let origin = Origin::File(path.clone(), value.key);
            let text = if value.is_path {
                read_secret_file(Path::new(&value.text), &origin)?
            } else {
                value.text
            };
            self.set(value.setting, &text, origin);
        }
        Ok(())
    }

    fn take_variable(
        &mut self,
        setting: &'static Setting,
        environment: &Environment,
    ) -> Result<(), ConfigError> {
        let direct = environment.get(setting.variable);
        let file_variable = setting.file_variable();
        let by_file = file_variable
            .and_then(|name| environment.get(&name).map(|path| (name, path)))
            .filter(|(_, path)| !path.is_empty());
        if let Some((name, path)) = by_file {
            if direct.is_some_and(|text| !text.is_empty()) {
                return Err(ConfigError::new(format!(
                    "{} and {name} are both set",
                    setting.variable
                )));
            }
            let origin = Origin::Variable(name);
            let text = read_secret_file(Path::new(path), &origin)?;
            self.set(setting, &text, origin);
        } else if let Some(text) = direct {
            self.set(setting, text, Origin::Variable(setting.variable.into()));
        }
        Ok(())
    }

    /// Fills in what no source gave. Without a token, the development Hub's defaults come first.
    fn take_defaults(&mut self) {
        let is_development = !self.by_variable.contains_key("HF_TOKEN");
        for setting in SETTINGS {
            let development = setting.development_default.filter(|_| is_development);
            let text = Secret::new(development.unwrap_or(setting.default));
            let origin = Origin::Default;
            self.by_variable
                .entry(setting.variable)
                .or_insert(Value { text, origin });
        }
    }
}

/// Reads a file that holds one value. The line end that editors and `echo` leave behind is not part of it.
pub(crate) fn read_secret_file(path: &Path, origin: &Origin) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(format!("{origin}: cannot read {}: {error}", path.display()))
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(ConfigError::new(format!(
            "{origin}: {} is empty",
            path.display()
        )));
    }
    Ok(text.to_owned())
}

/// Returns a sentence for every `HUGBUCKET_` variable that means nothing. It is no error: the variables of another
/// version must not stop a rolling update.
fn unknown_variables(environment: &Environment) -> Vec<String> {
    environment
        .keys()
        .filter(|name| name.starts_with("HUGBUCKET_") && *name != CONFIG_VARIABLE)
        .filter(|name| of_variable(name).is_none() && !is_service_link(name))
        .map(|name| format!("{name} is not a variable of hugbucket, and has no effect"))
        .collect()
}

/// Recognises what Kubernetes puts into every pod for a Service called `hugbucket` or `hugbucket-…`:
/// `HUGBUCKET_SERVICE_HOST`, `HUGBUCKET_PORT`, `HUGBUCKET_S3_PORT_9000_TCP_ADDR`, and so on.
fn is_service_link(name: &str) -> bool {
    let has_port_number = || {
        name.split("_PORT_").skip(1).any(|rest| {
            let (port, rest) = rest.split_once('_').unwrap_or((rest, ""));
            let protocol = rest.split('_').next().unwrap_or("");
            port.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(protocol, "TCP" | "UDP" | "SCTP")
        })
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || has_port_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect()
    }

    fn gather(pairs: &[(&str, &str)]) -> Result<Values, ConfigError> {
        Values::gather(&environment(pairs), &BTreeMap::new(), None)
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file_which_beats_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(
            &path,
            "s3_region = \"file\"\nlog = \"warn\"\nmax_requests = 5",
        )
        .unwrap();
        let environment = environment(&[
            ("HUGBUCKET_CONFIG", path.to_str().unwrap()),
            ("HUGBUCKET_S3_REGION", "variable"),
            ("HUGBUCKET_LOG", "debug"),
        ]);
        let flags = BTreeMap::from([("HUGBUCKET_LOG", "error".to_owned())]);
        let values = Values::gather(&environment, &flags, None).unwrap();
        let text = |variable| values.get(variable).text.expose().to_owned();
        assert_eq!(text("HUGBUCKET_LOG"), "error");
        assert_eq!(text("HUGBUCKET_S3_REGION"), "variable");
        assert_eq!(text("HUGBUCKET_MAX_REQUESTS"), "5");
        assert_eq!(text("HUGBUCKET_LOG_FORMAT"), "text");
        assert!(
            values.is_given("HUGBUCKET_MAX_REQUESTS") && !values.is_given("HUGBUCKET_LOG_FORMAT")
        );
    }

    #[test]
    fn the_flag_for_the_file_beats_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flag.toml");
        std::fs::write(&path, "").unwrap();
        let environment = environment(&[("HUGBUCKET_CONFIG", "/nowhere")]);
        let values = Values::gather(&environment, &BTreeMap::new(), Some(&path)).unwrap();
        assert_eq!(values.file_path, Some(path));
    }

    #[test]
    fn secrets_are_read_from_files_without_their_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hf_x \n").unwrap();
        let values = gather(&[("HF_TOKEN_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(values.get("HF_TOKEN").text.expose(), "hf_x ");
    }

    #[test]
    fn a_secret_given_twice_or_in_an_unreadable_or_empty_file_is_refused() {
        let twice = gather(&[("HF_TOKEN", "a"), ("HF_TOKEN_FILE", "/b")]).unwrap_err();
        assert_eq!(twice.to_string(), "HF_TOKEN and HF_TOKEN_FILE are both set");
        let missing = gather(&[("HF_TOKEN_FILE", "/nowhere/token")]).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("HF_TOKEN_FILE: cannot read /nowhere/token: ")
        );
        let empty = gather(&[("HF_TOKEN_FILE", "/dev/null")]).unwrap_err();
        assert_eq!(empty.to_string(), "HF_TOKEN_FILE: /dev/null is empty");
    }

    #[test]
    fn empty_variables_count_as_unset_but_an_empty_token_does_not() {
        let values = gather(&[("HUGBUCKET_S3_ADDR", ""), ("HF_TOKEN", "")]).unwrap();
        assert!(!values.is_given("HUGBUCKET_S3_ADDR"));
        assert!(values.is_given("HF_TOKEN"));
    }

    #[test]
    fn unknown_variables_warn_and_service_links_do_not() {
        let values = gather(&[
            ("HUGBUCKET_S3_ADRR", "x"),
            ("HUGBUCKET_CONFIG", ""),
            ("HUGBUCKET_SERVICE_HOST", "10.0.0.1"),
            ("HUGBUCKET_SERVICE_PORT", "9000"),
            ("HUGBUCKET_SERVICE_PORT_S3", "9000"),
            ("HUGBUCKET_PORT", "tcp://10.0.0.1:9000"),
            ("HUGBUCKET_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
            ("HUGBUCKET_FTP_PORT_2121_TCP_ADDR", "10.0.0.1"),
        ])
        .unwrap();
        assert_eq!(
            values.warnings,
            ["HUGBUCKET_S3_ADRR is not a variable of hugbucket, and has no effect"]
        );
    }

    #[test]
    fn defaults_of_the_development_hub_apply_only_without_a_token() {
        let listener = |values: &Values| values.get("HUGBUCKET_S3_ADDR").text.expose().to_owned();
        assert_eq!(listener(&gather(&[]).unwrap()), "127.0.0.1:9000");
        assert_eq!(
            listener(&gather(&[("HF_TOKEN", "hf_x")]).unwrap()),
            "0.0.0.0:9000"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let values = gather(&[("HF_TOKEN", "hush"), ("AWS_SECRET_ACCESS_KEY", "hush")]).unwrap();
        assert!(!format!("{values:?}").contains("hush"));
    }
}
