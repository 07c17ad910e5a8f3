//! Examples of all values that a type can have.

/// A `Vec` of names and examples of an enum's variants. A variant without an example does not
/// compile: whoever adds one has to look at what it comes to.
///
/// ```
/// # use bcvk_testkit::every;
/// let all = every!(Option<u8> as Option { None: [None], Some: [Some(1), Some(2)] });
/// assert_eq!(all[2], ("Some", Some(2)));
/// ```
#[macro_export]
macro_rules! every {
    ($type:ty as $name:ident { $($variant:ident: [$($example:expr),+ $(,)?]),+ $(,)? }) => {{
        let _complete = |value: &$type| match value {
            $($name::$variant { .. } => (),)+
        };
        let all: Vec<(&str, $type)> = vec![$($((stringify!($variant), $example)),+),+];
        for (name, example) in &all {
            let is = match example { $($name::$variant { .. } => stringify!($variant),)+ };
            assert_eq!(is, *name, "the example is of another variant");
        }
        all
    }};
}
