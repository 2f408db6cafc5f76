use super::*;

const A: Value = Value::Bytes([1; 32]);
const B: Value = Value::Bytes([2; 32]);
const C: Value = Value::Bytes([3; 32]);

fn write(value: Value, mark: Option<&str>) -> Write {
    Write {
        value,
        content: None,
        mark: mark.map(str::to_owned),
    }
}

/// Adds a write that lasted from one moment to another.
fn add(register: &mut Register, value: Value, from: Moment, to: Moment, fate: Fate) -> WriteId {
    let id = register.begin(write(value, None), from, 1);
    register.end(id, fate, to).unwrap();
    id
}

fn register() -> Register {
    Register::new(true)
}

#[test]
fn an_acknowledged_write_must_be_seen() {
    let mut register = register();
    add(&mut register, A, 10, 20, Fate::Done);
    assert_eq!(register.read(Value::Absent, 21, 22), Err(Wrong::Lost));
    assert_eq!(register.read(Value::Absent, 15, 22), Ok(()));
    assert_eq!(register.read(A, 21, 22), Ok(()));
    assert_eq!(register.read(B, 21, 22), Err(Wrong::Foreign));
}

#[test]
fn of_writes_at_once_either_may_be_the_last() {
    let mut register = register();
    add(&mut register, A, 10, 20, Fate::Done);
    add(&mut register, B, 15, 25, Fate::Done);
    for value in [A, B] {
        assert_eq!(register.read(value, 30, 31), Ok(()));
    }
    add(&mut register, C, 26, 40, Fate::Done);
    for value in [A, B] {
        assert_eq!(register.read(value, 41, 42), Err(Wrong::Lost));
    }
}

#[test]
fn a_refused_write_is_never_seen() {
    let mut register = register();
    let id = register.begin(write(A, None), 10, 1);
    assert_eq!(register.read(A, 11, 12), Ok(()));
    assert_eq!(register.end(id, Fate::Refused, 13), Err(Wrong::Refused));
    add(&mut register, B, 20, 21, Fate::Refused);
    assert_eq!(register.read(B, 22, 23), Err(Wrong::Refused));
    assert_eq!(register.read(Value::Absent, 22, 23), Err(Wrong::Lost));
}

#[test]
fn a_failed_write_may_be_seen_but_replaces_none_that_began_after_it() {
    let mut register = register();
    add(&mut register, A, 10, 20, Fate::Done);
    add(&mut register, B, 21, 30, Fate::Failed);
    for value in [A, B] {
        assert_eq!(register.read(value, 31, 31 + 1), Ok(()));
    }
    // It was seen, so what came before it is gone.
    assert_eq!(register.read(A, 40, 41), Err(Wrong::Lost));
    add(&mut register, C, 50, 60, Fate::Done);
    assert_eq!(register.read(B, 61, 62), Err(Wrong::Lost));
}

#[test]
fn an_unanswered_write_may_take_effect_until_its_process_is_over() {
    let mut register = register();
    add(&mut register, A, 10, 20, Fate::Unanswered);
    add(&mut register, B, 30, 40, Fate::Done);
    assert!(!register.is_settled());
    assert_eq!(register.read(A, 50, 51), Ok(()));
    add(&mut register, C, 70, 80, Fate::Done);
    register.close(1, 60);
    assert!(register.is_settled());
    assert_eq!(register.read(A, 90, 91), Err(Wrong::Lost));
    assert_eq!(register.read(C, 90, 91), Ok(()));
}

#[test]
fn what_lies_beside_bytes_belongs_to_them() {
    let mut register = register();
    let id = register.begin(write(A, Some("a")), 10, 1);
    register.end(id, Fate::Done, 20).unwrap();
    assert_eq!(register.beside(A, Some("a"), 30, 31), Ok(()));
    assert_eq!(register.beside(A, Some("b"), 30, 31), Err(Wrong::Beside));
    assert_eq!(register.beside(A, None, 30, 31), Err(Wrong::Beside));
    // One that failed may have replaced it, and left nothing.
    let id = register.begin(write(B, Some("b")), 40, 1);
    register.end(id, Fate::Failed, 50).unwrap();
    assert_eq!(register.beside(A, None, 60, 61), Ok(()));
    assert_eq!(register.beside(B, None, 60, 61), Ok(()));
    assert_eq!(register.beside(A, Some("b"), 60, 61), Err(Wrong::Beside));
}

#[test]
fn what_can_not_be_shown_any_more_is_forgotten_and_still_known() {
    let mut register = register();
    for number in 0..100_u64 {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        let at = 10 + 10 * number;
        add(&mut register, Value::Bytes(digest), at, at + 5, Fate::Done);
    }
    register.forget(900);
    assert!(register.writes.len() < 20, "{}", register.writes.len());
    assert_eq!(
        register.read(Value::Bytes([0; 32]), 2000, 2001),
        Err(Wrong::Lost)
    );
}

#[test]
fn a_condition_that_held_must_have_been_able_to() {
    let mut register = register();
    let own = register.begin(write(A, None), 10, 1);
    register.end(own, Fate::Done, 20).unwrap();
    assert!(register.was_absent(Some(own), 10, 20));
    let own = register.begin(write(B, None), 30, 1);
    register.end(own, Fate::Done, 40).unwrap();
    assert!(!register.was_absent(Some(own), 30, 40));
}
