//! Words that are so like each other that one may be a slip for the other.

/// Letters of a word for each slip in it.
const LETTERS_FOR_A_SLIP: usize = 4;

/// Returns true if `word` may be meant to be `other`: it is its beginning, or has few slips.
pub(super) fn is_near(word: &str, other: &str) -> bool {
    let [word, other] = [word, other].map(|text| text.trim_start_matches('-').to_lowercase());
    let letters = word.chars().count();
    let begins = letters >= 3 && other.starts_with(&word);
    begins || slips(&word, &other) <= (letters / LETTERS_FOR_A_SLIP).max(1)
}

/// Returns the word that `word` is most likely to be a slip for.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().filter(|known| is_near(word, known));
    near.min_by_key(|known| slips(word, known))
}

/// Counts the letters that are missing, too many or others, and neighbours in the wrong order (the
/// optimal string alignment distance).
fn slips(a: &str, b: &str) -> usize {
    let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("memory", "memory", 0),
            ("memroy", "memory", 1),
            ("vcpu", "vcpus", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(slips(a, b), expected, "{a} {b}");
            assert_eq!(slips(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn near_words() {
        assert!(is_near("--mem", "--memory"));
        assert!(is_near("MEMROY", "memory"));
        assert!(!is_near("--pod", "--publish"));
        assert!(!is_near("rename", "rm"));
        let known = ["BCVK_MEMORY", "BCVK_VCPUS", "BCVK_WARM"];
        assert_eq!(nearest("BCVK_WRAM", known), Some("BCVK_WARM"));
        assert_eq!(nearest("BCVK_COLOUR", known), None);
    }
}
