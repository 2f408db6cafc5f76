//! What a request to the Security Token Service asks for.

use http::StatusCode;
use time::Duration;

use crate::s3::fault::Fault;
use crate::s3::params::Params;
use crate::storage::{IssueSession, Policy};

/// The version of the service's interface, the only one there is.
const VERSION: &str = "2011-06-15";

/// The longest policy, in characters.
const MAX_POLICY: usize = 2048;

/// Bounds of how long credentials count, in seconds.
const SHORTEST: i64 = 900;
const LONGEST_ROLE: i64 = 43_200;
const LONGEST_FEDERATION: i64 = 129_600;

/// How long they count if nothing is said.
const USUAL_ROLE: i64 = 3600;
const USUAL_FEDERATION: i64 = 43_200;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// GetCallerIdentity.
    CallerIdentity,
    /// AssumeRole: temporary credentials, by default with all rights of the caller.
    Role {
        /// The name of the role, which is only shown.
        role: String,
        session: IssueSession,
    },
    /// GetFederationToken: temporary credentials, by default without any right.
    Federation { session: IssueSession },
}

impl Asked {
    /// Reads a form.
    ///
    /// Errors: MissingAction, InvalidAction, ValidationError, MalformedPolicyDocument, PackedPolicyTooLarge.
    pub(super) fn read(form: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(form).map_err(|_| invalid("the form is not UTF-8"))?;
        let form = Form(Params::parse(Some(text))?);
        let action = form.0.get("Action").ok_or_else(|| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "MissingAction",
                "The request has no Action.",
            )
        })?;
        let version = form.0.get("Version").unwrap_or(VERSION);
        if version != VERSION {
            return Err(unknown_action(action, version));
        }
        match action {
            "GetCallerIdentity" => {
                form.check_names(&[])?;
                Ok(Self::CallerIdentity)
            }
            "AssumeRole" => {
                form.check_names(&["RoleArn", "RoleSessionName", "DurationSeconds", "Policy"])?;
                Ok(Self::Role {
                    role: role(form.required("RoleArn")?)?,
                    session: IssueSession {
                        name: form.session_name("RoleSessionName", 64)?,
                        policy: form.policy()?,
                        life: form.life(LONGEST_ROLE, USUAL_ROLE)?,
                    },
                })
            }
            "GetFederationToken" => {
                form.check_names(&["Name", "DurationSeconds", "Policy"])?;
                Ok(Self::Federation {
                    session: IssueSession {
                        name: form.session_name("Name", 32)?,
                        // As at AWS: without a policy, the credentials may do nothing.
                        policy: Some(form.policy()?.unwrap_or_else(Policy::nothing)),
                        life: form.life(LONGEST_FEDERATION, USUAL_FEDERATION)?,
                    },
                })
            }
            other => Err(unknown_action(other, version)),
        }
    }

    /// Returns the name of the action.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::CallerIdentity => "GetCallerIdentity",
            Self::Role { .. } => "AssumeRole",
            Self::Federation { .. } => "GetFederationToken",
        }
    }
}

struct Form(Params);

impl Form {
    /// Refuses parameters that are not among these, and such that come twice: which of them counts would be a guess.
    fn check_names(&self, known: &[&str]) -> Result<(), Fault> {
        let mut seen = Vec::new();
        for (name, _) in self.0.iter() {
            if !known.contains(&name) && !matches!(name, "Action" | "Version") {
                return Err(invalid(format!("the parameter {name} is not supported")));
            }
            if seen.contains(&name) {
                return Err(invalid(format!("the parameter {name} is given twice")));
            }
            seen.push(name);
        }
        Ok(())
    }

    fn required(&self, name: &str) -> Result<&str, Fault> {
        let value = self.0.non_empty(name);
        value.ok_or_else(|| invalid(format!("the parameter {name} is missing")))
    }

    fn session_name(&self, name: &str, longest: usize) -> Result<String, Fault> {
        let value = self.required(name)?;
        if !(2..=longest).contains(&value.len()) || !value.chars().all(is_name_letter) {
            return Err(invalid(format!(
                "{name} has 2 to {longest} letters, digits, and characters of _+=,.@-"
            )));
        }
        Ok(value.to_owned())
    }

    fn policy(&self) -> Result<Option<Policy>, Fault> {
        let Some(text) = self.0.get("Policy") else {
            return Ok(None);
        };
        if text.chars().count() > MAX_POLICY {
            return Err(Fault::new(
                StatusCode::BAD_REQUEST,
                "PackedPolicyTooLarge",
                format!("The policy has more than {MAX_POLICY} characters."),
            ));
        }
        let policy = Policy::parse(text).map_err(|problem| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "MalformedPolicyDocument",
                format!("The policy cannot be used: {}.", problem.0),
            )
        })?;
        Ok(Some(policy))
    }

    fn life(&self, longest: i64, usual: i64) -> Result<Duration, Fault> {
        let seconds = match self.0.get("DurationSeconds") {
            None => usual,
            Some(text) => text
                .parse()
                .ok()
                .filter(|secs| (SHORTEST..=longest).contains(secs))
                .ok_or_else(|| {
                    invalid(format!(
                        "DurationSeconds is a number from {SHORTEST} to {longest}"
                    ))
                })?,
        };
        Ok(Duration::seconds(seconds))
    }
}

/// Returns the name in `arn:aws:iam::<account>:role/<name>`. There are no roles, so every name will do.
fn role(arn: &str) -> Result<String, Fault> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let name = match parts.as_slice() {
        ["arn", _, "iam", "", _, resource] => resource.strip_prefix("role/"),
        _ => None,
    };
    let name = name.and_then(|path| path.rsplit('/').next());
    match name {
        Some(name) if (1..=64).contains(&name.len()) && name.chars().all(is_name_letter) => {
            Ok(name.to_owned())
        }
        _ => Err(invalid(
            "RoleArn has the form arn:aws:iam::000000000000:role/name",
        )),
    }
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)
}

fn invalid(reason: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "ValidationError", reason)
}

fn unknown_action(action: &str, version: &str) -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "InvalidAction",
        format!("Could not find operation {action} for version {version}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A0%3Arole%2Fteam%2Fany&RoleSessionName=job";

    fn code(form: &str) -> &'static str {
        Asked::read(form.as_bytes()).unwrap_err().code
    }

    #[test]
    fn a_role_is_the_callers_own_rights_for_an_hour() {
        let Asked::Role { role, session } = Asked::read(ROLE.as_bytes()).unwrap() else {
            panic!("another action");
        };
        assert_eq!((role.as_str(), session.name.as_str()), ("any", "job"));
        assert_eq!((session.life, session.policy), (Duration::HOUR, None));
        for secs in [900, 43_200] {
            let form = format!("{ROLE}&DurationSeconds={secs}");
            assert!(matches!(
                Asked::read(form.as_bytes()).unwrap(),
                Asked::Role { session, .. } if session.life == Duration::seconds(secs)
            ));
        }
    }

    #[test]
    fn a_federated_user_may_do_nothing_without_a_policy() {
        let form = "Action=GetFederationToken&Version=2011-06-15&Name=bob";
        let Asked::Federation { session } = Asked::read(form.as_bytes()).unwrap() else {
            panic!("another action");
        };
        assert_eq!(session.policy, Some(Policy::nothing()));
        assert_eq!(session.life, Duration::hours(12));
        let form = format!("{form}&DurationSeconds=129600");
        assert!(Asked::read(form.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        assert_eq!(code(""), "MissingAction");
        assert_eq!(
            code("Action=AssumeRoleWithSAML&Version=2011-06-15"),
            "InvalidAction"
        );
        assert_eq!(
            code("Action=GetCallerIdentity&Version=2010-05-08"),
            "InvalidAction"
        );
        for more in [
            "DurationSeconds=899",
            "DurationSeconds=43201",
            "DurationSeconds=x",
            "DurationSeconds=",
            "PolicyArns.member.1.arn=x",
            "ExternalId=x",
            "SerialNumber=x",
            "Tags.member.1.Key=x",
            "RoleSessionName=other",
            "Unknown=",
        ] {
            assert_eq!(code(&format!("{ROLE}&{more}")), "ValidationError", "{more}");
        }
        for (changed, by) in [
            ("RoleSessionName=job", "RoleSessionName=j"),
            ("RoleSessionName=job", "RoleSessionName=a%20b"),
            ("RoleSessionName=job", "RoleSessionName=a%2Fb"),
            ("RoleSessionName=job", ""),
            ("arn%3Aaws%3Aiam", "arn%3Aaws%3As3"),
            ("role%2F", "user%2F"),
            ("role%2Fteam%2Fany", "role%2F"),
        ] {
            assert_eq!(code(&ROLE.replace(changed, by)), "ValidationError", "{by}");
        }
        assert_eq!(
            code(&format!("{ROLE}&Policy=%7B%7D")),
            "MalformedPolicyDocument"
        );
        assert_eq!(code(&format!("{ROLE}&Policy=")), "MalformedPolicyDocument");
        let long = format!("{ROLE}&Policy={}", "x".repeat(2049));
        assert_eq!(code(&long), "PackedPolicyTooLarge");
    }
}
