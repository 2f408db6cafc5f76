//! Properties of what the adapter reads: documents, and the heads of requests.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::fuzzing::{Feed, head};
pub(crate) use crate::s3::form::fuzz::form;
use crate::s3::params::Params;
use crate::s3::route::{ObjectAction, Route};
use crate::s3::target::Target;
use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;
use crate::s3::{
    bucket, completion, condition, copy, delete, encoded_word, exchange, integrity, metadata,
    part_copy, tagging,
};
use crate::storage::{ByteRange, ObjectKey, Tags};

/// The roots of all documents that clients send.
const ROOTS: [&str; 4] = [
    "CompleteMultipartUpload",
    "CreateBucketConfiguration",
    "Delete",
    "Tagging",
];

/// Any document, taken for each of those that clients send.
pub(crate) fn xml(input: &[u8]) {
    for root in ROOTS {
        if let Ok(element) = Element::parse(input, root) {
            assert_eq!(element.name, root);
            tree_is_bounded(&element);
            tree_can_be_written(&element);
        }
    }
    // A refusal is an answer that names what was wrong, and nothing else.
    let _ = bucket::check_configuration(input);
    if let Ok(parts) = completion::named_parts(input) {
        assert!((1..=10_000).contains(&parts.len()));
        let numbers = parts.iter().map(|part| part.part_number.get());
        assert!(
            numbers
                .into_iter()
                .all(|number| (1..=10_000).contains(&number))
        );
    }
    if let Ok(batch) = delete::Batch::parse(input) {
        assert!((1..=1000).contains(&batch.objects.len()));
        for (name, deletion) in &batch.objects {
            if let Ok(deletion) = deletion {
                assert_eq!(deletion.key.as_str(), name);
            }
        }
    }
    if let Ok(tags) = tagging::of_document(input) {
        assert!(tags.len() <= 10);
        let document = tagging::document(&tags).into_bytes();
        assert_eq!(tagging::of_document(&document).ok(), Some(tags));
    }
}

fn tree_is_bounded(root: &Element) {
    let (mut level, mut depth, mut count) = (vec![root], 0, 0);
    while !level.is_empty() {
        depth += 1;
        count += level.len();
        level = level.iter().flat_map(|element| &element.children).collect();
    }
    assert!(
        depth <= 8 && count <= 100_000,
        "{depth} deep, {count} elements"
    );
}

/// Writes what was read and reads it again. Text is written before children, which is as much as a tree knows of its place.
fn tree_can_be_written(root: &Element) {
    fn is_plain(element: &Element) -> bool {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
        !element.name.is_empty()
            && element.name.bytes().all(is_letter)
            && !element
                .name
                .starts_with(|first: char| first.is_ascii_digit())
            && element.children.iter().all(is_plain)
    }
    fn write(document: &mut Document, element: &Element) {
        document.element(&element.name, |inside| {
            inside.characters(&element.text);
            for child in &element.children {
                write(inside, child);
            }
        });
    }
    if is_plain(root) {
        let mut document = Document::new();
        write(&mut document, root);
        let written = document.into_bytes();
        let again = Element::parse(&written, &root.name);
        let text = String::from_utf8_lossy(&written);
        assert_eq!(again.as_ref().ok(), Some(root), "{again:?} {text}");
    }
}

/// Any request: a head as [`head`] reads it, then eight bytes for the size of an object.
pub(crate) fn request(input: &[u8]) {
    let mut feed = Feed::new(input);
    let size = feed.number();
    let Some(head) = head(feed.rest()) else {
        return;
    };
    let Ok(params) = Params::parse(head.uri.query()) else {
        return;
    };
    let headers = exchange::all_headers(&head.headers, &params);
    let domains = ["s3.example".to_owned()];
    let target = Target::locate(exchange::host(&head), head.uri.path(), &domains);
    if let Ok(target) = target {
        name_is_what_was_sent(&target, head.uri.path());
        if let Ok(route) = Route::choose(&head.method, target, &params, &headers) {
            route_is_named(&route, &head.method, &params);
        }
    }
    if let Some(range) = condition::range(&headers) {
        range_lies_within(range, size);
    }
    if let Ok(Some(range)) = part_copy::source_range(&headers) {
        range_lies_within(range, size);
    }
    if let Ok(metadata) = metadata::from_headers(&headers) {
        let user = metadata.user.iter();
        assert!(
            user.map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
                <= 2048
        );
        metadata
            .user
            .values()
            .for_each(|text| word_is_reversible(text));
        tags_are_bounded(&metadata.tags);
    }
    if let Ok(source) = copy::Source::read(&headers) {
        key_is_sound(&source.key);
    }
    let _ = integrity::announced(&headers);
    let _ = integrity::announced_of_completion(&headers);
    let _ = completion::claims(&headers);
    let _ = condition::of_read(&headers);
    let _ = condition::of_write(&headers);
    let _ = condition::of_delete(&headers);
    let _ = condition::of_copy_source(&headers);
}

/// A path-style name, put together again, is the path as it was sent but for its encoding.
fn name_is_what_was_sent(target: &Target, raw_path: &str) {
    let sent: Vec<u8> =
        percent_decode_str(raw_path.strip_prefix('/').unwrap_or(raw_path)).collect();
    let named = match target {
        Target::Service => String::new(),
        Target::Bucket(bucket) => bucket.clone(),
        Target::Object(bucket, key) => format!("{bucket}/{key}"),
    };
    let is_path_style =
        sent.strip_suffix(b"/").unwrap_or(&sent) == named.as_bytes() || sent == named.as_bytes();
    let is_virtual_hosted = match target {
        Target::Service => false,
        Target::Bucket(_) => sent.is_empty(),
        Target::Object(_, key) => sent == key.as_bytes(),
    };
    assert!(
        is_path_style || is_virtual_hosted,
        "{target:?} of {raw_path}"
    );
}

fn route_is_named(route: &Route, method: &Method, params: &Params) {
    assert!(!route.name().is_empty());
    let Route::Object(action, _, key) = route else {
        return;
    };
    key_is_sound(key);
    let is_plain = |name: &str| {
        let signing = name
            .get(..6)
            .is_some_and(|head| head.eq_ignore_ascii_case("x-amz-"));
        signing || name == "x-id" || name == "versionId"
    };
    if matches!(
        action,
        ObjectAction::Put | ObjectAction::Copy | ObjectAction::Delete
    ) {
        assert!(matches!(*method, Method::PUT | Method::DELETE));
        assert!(params.iter().all(|(name, _)| is_plain(name)), "{params:?}");
    }
}

fn key_is_sound(key: &ObjectKey) {
    let key = key.as_str();
    assert!((1..=1024).contains(&key.len()));
    assert!(!key.starts_with('/') && !key.starts_with(".hugbucket/") && !key.contains("//"));
    let is_odd = |segment: &str| matches!(segment, "." | "..");
    assert!(!key.split('/').any(is_odd) && !key.chars().any(char::is_control));
}

fn range_lies_within(range: ByteRange, size: u64) {
    let resolved = [range.resolve(size), range.resolve_within(size)];
    for resolved in resolved.into_iter().flatten() {
        assert!(resolved.start < resolved.end && resolved.end <= size);
        assert!(resolved.len_bytes() <= size);
    }
}

/// What is kept of a header can be given back in one, and is the same text to whoever reads it.
fn word_is_reversible(text: &str) {
    let encoded = encoded_word::encode(text);
    assert!(encoded.is_ascii());
    if !text.is_ascii() {
        assert!(encoded.split(' ').all(|word| word.len() <= 75), "{encoded}");
        assert_eq!(encoded_word::decode(&encoded), text);
    }
}

fn tags_are_bounded(tags: &Tags) {
    assert!(tags.len() <= 10);
    for (key, value) in tags.iter() {
        assert!((1..=128).contains(&key.chars().count()) && value.chars().count() <= 256);
    }
}
