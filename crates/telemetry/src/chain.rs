//! An error with all its causes, on one line.

use std::{error::Error, fmt};

/// How many causes are followed: no honest chain is longer, and a circular one ends.
const CAUSES_MAX: usize = 16;

/// Prints an error and its causes, outermost first: `read config: open file: permission denied`. To be used once,
/// where the error is handled.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let causes = std::iter::successors(self.0.source(), |&cause| cause.source());
        for cause in causes.take(CAUSES_MAX) {
            let text = cause.to_string();
            // Some libraries print their source themselves: it is not said twice.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as &(dyn Error + 'static))
        }
    }

    #[test]
    fn causes_are_said_once() {
        let check = |texts: &[&'static str], expected: &str| {
            let link =
                texts.iter().rev().fold(None, |inner, text| Some(Box::new(Link(text, inner))));
            assert_eq!(Chain(&*link.unwrap()).to_string(), expected);
        };
        check(&["read config"], "read config");
        check(
            &["read config", "open file", "permission denied"],
            "read config: open file: permission denied",
        );
        check(&["open file: denied", "denied", "errno 13"], "open file: denied: errno 13");
    }
}
