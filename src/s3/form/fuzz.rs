//! Properties of forms, for any body in any frames.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::executor::block_on;
use futures::{StreamExt as _, stream};
use memchr::memmem;

use crate::fuzzing::{Feed, frames};
use crate::s3::form::fields::Fields;
use crate::s3::form::parts::Parts;
use crate::s3::form::policy::Policy;
use crate::storage::ByteStream;

/// The boundary that seeds use; the first delimiter is `--B`.
const BOUNDARY: &str = "B";

/// The largest file that is allowed, in bytes.
const MAX_FILE_BYTES: u64 = 100;

/// What comes of a form: its fields and its file, or the codes of their refusals.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    fields: Vec<(String, String)>,
    file: Result<Vec<u8>, String>,
}

/// A body, and a byte that says how it is cut.
pub(crate) fn form(input: &[u8]) {
    let mut feed = Feed::new(input);
    let seed = feed.byte();
    let body = feed.rest();
    let whole = block_on(read(frames(body, 0)));
    assert_eq!(block_on(read(frames(body, seed))), whole);
    let Ok(read) = whole else {
        return;
    };
    if let Ok(file) = &read.file {
        assert!(file.len() as u64 <= MAX_FILE_BYTES);
        let enclosed = [file, format!("\r\n--{BOUNDARY}").as_bytes()].concat();
        assert!(memmem::find(body, &enclosed).is_some());
        assert!(memmem::find(file, format!("\r\n--{BOUNDARY}").as_bytes()).is_none());
    }
    policy_covers_every_field(&read.fields);
}

async fn read(frames: Vec<Bytes>) -> Result<Read, &'static str> {
    let body = ByteStream::new(stream::iter(frames.into_iter().map(Ok)), None);
    let mut parts = Parts::new(body, BOUNDARY).map_err(|fault| fault.code)?;
    let fields = super::fields(&mut parts)
        .await
        .map_err(|fault| fault.code)?;
    let names = fields.names().map(str::to_owned).collect::<Vec<_>>();
    if let Ok(headers) = fields.headers() {
        assert!(headers.len() <= names.len());
    }
    let mut file = parts.into_file().of_size(0..=MAX_FILE_BYTES);
    let mut content = Vec::new();
    let mut outcome = Ok(());
    while let Some(piece) = file.next().await {
        match piece {
            Ok(piece) => content.extend_from_slice(&piece),
            Err(error) => outcome = Err(error.to_string()),
        }
    }
    let value = |name: String| {
        let value = fields.get(&name).unwrap_or_default().to_owned();
        (name, value)
    };
    Ok(Read {
        fields: names.into_iter().map(value).collect(),
        file: outcome.map(|()| content),
    })
}

/// A form that its policy allows is refused with one field more that the policy does not mention.
fn policy_covers_every_field(pairs: &[(String, String)]) {
    let Some((_, text)) = pairs.iter().find(|(name, _)| name == "policy") else {
        return;
    };
    // The text as it stands, and, so that a fuzzer need not write base64, as if it were the document itself.
    for text in [text.clone(), BASE64.encode(text)] {
        let Ok(policy) = Policy::parse(&text) else {
            continue;
        };
        if policy.check(&fields(pairs, None), "bucket").is_ok() {
            let more = fields(pairs, Some("zz-unheard-of"));
            assert!(policy.check(&more, "bucket").is_err() || policy_names(&text));
            assert!(policy.check(&fields(pairs, None), "tekcub").is_err() || bucket_is_open(&text));
        }
    }
}

fn fields(pairs: &[(String, String)], more: Option<&str>) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        let added = fields.add(name, value.clone());
        added.expect("the names were told apart before");
    }
    if let Some(name) = more {
        let _ = fields.add(name, "x".into());
    }
    fields
}

fn decoded(text: &str) -> Vec<u8> {
    let compact: String = text.split_ascii_whitespace().collect();
    let document = BASE64.decode(compact).unwrap_or_default();
    document.to_ascii_lowercase()
}

/// The fuzzer may come to know the name, or write it in escapes.
fn policy_names(text: &str) -> bool {
    let document = decoded(text);
    memmem::find(&document, b"zz-unheard-of").is_some() || document.contains(&b'\\')
}

/// Reports whether the policy may allow other buckets, by a prefix.
fn bucket_is_open(text: &str) -> bool {
    let document = decoded(text);
    memmem::find(&document, b"starts-with").is_some() || document.contains(&b'\\')
}
