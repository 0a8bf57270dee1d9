//! A reader of JSON objects that goes on after a fault, so that all of them can be reported.
//!
//! Every `take` removes its field and returns `None` when it is absent or wrong, after noting why;
//! whatever remains when the object is left is an unknown field.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::Problem;

/// One object of the manifest while it is being read.
pub(super) struct Fields<'p> {
    at: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl Fields<'_> {
    /// Reads `value`, found at `at`, as an object with `read`, then reports its unknown fields.
    pub(super) fn object<T>(
        at: String,
        value: Value,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let Value::Object(left) = value else {
            let message = format!("expected an object, found {}", describe(&value));
            problems.push(Problem { field: at, message });
            return None;
        };
        let mut fields = Fields {
            at,
            left,
            known: Vec::new(),
            problems,
        };
        let read = read(&mut fields);
        let known = fields.known.join("`, `");
        for name in std::mem::take(&mut fields.left)
            .into_iter()
            .map(|(name, _)| name)
        {
            fields.problem(&name, format!("unknown field; known are `{known}`"));
        }
        read
    }

    /// Notes a problem of the field `name`.
    pub(super) fn problem(&mut self, name: &str, message: impl Into<String>) {
        let field = self.path(name);
        self.problems.push(Problem {
            field,
            message: message.into(),
        });
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }

    /// The field's value; `null` counts as absent.
    fn optional(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &'static str) -> Option<Value> {
        let value = self.optional(name);
        if value.is_none() {
            self.problem(name, "the field is missing");
        }
        value
    }

    fn expected<T>(&mut self, name: &str, what: &str, found: &Value) -> Option<T> {
        self.problem(name, format!("expected {what}, found {}", describe(found)));
        None
    }

    /// A string that `check` accepts.
    pub(super) fn text(&mut self, name: &'static str, check: Check) -> Option<String> {
        let value = self.required(name)?;
        self.checked(name, value, check)
    }

    /// As [`Fields::text`]; the outer `None` means wrong, the inner one absent.
    #[allow(
        clippy::option_option,
        reason = "wrong and absent are different answers"
    )]
    pub(super) fn optional_text(
        &mut self,
        name: &'static str,
        check: Check,
    ) -> Option<Option<String>> {
        match self.optional(name) {
            None => Some(None),
            Some(value) => self.checked(name, value, check).map(Some),
        }
    }

    fn checked(&mut self, name: &str, value: Value, check: Check) -> Option<String> {
        let Value::String(text) = value else {
            return self.expected(name, "a string", &value);
        };
        match check(&text) {
            Ok(()) => Some(text),
            Err(message) => {
                self.problem(name, message);
                None
            }
        }
    }

    /// A path, relative to the bundle's folder without `..`, or absolute.
    pub(super) fn file(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name, super::decode::path).map(PathBuf::from)
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.required(name)?;
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let what = format!("a whole number from {} to {}", range.start(), range.end());
                self.expected(name, &what, &value)
            }
        }
    }

    /// A TCP or UDP port.
    pub(super) fn port(&mut self, name: &'static str) -> Option<u16> {
        let port = self.integer(name, 1..=u64::from(u16::MAX))?;
        u16::try_from(port).ok()
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.required(name)?;
        value
            .as_bool()
            .or_else(|| self.expected(name, "true or false", &value))
    }

    /// The like, that may be left out: `false` then.
    pub(super) fn optional_flag(&mut self, name: &'static str) -> Option<bool> {
        match self.optional(name) {
            None => Some(false),
            Some(value) => value
                .as_bool()
                .or_else(|| self.expected(name, "true or false", &value)),
        }
    }

    /// One of a few words, each of which stands for a value.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.required(name)?;
        self.meaning(name, &value, words)
    }

    /// The like, that may be left out.
    pub(super) fn optional_word<T: Copy + Default>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        match self.optional(name) {
            None => Some(T::default()),
            Some(value) => self.meaning(name, &value, words),
        }
    }

    fn meaning<T: Copy>(&mut self, name: &str, value: &Value, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, meaning)| *meaning).or_else(|| {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.expected(name, &all.join(" or "), value)
        })
    }

    /// A list of strings, each accepted by `check` and none twice.
    pub(super) fn texts(&mut self, name: &'static str, check: Check) -> Option<Vec<String>> {
        let items = self.array(name)?;
        let mut texts: Vec<String> = Vec::new();
        let mut whole = true;
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{name}[{index}]");
            match self.checked(&place, item, check) {
                Some(text) if texts.contains(&text) => {
                    self.problem(&place, format!("`{text}` is named twice"));
                    whole = false;
                }
                Some(text) => texts.push(text),
                None => whole = false,
            }
        }
        whole.then_some(texts)
    }

    /// A list of objects.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.array(name)?;
        let count = items.len();
        let mut list = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let at = self.path(&format!("{name}[{index}]"));
            list.extend(Fields::object(at, item, self.problems, &mut read));
        }
        (list.len() == count).then_some(list)
    }

    fn array(&mut self, name: &'static str) -> Option<Vec<Value>> {
        match self.required(name)? {
            Value::Array(items) => Some(items),
            other => self.expected(name, "a list", &other),
        }
    }

    /// An object.
    pub(super) fn nested<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.required(name)?;
        Fields::object(self.path(name), value, self.problems, read)
    }

    /// As [`Fields::nested`]; the outer `None` means wrong, the inner one absent.
    #[allow(
        clippy::option_option,
        reason = "wrong and absent are different answers"
    )]
    pub(super) fn optional_nested<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.optional(name) {
            None => Some(None),
            Some(value) => Fields::object(self.path(name), value, self.problems, read).map(Some),
        }
    }

    /// An object whose fields are names of the writer's choice with strings as values.
    pub(super) fn dictionary(&mut self, name: &'static str) -> Option<Vec<(String, String)>> {
        self.nested(name, |fields| {
            let entries = std::mem::take(&mut fields.left);
            let count = entries.len();
            let mut pairs = Vec::new();
            for (key, value) in entries {
                let text = fields.checked(&key, value, super::decode::line);
                pairs.extend(text.map(|text| (key, text)));
            }
            (pairs.len() == count).then_some(pairs)
        })
    }
}

/// Says what is wrong with a string.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// A value in words, cut short.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
