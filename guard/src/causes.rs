//! Errors with what caused them.

use std::error::Error;

/// An error with its causes, on one line. What an error repeats of its cause is told once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn each_cause_is_told_once() {
        let of = |text, source: Option<Told>| Told { text, source: source.map(Box::new) };
        let error = of("no map", Some(of("create failed: EPERM", Some(of("EPERM", Some(of("why", None)))))));
        assert_eq!(chain(&error), "no map: create failed: EPERM: why");
        assert_eq!(chain(&of("alone", None)), "alone");
    }
}
