//! Values that are one of a few words.

use super::SpecError;

/// A value that is one of a few words. Parsers, errors, help, completion and the manual take the
/// words from here.
pub trait Choice: Copy + 'static {
    /// Noun for the value, with its article, in errors.
    const NOUN: &'static str;
    /// Every value, in the order of lists.
    const ALL: &'static [Self];

    /// The word for the value.
    fn name(self) -> &'static str;

    /// Description of the value, if lists have one.
    fn about(self) -> Option<String> {
        None
    }
}

/// Finds the value that `word` stands for.
///
/// # Errors
/// [`SpecError::Choice`] if there is none.
pub fn choose<T: Choice>(word: &str) -> Result<T, SpecError> {
    let found = T::ALL.iter().find(|value| value.name() == word);
    found.copied().ok_or_else(|| SpecError::Choice {
        value: word.to_owned(),
        noun: T::NOUN,
        known: known::<T>(),
    })
}

/// Lists the words of a choice, for errors.
pub(super) fn known<T: Choice>() -> String {
    let words: Vec<&str> = T::ALL.iter().map(|value| value.name()).collect();
    list(&words, "and")
}

/// Writes a list as a sentence has it, such as `a, b and c`.
#[must_use]
pub fn list(words: &[&str], conjunction: &str) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => {
            format!("{} {conjunction} {last}", first.join(", "))
        }
        few => few.concat(),
    }
}

/// Makes an enum a [`Choice`] that is parsed from its words and shown as them:
/// `choice!(Fidelity, "a fidelity", { Fast: "fast", Full: "full" });`
#[macro_export]
macro_rules! choice {
    ($type:ident, $noun:literal, { $($variant:ident: $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::spec::Choice for $type {
            const NOUN: &'static str = $noun;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                self.name()
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::spec::SpecError;

            fn from_str(word: &str) -> ::std::result::Result<Self, Self::Err> {
                $crate::spec::choose(word)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::super::{DiskFormat, Fidelity, Initramfs, Protocol, Stream};
    use super::*;

    #[test]
    fn lists_are_those_of_sentences() {
        assert_eq!(list(&[], "or"), "");
        assert_eq!(list(&["a"], "or"), "a");
        assert_eq!(list(&["a", "b"], "or"), "a or b");
        assert_eq!(list(&["a", "b", "c"], "and"), "a, b and c");
    }

    fn check<T: Choice + Serialize>() {
        for value in T::ALL {
            let json = serde_json::to_value(value).expect("serialises");
            assert_eq!(json, value.name(), "{}", T::NOUN);
            let found: T = choose(value.name()).expect("a value");
            assert_eq!(found.name(), value.name());
        }
    }

    #[test]
    fn specs_and_users_have_the_same_words() {
        check::<DiskFormat>();
        check::<Fidelity>();
        check::<Initramfs>();
        check::<Protocol>();
        check::<Stream>();
    }

    #[test]
    fn other_words_are_refused_with_a_list() {
        let error = "slow".parse::<Fidelity>().expect_err("no fidelity");
        let expected = "'slow' is not a fidelity: known are fast and full";
        assert_eq!(error.to_string(), expected);
    }
}
