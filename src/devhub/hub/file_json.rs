//! How a file looks in `tree` and `paths-info`.

use serde_json::{Value, json};

use crate::devhub::clock::iso;
use crate::devhub::registry::FileEntry;

/// Returns the JSON of a file. `mtime` and `contentType` are left out when unknown.
pub(super) fn file_json(path: &str, file: &FileEntry) -> Value {
    let mut json = json!({
        "type": "file",
        "path": path,
        "size": file.size,
        "xetHash": file.hash,
        "uploadedAt": iso(file.uploaded_at),
    });
    if let Some(mtime) = file.mtime.and_then(iso) {
        json["mtime"] = mtime.into();
    }
    if let Some(content_type) = &file.content_type {
        json["contentType"] = content_type.as_str().into();
    }
    json
}
