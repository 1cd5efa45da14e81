//! Who gives a place up where there are none left.

use std::collections::BTreeMap;

/// The owner with the most of `owners`, one for each place, where `own` has two fewer at least: with one place from there,
/// `own` has no more than that owner.
pub fn greediest(owners: impl Iterator<Item = u32>, own: u32) -> Option<u32> {
    let mut counts = BTreeMap::<u32, usize>::new();
    for owner in owners {
        *counts.entry(owner).or_default() += 1;
    }
    let less = counts.get(&own).copied().unwrap_or_default();
    let (owner, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (less + 2 <= most).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_more_afterwards_or_as_many_gives_a_place_up() {
        let of = |owners: &[u32], own| greediest(owners.iter().copied(), own);
        assert_eq!(of(&[], 1), None);
        assert_eq!(of(&[2], 1), None, "that one would have none");
        assert_eq!(of(&[2, 2], 1), Some(2));
        assert_eq!(of(&[1, 2, 2], 1), None, "they would change places for ever");
        assert_eq!(of(&[1, 2, 2, 3, 2], 1), Some(2));
        assert_eq!(of(&[1, 1, 1, 2], 1), None, "nobody has more");
    }
}
