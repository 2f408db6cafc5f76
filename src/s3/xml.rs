//! XML out: documents are built element by element, escaped as they are written.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// The namespace of S3's result documents. Error documents have none.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The declaration that every document begins with.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// An XML document under construction.
pub(super) struct Document {
    writer: Writer<Vec<u8>>,
}

impl Document {
    /// Begins a document with its declaration.
    pub(super) fn new() -> Self {
        let mut document = Self::fragment();
        document.write(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        document.writer.get_mut().push(b'\n');
        document
    }

    /// Begins a document whose declaration was already sent.
    pub(super) fn fragment() -> Self {
        Self {
            writer: Writer::new(Vec::new()),
        }
    }

    /// Builds a result document: one root element in S3's namespace.
    pub(super) fn result(root: &str, content: impl FnOnce(&mut Self)) -> Self {
        let mut document = Self::new();
        document.root(root, content);
        document
    }

    /// Writes a root element in S3's namespace.
    pub(super) fn root(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        let start = BytesStart::new(name).with_attributes([("xmlns", NAMESPACE)]);
        self.enclose(start, name, content);
    }

    /// Writes a root element in S3's namespace that holds a text.
    pub(super) fn root_text(&mut self, name: &str, value: &str) {
        self.root(name, |root| root.characters(value));
    }

    /// Writes an element with children.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.enclose(BytesStart::new(name), name, content);
    }

    /// Writes an element with attributes and children; the attributes are written as they are.
    pub(super) fn element_with(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.enclose(start, name, content);
    }

    /// Writes an element that holds a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.element(name, |element| element.characters(value));
    }

    /// Writes text into the element that is open.
    pub(super) fn characters(&mut self, value: &str) {
        self.write(Event::Text(BytesText::from_escaped(escaped(value))));
    }

    /// Writes an element that holds a text, if there is one.
    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Returns the bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.writer.into_inner()
    }

    fn enclose(&mut self, start: BytesStart<'_>, name: &str, content: impl FnOnce(&mut Self)) {
        self.write(Event::Start(start));
        content(self);
        self.write(Event::End(BytesEnd::new(name)));
    }

    fn write(&mut self, event: Event<'_>) {
        self.writer
            .write_event(event)
            .expect("writing into memory cannot fail");
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({self})")
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.writer.get_ref()))
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.into_bytes()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        response
    }
}

/// Escapes a text. Control characters, which XML 1.0 cannot hold, become character references as they do in S3.
fn escaped(text: &str) -> Cow<'_, str> {
    let escaped = escape(text);
    let is_plain = |c: char| c >= ' ' || c == '\t' || c == '\n';
    if escaped.chars().all(is_plain) {
        return escaped;
    }
    let mut whole = String::with_capacity(escaped.len() + 16);
    for c in escaped.chars() {
        if is_plain(c) {
            whole.push(c);
        } else {
            whole.push_str(&format!("&#x{:x};", u32::from(c)));
        }
    }
    Cow::Owned(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let document = Document::result("R", |root| {
            root.text("K", "a&b<c>\"d'\r\u{1}\n日本");
            root.optional("N", None);
            root.text("E", "");
        });
        assert_eq!(
            document.to_string(),
            format!(
                "{DECLARATION}<R xmlns=\"{NAMESPACE}\"><K>a&amp;b&lt;c&gt;&quot;d&apos;&#13;&#x1;\n日本</K><E></E></R>"
            )
        );
    }
}
