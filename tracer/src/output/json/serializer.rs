//! Writes compact JSON whose strings have no raw character that could act on a terminal.
//!
//! serde_json checks every byte of each key, and every byte of each string twice if a formatter
//! escapes more than the standard requires. That was half of the agent's work. Keys here are the
//! names of fields, which need no escapes.

use std::fmt;
use std::io::Write as _;

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use crate::escape::is_hostile;

/// A serializer that appends values to a text.
#[derive(Debug)]
pub(super) struct JsonSerializer<'a>(pub &'a mut Vec<u8>);

/// The error for a value of a shape that no record has.
type UnsupportedShape = fmt::Error;

/// A list or an object that is being written.
#[derive(Debug)]
pub(super) struct Compound<'w, 'a> {
    writer: &'w mut JsonSerializer<'a>,
    is_empty: bool,
    end: u8,
}

impl<'w, 'a> Compound<'w, 'a> {
    fn new(writer: &'w mut JsonSerializer<'a>, [begin, end]: [u8; 2]) -> Self {
        writer.0.push(begin);
        Self {
            writer,
            is_empty: true,
            end,
        }
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.writer.0.push(b',');
        }
    }

    fn end(self) -> Result<(), UnsupportedShape> {
        self.writer.0.push(self.end);
        Ok(())
    }
}

impl SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = UnsupportedShape;

    fn serialize_element<T: ?Sized + Serialize>(
        &mut self,
        value: &T,
    ) -> Result<(), UnsupportedShape> {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), UnsupportedShape> {
        Compound::end(self)
    }
}

impl SerializeStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = UnsupportedShape;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), UnsupportedShape> {
        self.comma();
        let text = &mut *self.writer.0;
        text.reserve(key.len() + 3);
        text.push(b'"');
        text.extend_from_slice(key.as_bytes());
        text.extend_from_slice(b"\":");
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), UnsupportedShape> {
        Compound::end(self)
    }
}

impl SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = UnsupportedShape;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), UnsupportedShape> {
        self.comma();
        key.serialize(&mut *self.writer)
    }

    fn serialize_value<T: ?Sized + Serialize>(
        &mut self,
        value: &T,
    ) -> Result<(), UnsupportedShape> {
        self.writer.0.push(b':');
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), UnsupportedShape> {
        Compound::end(self)
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<(), UnsupportedShape> {
            self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            Ok(())
        })*
    };
}

macro_rules! unknown {
    ($($method:ident($($type:ty),*) -> $result:ty,)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$result, UnsupportedShape> {
            Err(fmt::Error)
        })*
    };
}

impl<'w, 'a> Serializer for &'w mut JsonSerializer<'a> {
    type Ok = ();
    type Error = UnsupportedShape;
    type SerializeSeq = Compound<'w, 'a>;
    type SerializeMap = Compound<'w, 'a>;
    type SerializeStruct = Compound<'w, 'a>;
    type SerializeTuple = Impossible<(), UnsupportedShape>;
    type SerializeTupleStruct = Impossible<(), UnsupportedShape>;
    type SerializeTupleVariant = Impossible<(), UnsupportedShape>;
    type SerializeStructVariant = Impossible<(), UnsupportedShape>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
    }

    unknown! {
        serialize_bytes(&[u8]) -> (),
        serialize_unit_struct(&'static str) -> (),
        serialize_tuple(usize) -> Self::SerializeTuple,
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant,
    }

    fn serialize_bool(self, value: bool) -> Result<(), UnsupportedShape> {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.0.extend_from_slice(word);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), UnsupportedShape> {
        self.serialize_f64(value.into())
    }

    /// Appends a number; JSON has no infinity, which becomes null.
    fn serialize_f64(self, value: f64) -> Result<(), UnsupportedShape> {
        if !value.is_finite() {
            return self.serialize_unit();
        }
        let mut number = zmij::Buffer::new();
        self.0
            .extend_from_slice(number.format_finite(value).as_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), UnsupportedShape> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), UnsupportedShape> {
        push_string(self.0, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), UnsupportedShape> {
        self.serialize_unit()
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), UnsupportedShape> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), UnsupportedShape> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), UnsupportedShape> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), UnsupportedShape> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), UnsupportedShape> {
        Err(fmt::Error)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'w, 'a>, UnsupportedShape> {
        Ok(Compound::new(self, *b"[]"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'w, 'a>, UnsupportedShape> {
        Ok(Compound::new(self, *b"{}"))
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'w, 'a>, UnsupportedShape> {
        Ok(Compound::new(self, *b"{}"))
    }
}

fn push_string(text: &mut Vec<u8>, string: &str) {
    text.reserve(string.len() + 2);
    text.push(b'"');
    if is_plain(string.as_bytes()) {
        text.extend_from_slice(string.as_bytes());
    } else {
        string
            .chars()
            .for_each(|character| push_character(text, character));
    }
    text.push(b'"');
}

fn push_character(text: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' | '\\' => Some(character as u8),
        '\u{8}' => Some(b'b'),
        '\t' => Some(b't'),
        '\n' => Some(b'n'),
        '\u{c}' => Some(b'f'),
        '\r' => Some(b'r'),
        _ => None,
    };
    if let Some(short) = short {
        text.extend_from_slice(&[b'\\', short]);
    } else if is_hostile(character) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(text, "\\u{unit:04x}").expect("writing to memory cannot fail");
        }
    } else {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Returns whether a string needs no escapes: it is printable ASCII without quotes and backslashes.
/// The loop has no early exit, so that it can take many bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &byte| {
        plain & (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut text = Vec::new();
        value
            .serialize(&mut JsonSerializer(&mut text))
            .expect("JSON's own shapes");
        String::from_utf8(text).expect("UTF-8")
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_read_as_it_was_written(value in any_value()) {
            let read: Value = serde_json::from_str(&written(&value)).expect("valid JSON");
            // A number may be written without its last digit, as serde_json reads it.
            prop_assert_eq!(read.to_string(), value.to_string());
        }

        #[test]
        fn harmless_values_are_written_as_serde_json_does(value in any_value()) {
            let standard = value.to_string();
            let is_hostile = standard.chars().any(is_hostile);
            prop_assume!(!is_hostile);
            prop_assert_eq!(written(&value), standard);
        }

        #[test]
        fn no_hostile_character_is_ever_written(string in any::<String>()) {
            prop_assert!(!written(&string).chars().any(is_hostile));
        }
    }
}
