//! The words of QEMU's command line as options with their values.

use super::options::{self, Known};

/// An option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The name without hyphens; of a word that is no option, the empty text.
    pub(super) name: String,
    /// The value, if one follows.
    pub(super) value: Option<String>,
}

impl Given {
    /// The option as it was written.
    pub(super) fn text(&self) -> String {
        match (&*self.name, &self.value) {
            ("", value) => value.clone().unwrap_or_default(),
            (name, Some(value)) => format!("-{name} {value}"),
            (name, None) => format!("-{name}"),
        }
    }

    /// What is known of it.
    pub(super) fn known(&self) -> Option<&'static Known> {
        options::find(&self.name)
    }
}

/// The options among `words`, in their order. Of an option that nobody knows, the next word is the value if it does not look
/// like an option.
pub(super) fn parse(words: &[String]) -> Vec<Given> {
    let mut given = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            given.push(Given {
                name: String::new(),
                value: Some(word.clone()),
            });
            continue;
        };
        let value = match options::find(name) {
            Some(Known {
                has_value: true, ..
            }) => words.next(),
            Some(_) => None,
            None => words.next_if(|next| !next.starts_with('-')),
        };
        given.push(Given {
            name: name.to_owned(),
            value: value.cloned(),
        });
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words).iter().map(Given::text).collect()
    }

    #[test]
    fn options_have_one_hyphen_or_two_and_their_values_follow() {
        assert_eq!(
            texts("-m 512 --nographic -append -x -no-reboot"),
            ["-m 512", "-nographic", "-append -x", "-no-reboot"]
        );
    }

    #[test]
    fn a_word_that_is_no_option_stands_alone() {
        assert_eq!(texts("-S disk.img -m 1"), ["-S", "disk.img", "-m 1"]);
        assert_eq!(texts("-"), ["-"]);
    }

    #[test]
    fn an_unknown_option_takes_a_value_along() {
        assert_eq!(texts("-frob a=b -nic none"), ["-frob a=b", "-nic none"]);
        assert_eq!(texts("-frob -nic none"), ["-frob", "-nic none"]);
    }

    #[test]
    fn a_value_that_is_missing_is_none() {
        let given = parse(&["-m".to_owned()]);
        assert_eq!(given[0].value, None);
        assert!(given[0].known().unwrap().has_value);
    }
}
