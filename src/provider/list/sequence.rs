//! Holding entries back until nothing can come before them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::provider::list::item::Item;

/// An entry came after one that sorts behind it was let go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfOrder;

/// Puts entries into the order of their names, if they come in the order of their paths or of their names.
///
/// Only directories are ever held back, and only those that the current path begins with: a handful.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    held: BTreeMap<String, Item>,
    /// The last name that was let go.
    last: Option<String>,
}

impl Sequence {
    /// Starts where an earlier answer ended: with the directories it held back, behind the name it let go last.
    pub(super) fn resume(held: &[String], last: Option<String>) -> Self {
        let directories = held.iter().map(|path| Item::directory(path.clone()));
        Self {
            held: directories.map(|item| (item.name.clone(), item)).collect(),
            last,
        }
    }

    /// Takes an entry in, and returns those that are let go by it, in order.
    pub(super) fn push(&mut self, item: Item) -> Result<Vec<Item>, OutOfOrder> {
        match self.last.as_ref().map(|last| item.name.cmp(last)) {
            Some(Ordering::Less) => return Err(OutOfOrder),
            Some(Ordering::Equal) => return Ok(Vec::new()),
            Some(Ordering::Greater) | None => {}
        }
        let floor = item.floor().to_owned();
        self.held.entry(item.name.clone()).or_insert(item);
        let mut ready = Vec::new();
        while let Some(first) = self.held.first_entry()
            && *first.key() <= floor
        {
            let (name, item) = first.remove_entry();
            self.last = Some(name);
            ready.push(item);
        }
        Ok(ready)
    }

    /// Returns the directories that are held back, without their slashes.
    pub(super) fn held(&self) -> Vec<String> {
        self.held
            .values()
            .map(|item| item.floor().to_owned())
            .collect()
    }

    /// Lets everything go: nothing comes any more.
    pub(super) fn finish(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.held).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::list::item::file;

    /// Pushes paths, those with a trailing slash as directories, and returns the names in the order they are let go.
    fn run(paths: &[&str]) -> Result<Vec<String>, OutOfOrder> {
        let mut sequence = Sequence::default();
        let mut names = Vec::new();
        for path in paths {
            let item = match path.strip_suffix('/') {
                Some(directory) => Item::directory(directory.into()),
                None => Item::object(file(path)),
            };
            names.extend(sequence.push(item)?.into_iter().map(|item| item.name));
        }
        names.extend(sequence.finish().into_iter().map(|item| item.name));
        Ok(names)
    }

    #[test]
    fn both_orders_of_directories_come_out_the_same() {
        let by_path = run(&["a/", "a-/", "a-b", "a.txt", "a0", "b"]).unwrap();
        let by_name = run(&["a-/", "a-b", "a.txt", "a/", "a0", "b"]).unwrap();
        assert_eq!(by_path, ["a-/", "a-b", "a.txt", "a/", "a0", "b"]);
        assert_eq!(by_name, by_path);
    }

    #[test]
    fn disorder_is_noticed_and_a_repetition_is_passed_over() {
        assert_eq!(run(&["b", "a"]), Err(OutOfOrder));
        assert_eq!(run(&["a", "a", "b"]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_resumed_sequence_goes_on_with_what_it_held() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.push(Item::directory("a".into())), Ok(vec![]));
        let mut sequence = Sequence::resume(&sequence.held(), Some("Z".into()));
        let ready = sequence.push(Item::object(file("b"))).unwrap();
        let names: Vec<_> = ready.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a/", "b"]);
        assert_eq!(sequence.push(Item::object(file("X"))), Err(OutOfOrder));
    }
}
