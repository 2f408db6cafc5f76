//! Properties of upload ids, of the paths of parts, and of records.

use crate::provider::multipart::Record;
use crate::provider::multipart::layout::{Kind, Layout, kind_of, upload_of_record};
use crate::storage::UploadId;
use crate::storage::name::HIDDEN_PREFIX;

/// Any text for an id, a hidden path, and a record.
pub(in crate::provider) fn names(input: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Record>(input) {
        let written = serde_json::to_vec(&record).expect("what was read can be written");
        assert_eq!(
            serde_json::from_slice::<Record>(&written).ok(),
            Some(record)
        );
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(id) = text.parse::<UploadId>() {
        assert_eq!(id.as_str(), text);
        for path in [Layout::of(&id).record(), Layout::of(&id).done_record()] {
            assert!(path.starts_with(HIDDEN_PREFIX));
            assert!(kind_of(&path).is_some_and(|(_, found)| found == id));
        }
    }
    let Some((kind, id)) = kind_of(text) else {
        assert_eq!(upload_of_record(text), None);
        return;
    };
    assert!(text.starts_with(HIDDEN_PREFIX) && text.contains(id.as_str()));
    assert_eq!(upload_of_record(text).is_some(), kind == Kind::Record);
    let layout = Layout::of(&id);
    let Some(part) = layout.parse(text) else {
        return;
    };
    assert_eq!(kind, Kind::Part);
    let (number, hash) = (part.part_number, &part.part_hash);
    let path = if part.is_manifest {
        layout.manifest(number, hash)
    } else {
        layout.part(number, hash, &part.checksums)
    };
    let again = layout.parse(&path).expect("our own paths are known");
    assert_eq!((again.part_number, again.part_hash), (number, *hash));
    assert!(part.is_manifest || again == part);
}
