//! The name that may have been meant by one that is none.

/// How alike two names are at least if one may have been meant by the other (Jaro and Winkler's measure).
const ALIKE: f64 = 0.7;

/// That of `known` which is most like `name`, if one is like it at all.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let likeness = |other: &S| strsim::jaro_winkler(name, other.as_ref());
    let alike = known.into_iter().filter(|other| likeness(other) >= ALIKE);
    alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_may_have_been_meant() {
        let known = ["base", "eval", "grafana", "bpf"];
        assert_eq!(nearest("bass", known), Some("base"));
        assert_eq!(nearest("graphana", known), Some("grafana"));
        assert_eq!(nearest("xyz", known), None);
    }
}
