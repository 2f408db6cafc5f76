//! XML, in and out.

use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;

/// Writes a listing of so many keys and returns the document.
pub fn list_document(keys: usize) -> Vec<u8> {
    let document = Document::result("ListBucketResult", |root| {
        root.text("Name", "bucket");
        for n in 0..keys {
            root.element("Contents", |entry| {
                entry.text("Key", &format!("path/to/object & {n:08}"));
                entry.text("LastModified", "2026-01-01T00:00:00.000Z");
                entry.text("ETag", "\"0123456789abcdef0123456789abcdef-1\"");
                entry.text("Size", "1048576");
                entry.text("StorageClass", "STANDARD");
            });
        }
    });
    document.into_bytes()
}

/// Reads a completion of a multipart upload, and returns how many parts it names; nothing if it is malformed.
pub fn read_completion(document: &[u8]) -> Option<usize> {
    let root = Element::parse(document, "CompleteMultipartUpload").ok()?;
    Some(root.all("Part").count())
}
