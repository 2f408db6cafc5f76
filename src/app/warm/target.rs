//! What is to be read, as S3 tools write it.

use std::str::FromStr;

use crate::storage::BucketName;

/// A bucket, and what its keys begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: BucketName,
    /// Empty for the whole bucket.
    pub prefix: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text
            .strip_prefix("s3://")
            .ok_or("it should look like s3://bucket/prefix")?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let bucket = BucketName::new(bucket).map_err(|error| error.to_string())?;
        Ok(Self {
            bucket,
            prefix: prefix.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_and_prefix_are_told_apart() {
        for (text, bucket, prefix) in [
            ("s3://data", "data", ""),
            ("s3://data/", "data", ""),
            ("s3://data/models/a b", "data", "models/a b"),
            ("s3://org.data//x", "org.data", "/x"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.bucket.as_str(), &*target.prefix), (bucket, prefix));
        }
        for text in ["", "data", "s3://", "s3:///x", "https://data/x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
