//! Counts by kind: a number for each value of an enum, in constant memory.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{AddAssign, Sub};

use strum::VariantArray as _;

use crate::finding::{Cause, ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd};
use crate::stuck::Verdict;

/// An enum with a fixed number of kinds.
pub trait CountKey: Copy + 'static {
    /// The number of kinds.
    const COUNT: usize;

    /// Returns the number of the kind, below [`Self::COUNT`].
    fn index(self) -> usize;

    /// All kinds, in the order of their numbers.
    fn all() -> impl Iterator<Item = Self>;
}

macro_rules! count_keys {
    ($($kind:ident)+) => {$(
        impl CountKey for $kind {
            const COUNT: usize = Self::VARIANTS.len();

            fn index(self) -> usize {
                self as usize
            }

            fn all() -> impl Iterator<Item = Self> {
                Self::VARIANTS.iter().copied()
            }
        }
    )+};
}

count_keys!(ClosePath Initiator Cause Side ResetReason TimeWaitEnd LossLocation Verdict);

impl<A: CountKey, B: CountKey> CountKey for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| B::all().map(move |b| (a, b)))
    }
}

/// `None` is the last kind.
impl<A: CountKey> CountKey for Option<A> {
    const COUNT: usize = A::COUNT + 1;

    fn index(self) -> usize {
        self.map_or(A::COUNT, A::index)
    }

    fn all() -> impl Iterator<Item = Self> {
        A::all().map(Some).chain(std::iter::once(None))
    }
}

/// A number for each kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Counts<K> {
    counts: Box<[u64]>,
    kind: PhantomData<K>,
}

impl<K: CountKey> Counts<K> {
    /// Adds a number to the count of a kind.
    pub fn add(&mut self, kind: K, count: u64) {
        self.counts[kind.index()] += count;
    }

    /// Returns the count of a kind.
    #[must_use]
    pub fn get(&self, kind: K) -> u64 {
        self.counts[kind.index()]
    }

    /// Returns the sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns every kind with its count, including zeros.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        K::all().map(|kind| (kind, self.get(kind)))
    }

    /// The sums by what `part` makes of each kind.
    #[must_use]
    pub fn by<P: CountKey>(&self, part: impl Fn(K) -> P) -> Counts<P> {
        let mut sums = Counts::default();
        for (kind, count) in self.iter() {
            sums.add(part(kind), count);
        }
        sums
    }
}

impl<K: CountKey> Default for Counts<K> {
    fn default() -> Self {
        Self {
            counts: vec![0; K::COUNT].into(),
            kind: PhantomData,
        }
    }
}

impl<K: CountKey> AddAssign<&Self> for Counts<K> {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}

impl<K: CountKey> Sub for &Counts<K> {
    type Output = Counts<K>;

    /// Returns what was added since `earlier`.
    fn sub(self, earlier: Self) -> Counts<K> {
        let pairs = self.counts.iter().zip(&earlier.counts);
        Counts {
            counts: pairs.map(|(now, then)| now.saturating_sub(*then)).collect(),
            kind: PhantomData,
        }
    }
}

impl<K: CountKey + fmt::Debug> fmt::Debug for Counts<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(some).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered<K: CountKey>() {
        let numbers: Vec<usize> = K::all().map(K::index).collect();
        assert_eq!(numbers, (0..K::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn every_kind_has_a_number_of_its_own() {
        numbered::<ClosePath>();
        numbered::<Initiator>();
        numbered::<Option<Cause>>();
        numbered::<ResetReason>();
        numbered::<TimeWaitEnd>();
        numbered::<LossLocation>();
        numbered::<Verdict>();
        numbered::<(ClosePath, Initiator)>();
        numbered::<(Side, Option<ResetReason>)>();
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut closes: Counts<(ClosePath, Initiator)> = Counts::default();
        closes.add((ClosePath::Reset, Initiator::Peer), 3);
        closes.add((ClosePath::Reset, Initiator::Local), 2);
        closes.add((ClosePath::FourWay, Initiator::Local), 5);
        assert_eq!(closes.total(), 10);
        assert_eq!(closes.by(|(path, _)| path).get(ClosePath::Reset), 5);
        let initiators = closes.by(|(_, initiator)| initiator);
        assert_eq!(initiators.get(Initiator::Local), 7);
        assert_eq!(initiators.total(), 10);
    }

    #[test]
    fn a_difference_is_what_has_come_since() {
        let mut now: Counts<Side> = Counts::default();
        now.add(Side::Peer, 4);
        let before = now.clone();
        now.add(Side::Peer, 3);
        now.add(Side::Local, 1);
        let since = &now - &before;
        assert_eq!((since.get(Side::Local), since.get(Side::Peer)), (1, 3));
    }
}
