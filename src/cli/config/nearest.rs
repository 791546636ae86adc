//! The known name that was meant by one that is not known.
//!
//! By edit distance, and only where it is small: a wrong guess is worse than none.

/// Longest name that is compared with the known ones.
const COMPARED_MAX: usize = 64;

/// The candidate that is most like a name, if one is alike enough to have been meant.
///
/// One whose last part is alike counts too: people forget the section.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > COMPARED_MAX {
        return None;
    }
    let last = |name: &str| name.rsplit('.').next().map_or(0, |last| name.len() - last.len());
    let limit = 1 + name[last(name)..].chars().count() / 4;
    let distance = |candidate: &str| {
        let whole = strsim::damerau_levenshtein(name, candidate);
        let last_only = 1 + strsim::damerau_levenshtein(&name[last(name)..], &candidate[last(candidate)..]);
        whole.min(last_only)
    };
    let alike = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    alike
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
