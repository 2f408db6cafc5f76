//! XML in: a small tree with bounded depth and count, for the few documents that clients send.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use crate::s3::fault::Fault;

/// Deeper documents are refused; S3's own go four levels deep.
const MAX_DEPTH: usize = 8;

/// Documents with more elements are refused. A completion of 10,000 parts with one checksum each has 40,001.
const MAX_ELEMENTS: usize = 100_000;

/// An element: its local name, its own text, its children in order. Attributes and namespaces are ignored, as S3 does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// The name without its prefix.
    pub(super) name: String,
    /// The text directly inside, as written.
    pub(super) text: String,
    /// The elements directly inside.
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Parses a document and returns its root, which must have this name.
    ///
    /// Errors: MalformedXML for anything else, for a document type declaration, and beyond the bounds.
    pub(super) fn parse(document: &[u8], root_name: &str) -> Result<Self, Fault> {
        // No XML can hold it, and so no answer could give it back.
        if document.contains(&0) {
            return Err(Fault::malformed_xml("the document holds a zero byte"));
        }
        let text = std::str::from_utf8(document)
            .map_err(|_| Fault::malformed_xml("the document is not UTF-8"))?;
        let root = Builder::default().build(text.trim_start_matches('\u{feff}'))?;
        if root.name != root_name {
            return Err(Fault::malformed_xml(format_args!(
                "the root element is not {root_name}"
            )));
        }
        Ok(root)
    }

    /// Returns the children with this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Returns the text of the first child with this name, without surrounding white space.
    pub(super) fn child_text(&self, name: &str) -> Option<&str> {
        self.child_raw(name).map(str::trim)
    }

    /// Returns the text of the first child with this name exactly as written: keys may begin and end with spaces.
    pub(super) fn child_raw(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(&child.text)
    }
}

/// The elements that are open, outermost first.
#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    count: usize,
}

impl Builder {
    fn build(mut self, text: &str) -> Result<Element, Fault> {
        let mut reader = Reader::from_str(text);
        loop {
            match reader.read_event().map_err(Fault::malformed_xml)? {
                Event::Start(start) => self.begin(&start)?,
                Event::Empty(start) => {
                    self.begin(&start)?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.text(&text.xml10_content())?,
                Event::CData(data) => self.text(&data.xml10_content())?,
                Event::GeneralRef(reference) => {
                    if let Some(character) =
                        reference.resolve_char_ref().map_err(Fault::malformed_xml)?
                    {
                        self.text(character.encode_utf8(&mut [0; 4]))?;
                    } else {
                        let resolved = resolve_predefined_entity(&reference)
                            .ok_or_else(|| Fault::malformed_xml("an entity is unknown"))?;
                        self.text(resolved)?;
                    }
                }
                Event::DocType(_) => {
                    return Err(Fault::malformed_xml("document types are not accepted"));
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
        }
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(Fault::malformed_xml("the document is cut off")),
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), Fault> {
        self.count += 1;
        if self.open.len() >= MAX_DEPTH || self.count > MAX_ELEMENTS {
            return Err(Fault::malformed_xml("the document is too deep or too long"));
        }
        if self.root.is_some() {
            return Err(Fault::malformed_xml("there is more than one root element"));
        }
        self.open.push(Element {
            name: start.local_name().into_inner().to_owned(),
            ..Element::default()
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(closed) = self.open.pop() else {
            return Err(Fault::malformed_xml("an element is closed twice"));
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => self.root = Some(closed),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => {
                return Err(Fault::malformed_xml(
                    "there is text outside the root element",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: &str) -> &'static str {
        Element::parse(document.as_bytes(), "A").unwrap_err().code
    }

    #[test]
    fn elements_are_read_whatever_their_namespace() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\n<s:A xmlns:s=\"urn:x\"> <B>x &amp; &#x79;<!-- no --></B>\
                        <B><![CDATA[<z>]]></B><C/></s:A>\n";
        let root = Element::parse(document.as_bytes(), "A").unwrap();
        let texts: Vec<_> = root.all("B").map(|b| b.text.as_str()).collect();
        assert_eq!(texts, ["x & y", "<z>"]);
        assert_eq!(root.child_text("C"), Some(""));
        assert_eq!(root.child_text("D"), None);
        assert_eq!(root.child_raw("B"), Some("x & y"));
    }

    #[test]
    fn broken_documents_are_refused() {
        for document in [
            "",
            "<A>",
            "<A></B>",
            "<A/><A/>",
            "<B/>",
            "x<A/>",
            "<A>&unknown;</A>",
            "<!DOCTYPE A [<!ENTITY x \"y\">]><A>&x;</A>",
            "<A>&#0;</A>",
            "<A>\0</A>",
        ] {
            assert_eq!(refusal(document), "MalformedXML", "{document}");
        }
        assert!(Element::parse(b"<A>\xff</A>", "A").is_err());
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let deep = format!("<A>{}{}</A>", "<B>".repeat(9), "</B>".repeat(9));
        assert_eq!(refusal(&deep), "MalformedXML");
        let long = format!("<A>{}</A>", "<B/>".repeat(MAX_ELEMENTS));
        assert_eq!(refusal(&long), "MalformedXML");
        let fits = format!("<A>{}</A>", "<B/>".repeat(MAX_ELEMENTS - 1));
        assert!(Element::parse(fits.as_bytes(), "A").is_ok());
    }
}
