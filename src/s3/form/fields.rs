//! The fields of a form before its file.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::s3::fault::Fault;

/// Fields that mean what the header of the same name means, besides all that begin with `x-amz-`.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// Fields that are about the form's signature.
const SIGNATURE: [&str; 5] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
];

/// What a form says besides its file, in the order received.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a field. Errors: InvalidArgument for one that was there already: which of two counts would be a guess.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let name = name.to_ascii_lowercase();
        if self.get(&name).is_some() {
            return Err(Fault::invalid_argument(
                "field",
                format!("The field `{name}` comes twice."),
            ));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Returns a field by its lower-case name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Returns all names, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Puts the name of the chosen file wherever `${filename}` stands.
    pub(super) fn name_file(&mut self, file_name: &str) {
        for (_, value) in &mut self.0 {
            if value.contains("${filename}") {
                *value = value.replace("${filename}", file_name);
            }
        }
    }

    /// Returns the fields that a PUT would have as headers.
    ///
    /// Errors: InvalidArgument for a value that no header can have.
    pub(super) fn headers(&self) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            let header = match name.as_str() {
                "acl" => "x-amz-acl",
                name if SIGNATURE.contains(&name) => continue,
                name if HEADERS.contains(&name) || name.starts_with("x-amz-") => name,
                _ => continue,
            };
            let refused = || {
                let reason = format!("The value of the field `{name}` cannot be a header's.");
                Fault::invalid_argument("field", reason)
            };
            headers.insert(
                HeaderName::try_from(header).map_err(|_| refused())?,
                HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?,
            );
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        fields
    }

    #[test]
    fn names_are_case_insensitive_and_come_once() {
        let mut fields = fields(&[("Key", "a")]);
        assert_eq!(fields.get("key"), Some("a"));
        let twice = fields.add("KEY", "b".into()).unwrap_err();
        assert_eq!(twice.code, "InvalidArgument");
        assert_eq!(fields.names().collect::<Vec<_>>(), ["key"]);
    }

    #[test]
    fn the_file_lends_its_name() {
        let mut fields = fields(&[
            ("key", "user/${filename}"),
            ("x-amz-meta-name", "${filename}"),
        ]);
        fields.name_file("a b.txt");
        assert_eq!(fields.get("key"), Some("user/a b.txt"));
        assert_eq!(fields.get("x-amz-meta-name"), Some("a b.txt"));
    }

    #[test]
    fn headers_are_those_of_the_object_alone() {
        let headers = fields(&[
            ("acl", "private"),
            ("Content-Type", "image/png"),
            ("X-Amz-Meta-Word", "日本"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-date", "20260102T030405Z"),
            ("x-amz-signature", "ff"),
            ("success_action_status", "201"),
            ("submit", "Upload"),
        ])
        .headers()
        .unwrap();
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-type",
                "x-amz-acl",
                "x-amz-checksum-crc32",
                "x-amz-meta-word"
            ]
        );
        let code = |name, value| fields(&[(name, value)]).headers().unwrap_err().code;
        assert_eq!(code("content-type", "a\nb"), "InvalidArgument");
        assert_eq!(code("x-amz-meta- a", "b"), "InvalidArgument");
        // Tags are a document here, and no header.
        assert!(
            fields(&[("tagging", "<Tagging/>")])
                .headers()
                .unwrap()
                .is_empty()
        );
    }
}
