//! Debian's version numbers: their order, and what a shortened one names.

use std::cmp::Ordering;

/// Compares two package versions (Debian Policy Manual 4.7 §5.6.12).
#[must_use]
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

/// Whether `wanted` names the version or release `text`: all of it, or its beginning up to the end of a number or word
/// (`6.1` names `6.1.158-1`, but not `6.12.57-1`).
#[must_use]
pub(super) fn begins(text: &str, wanted: &str) -> bool {
    let whole_words = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    !wanted.is_empty() && text.strip_prefix(wanted).is_some_and(whole_words)
}

struct Parts<'v> {
    epoch: u64,
    upstream: &'v str,
    revision: &'v str,
}

impl<'v> Parts<'v> {
    fn of(text: &'v str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        Self {
            epoch: epoch.parse().unwrap_or(0),
            upstream,
            revision,
        }
    }
}

/// Compares pieces that are no number and numbers in turn.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (word_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (word_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        let (number_a, next_a) = split(rest_a, |c| c.is_ascii_digit());
        let (number_b, next_b) = split(rest_b, |c| c.is_ascii_digit());
        let order = compare_words(word_a, word_b).then_with(|| compare_numbers(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

/// `text` in two where `belongs` ends.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Letters come before other characters, a tilde before everything, even the end.
fn compare_words(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
        Some(c) => 256 + i64::from(u32::from(c)),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        let order = weight(x).cmp(&weight(y));
        if order != Ordering::Equal || (x.is_none() && y.is_none()) {
            return order;
        }
    }
}

/// Numbers of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_debians_order() {
        let ascending = [
            "6.1.158-1",
            "6.12~rc3-1~exp1",
            "6.12.5-1",
            "6.12.48-1~bpo12+1",
            "6.12.48-1",
            "6.12.48-1+b1",
            "6.12.48-2",
            "6.12.57-1",
            "7.2.9-1~bpo13+1",
            "7.2.12-1~bpo13+1",
            "1:2.0-1",
        ];
        for (index, lower) in ascending.iter().enumerate() {
            assert_eq!(compare(lower, lower), Ordering::Equal);
            for higher in &ascending[index + 1..] {
                assert_eq!(compare(lower, higher), Ordering::Less, "{lower} {higher}");
                assert_eq!(compare(higher, lower), Ordering::Greater);
            }
        }
        assert_eq!(compare("1.02", "1.2"), Ordering::Equal);
    }

    #[test]
    fn a_beginning_ends_where_a_number_ends() {
        assert!(begins("6.1.158-1", "6.1"));
        assert!(begins("6.12.57-1", "6.12.57"));
        assert!(begins("6.12.57+deb13-cloud-amd64", "6.12.57+deb13"));
        assert!(begins("6.12.57-1", "6.12.57-1"));
        assert!(!begins("6.12.57-1", "6.1"));
        assert!(!begins("6.12.57-1", ""));
        assert!(!begins("6.1", "6.1.1"));
    }
}
