//! The value of a QEMU option: `key=value,key=value`, where two commas stand for one that belongs to the value, the first key
//! may be implied, and a word alone says "on".

use serde_json::Value;
use vmm::config::value::pieces;

/// The keys of a value, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pairs: Vec<(String, String)>,
}

impl Keys {
    /// The keys of `text`; `implied` is the key of a first value that has none.
    pub(super) fn parse(text: &str, implied: &str) -> Result<Self, String> {
        if text.starts_with('{') {
            return Self::from_json(text);
        }
        let mut pairs = Vec::new();
        for (index, piece) in pieces(text).into_iter().enumerate() {
            let pair = match piece.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None if index == 0 && !implied.is_empty() => (implied.to_owned(), piece),
                // The comma at the end of a list.
                None if piece.is_empty() => continue,
                None => match piece.strip_prefix("no") {
                    Some(word @ ("wait" | "delay")) => (word.to_owned(), "off".to_owned()),
                    _ => (piece, "on".to_owned()),
                },
            };
            pairs.push(pair);
        }
        Ok(Self { pairs })
    }

    /// The keys of a JSON object; those within one of its objects follow a full stop.
    fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}"))?;
        let mut pairs = Vec::new();
        flatten("", &value, &mut pairs);
        Ok(Self { pairs })
    }

    /// Takes the value of `key`; the last one, as QEMU does.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.take_all(key).pop()
    }

    /// Takes all values of `key`.
    pub(super) fn take_all(&mut self, key: &str) -> Vec<String> {
        let taken = self.pairs.extract_if(.., |(name, _)| name == key);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes a value that is `on` or `off`.
    pub(super) fn take_switch(&mut self, key: &str) -> Result<Option<bool>, String> {
        let Some(text) = self.take(key) else {
            return Ok(None);
        };
        match text.as_str() {
            "on" | "yes" | "true" | "y" => Ok(Some(true)),
            "off" | "no" | "false" | "n" => Ok(Some(false)),
            _ => Err(format!("`{key}={text}` is neither on nor off")),
        }
    }

    /// Drops keys that change nothing here.
    pub(super) fn drop_all(&mut self, keys: &[&str]) {
        self.pairs
            .retain(|(name, _)| !keys.contains(&name.as_str()));
    }

    /// Whether nothing is left; an error names what is.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let names = self
            .pairs
            .iter()
            .map(|(name, value)| format!("`{name}={value}`"));
        Err(format!(
            "{} cannot be had",
            names.collect::<Vec<_>>().join(", ")
        ))
    }
}

fn flatten(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, pairs);
            }
        }
        Value::String(text) => pairs.push((name.to_owned(), text.clone())),
        Value::Bool(on) => pairs.push((name.to_owned(), if *on { "on" } else { "off" }.to_owned())),
        other => pairs.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::parse(text, "driver").unwrap()
    }

    #[test]
    fn the_first_key_may_be_implied() {
        let mut keys = keys("virtio-net-pci,netdev=a,mac=02:00:00:00:00:01,romfile=");
        assert_eq!(keys.take("driver").as_deref(), Some("virtio-net-pci"));
        assert_eq!(keys.take("netdev").as_deref(), Some("a"));
        assert_eq!(keys.take("romfile").as_deref(), Some(""));
        assert!(keys.end().unwrap_err().contains("`mac=02"));
        assert_eq!(
            Keys::parse("driver=x", "driver")
                .unwrap()
                .take("driver")
                .as_deref(),
            Some("x")
        );
    }

    #[test]
    fn two_commas_are_one_of_the_value() {
        let mut keys = keys("local,path=/a,,b,,,readonly");
        assert_eq!(keys.take("path").as_deref(), Some("/a,b,"));
        assert_eq!(keys.take_switch("readonly"), Ok(Some(true)));
    }

    #[test]
    fn a_word_alone_is_on_and_some_say_off() {
        let mut keys = keys("socket,server,nowait,");
        assert_eq!(keys.take_switch("server"), Ok(Some(true)));
        assert_eq!(keys.take_switch("wait"), Ok(Some(false)));
        keys.drop_all(&["driver"]);
        assert_eq!(keys.end(), Ok(()));
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_one_counts_and_lists_keep_all() {
        let mut keys = keys("user,id=a,id=b,hostfwd=x,hostfwd=y");
        assert_eq!(keys.take("id").as_deref(), Some("b"));
        assert_eq!(keys.take_all("hostfwd"), ["x", "y"]);
    }

    #[test]
    fn json_is_the_same_list() {
        let mut keys =
            keys(r#"{"driver":"qcow2","read-only":true,"file":{"driver":"file","n":1}}"#);
        assert_eq!(keys.take("driver").as_deref(), Some("qcow2"));
        assert_eq!(keys.take_switch("read-only"), Ok(Some(true)));
        assert_eq!(keys.take("file.driver").as_deref(), Some("file"));
        assert_eq!(keys.take("file.n").as_deref(), Some("1"));
        assert!(Keys::parse("{", "").is_err());
    }

    #[test]
    fn what_is_no_switch_is_told() {
        assert!(
            keys("x,mq=maybe")
                .take_switch("mq")
                .unwrap_err()
                .contains("maybe")
        );
    }
}
