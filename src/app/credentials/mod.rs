//! `hugbucket credentials`: adds, lists, and revokes the credentials and users of the configuration file. A gateway that runs
//! picks the change up by itself.
//!
//! | file | does |
//! |---|---|
//! | `arguments` | what the command line says |
//! | `document` | changes the text of the file, and keeps its comments |
//! | `store` | reads and replaces the file |
//! | `secret` | makes secrets |

mod arguments;
mod document;
mod secret;
mod store;

pub use arguments::CredentialsArguments;

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::Table;

use crate::app::Failure;
use crate::app::credentials::arguments::{Action, Limits, NewS3, NewUser};
use crate::app::credentials::document::{Document, Kind};
use crate::app::credentials::store::Store;
use crate::config::credential::{ftp_users, s3_credentials};
use crate::config::{ConfigError, Values};

/// Does what was asked for with the file at `path`, and returns what is to be shown.
///
/// Errors: the file cannot be read or replaced; the entry is none that a gateway would take; the name is taken, or unknown.
/// Then the file is what it was.
pub(super) fn run(path: &Path, arguments: CredentialsArguments) -> Result<String, Failure> {
    match arguments.into_action() {
        Action::AddS3(new) => add_s3(path, new),
        Action::AddFtp(new) => add_ftp(path, &new),
        Action::List => Ok(Document::parse(&Store::read(path)?)?.listing()),
        Action::Revoke { name } => {
            let store = Store::lock(path)?;
            let mut document = Document::parse(store.text())?;
            let kind = document.revoke(&name)?;
            store.replace(&document.to_string())?;
            Ok(format!("{} `{name}` is revoked\n", kind.noun()))
        }
    }
}

fn add_s3(path: &Path, new: NewS3) -> Result<String, Failure> {
    let id = match new.id {
        Some(id) => id,
        None => secret::access_key_id()?,
    };
    let secret = secret::secret_access_key()?;
    let mut table = Table::new();
    table.insert("access_key_id", toml_edit::value(&id));
    table.insert("secret_access_key", toml_edit::value(secret.expose()));
    add(path, Kind::S3, &id, table, &new.limits)?;
    let secret = secret.expose();
    Ok(format!(
        "AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\n"
    ))
}

fn add_ftp(path: &Path, new: &NewUser) -> Result<String, Failure> {
    let password = secret::password()?;
    let mut table = Table::new();
    table.insert("name", toml_edit::value(&new.name));
    let hash = secret::argon2_hash(&password)?;
    table.insert("password_hash", toml_edit::value(hash));
    add(path, Kind::Ftp, &new.name, table, &new.limits)?;
    let (name, password) = (&new.name, password.expose());
    Ok(format!("name={name}\npassword={password}\n"))
}

fn add(
    path: &Path,
    kind: Kind,
    name: &str,
    mut table: Table,
    limits: &Limits,
) -> Result<(), Failure> {
    limits.write_to(&mut table)?;
    check(path, kind, &table)?;
    let store = Store::lock(path)?;
    let mut document = Document::parse(store.text())?;
    document.add(kind, name, table)?;
    store.replace(&document.to_string())
}

/// Has a gateway's own eyes look at the new entry, alone: the others may name files that only the gateway can read.
fn check(path: &Path, kind: Kind, table: &Table) -> Result<(), Failure> {
    let mut alone = Document::default();
    alone.add(kind, "", table.clone())?;
    let file = store::scratch(path, &alone.to_string())?;
    let values = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(file.path()));
    let checked = values.and_then(|values| {
        s3_credentials(&values)?;
        ftp_users(&values)
    });
    checked.map(|_| ()).map_err(|error| {
        // The reader knows the file by its real name.
        let sentence = error.to_string();
        let shown = sentence.replace(
            &file.path().display().to_string(),
            &path.display().to_string(),
        );
        Failure::from(ConfigError::new(shown))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::storage::{Rights, StoredPassword};

    const FILE: &str = "# Kept by hand.\nlog = \"warn\"\n\n# The lab's key.\n[[s3_credentials]]\naccess_key_id = \"lab\" # old\nsecret_access_key = \"hush\"\n";

    fn arguments(line: &str) -> CredentialsArguments {
        use clap::FromArgMatches as _;
        let command = <CredentialsArguments as clap::Args>::augment_args(clap::Command::new("c"));
        let words = std::iter::once("c").chain(line.split_whitespace());
        let matches = command.try_get_matches_from(words).unwrap();
        CredentialsArguments::from_arg_matches(&matches).unwrap()
    }

    struct Scene {
        dir: tempfile::TempDir,
    }

    impl Scene {
        fn with(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("c.toml"), text).unwrap();
            Self { dir }
        }

        fn path(&self) -> std::path::PathBuf {
            self.dir.path().join("c.toml")
        }

        fn run(&self, line: &str) -> Result<String, String> {
            run(&self.path(), arguments(line)).map_err(|failure| failure.to_string())
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.path()).unwrap()
        }

        fn values(&self) -> Values {
            Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&self.path())).unwrap()
        }
    }

    #[test]
    fn a_new_key_is_shown_once_and_counts() {
        let scene = Scene::with(FILE);
        let shown = scene
            .run("add s3 --id job --rights read,list --bucket b --root b/in --expires 2099-01-01T00:00:00Z --source-network 10.0.0.0/8 --namespace team")
            .unwrap();
        let secret = shown
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("AWS_SECRET_ACCESS_KEY=")
            .unwrap();
        assert_eq!(secret.len(), 40);
        let text = scene.text();
        assert!(
            text.starts_with(FILE),
            "what was there stays as it was: {text}"
        );
        let credentials = s3_credentials(&scene.values()).unwrap();
        assert_eq!(credentials.len(), 2);
        let job = &credentials[1];
        assert_eq!(
            (job.access_key_id.as_str(), job.secret.expose()),
            ("job", secret)
        );
        let entitlement = &job.entitlement;
        assert!(matches!(entitlement.rights, Rights::Granted { .. }));
        assert_eq!(&*entitlement.reach.root, "b/in");
        assert!(entitlement.expires_at.is_some() && entitlement.source_networks.is_some());
        assert_eq!(
            entitlement.home.namespace.as_ref().unwrap().as_str(),
            "team"
        );
        let mode = std::fs::metadata(scene.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let listing = scene.run("list").unwrap();
        assert!(
            listing.contains("job") && listing.contains("lab"),
            "{listing}"
        );
        assert!(
            !listing.contains("hush") && !listing.contains(secret),
            "{listing}"
        );
        let left = std::fs::read_dir(scene.dir.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside the file");
    }

    #[test]
    fn a_new_user_has_a_hash_in_the_file() {
        let scene = Scene::with("");
        let shown = scene.run("add ftp ann --root b").unwrap();
        let password = shown
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("password=")
            .unwrap();
        let users = ftp_users(&scene.values()).unwrap();
        assert!(matches!(&users[0].password, StoredPassword::Argon2(_)));
        assert!(!scene.text().contains(password));
        assert!(!scene.run("list").unwrap().contains("argon2"));
    }

    #[test]
    fn a_generated_id_is_another_one_each_time() {
        let scene = Scene::with("");
        let ids: std::collections::BTreeSet<_> = (0..3)
            .map(|_| {
                scene
                    .run("add s3")
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(s3_credentials(&scene.values()).unwrap().len(), 3);
    }

    #[test]
    fn a_file_is_begun_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.toml");
        assert!(run(&path, arguments("list")).is_err());
        assert!(run(&path, arguments("revoke x")).is_err());
        run(&path, arguments("add s3 --id a")).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"a\""));
    }

    #[test]
    fn what_is_revoked_is_gone_and_nothing_else_is() {
        let scene = Scene::with(&format!(
            "{FILE}\n[[s3_credentials]]\naccess_key_id = \"b\"\nsecret_access_key = \"s\"\n\n[[s3_credentials.grants]]\nbucket = \"x\"\nrights = \"all\"\n\n# Ann's.\n[[ftp_users]]\nname = \"ann\"\npassword = \"p\"\n"
        ));
        scene.run("revoke lab").unwrap();
        let text = scene.text();
        assert!(
            text.starts_with("# Kept by hand.\nlog = \"warn\"\n"),
            "{text}"
        );
        assert!(!text.contains("lab") && text.contains("# Ann's."), "{text}");
        assert_eq!(s3_credentials(&scene.values()).unwrap().len(), 1);
        scene.run("revoke b").unwrap();
        assert!(!scene.text().contains("grants"), "{}", scene.text());
        scene.run("revoke ann").unwrap();
        assert!(scene.text().contains("log = \"warn\"") && !scene.text().contains("ann"));
    }

    #[test]
    fn what_no_gateway_would_take_changes_nothing() {
        let scene = Scene::with(FILE);
        for (line, problem) in [
            ("add s3 --id lab", "`lab` is there already"),
            ("add s3 --rights some", "unknown right `some`"),
            ("add s3 --root b/../c", "cannot exist"),
            ("add s3 --bucket a/b", "cannot exist"),
            ("add s3 --expires soon", "no moment"),
            ("add s3 --source-network 10.0.0.0/99", "10.0.0.0/99"),
            ("add s3 --hub-token-file /nowhere/token", "/nowhere/token"),
            ("revoke nobody", "there is no credential or user `nobody`"),
        ] {
            let refused = scene.run(line).unwrap_err();
            assert!(refused.contains(problem), "{line}: {refused}");
            assert_eq!(scene.text(), FILE, "{line}");
            assert_eq!(
                std::fs::read_dir(scene.dir.path()).unwrap().count(),
                1,
                "{line}"
            );
        }
        let broken = Scene::with("log = \n");
        let refused = broken.run("add s3").unwrap_err();
        assert!(refused.contains("line 1"), "{refused}");
        assert_eq!(broken.text(), "log = \n");
        let inline = Scene::with(
            "s3_credentials = [{ access_key_id = \"a\", secret_access_key = \"hush\" }]\n",
        );
        let refused = inline.run("add s3").unwrap_err();
        assert!(
            refused.contains("[[s3_credentials]]") && !refused.contains("hush"),
            "{refused}"
        );
    }

    #[test]
    fn a_link_stays_a_link() {
        let scene = Scene::with(FILE);
        let link = scene.dir.path().join("link.toml");
        std::os::unix::fs::symlink(scene.path(), &link).unwrap();
        run(&link, arguments("add s3 --id a")).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(scene.text().contains("\"a\""));
    }

    #[test]
    fn those_who_add_at_the_same_time_lose_nothing() {
        let scene = Scene::with("");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let scene = &scene;
                scope.spawn(move || scene.run(&format!("add s3 --id k{n}")).unwrap());
            }
        });
        assert_eq!(s3_credentials(&scene.values()).unwrap().len(), 8);
    }
}
