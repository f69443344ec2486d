//! Fits of how stuck sockets and open descriptors grow.

use super::*;

const OWNER: OwnerKey = OwnerKey::Process((7, None));

fn series(samples: &[(u64, u64)]) -> Series {
    let mut series = Series::default();
    for &(second, count) in samples {
        series.push(Nanos::from_secs(1_000_000 + second), count);
    }
    series
}

#[test]
fn fewer_than_three_samples_make_no_forecast() {
    assert_eq!(series(&[]).fit(), None);
    assert_eq!(series(&[(0, 1)]).fit(), None);
    assert_eq!(series(&[(0, 1), (5, 100)]).fit(), None);
    assert!(series(&[(0, 1), (5, 100), (10, 200)]).fit().is_some());
}

#[test]
fn a_straight_line_is_found_exactly() {
    let fit = series(&[(0, 100), (5, 110), (10, 120), (20, 140)]).fit();
    let expected = Fit {
        per_second: 2.0,
        r_squared: 1.0,
        samples: 4,
        span: Nanos::from_secs(20),
    };
    assert_eq!(fit, Some(expected));
    assert_eq!(expected.time_to(884), Some(Nanos::from_secs(442)));
    assert_eq!(expected.time_to(0), Some(Nanos(0)));
}

#[test]
fn a_poor_fit_has_a_low_r_squared() {
    // Means 1.5 and 5; slope 4/5... of sums 5, 10 and 100: 10 * 10 / (5 * 100).
    let fit = series(&[(0, 0), (1, 10), (2, 0), (3, 10)])
        .fit()
        .expect("four samples");
    assert_eq!((fit.per_second, fit.r_squared), (2.0, 0.2));
}

#[test]
fn a_number_that_does_not_grow_never_meets_its_limit() {
    let still = series(&[(0, 7), (1, 7), (2, 7)])
        .fit()
        .expect("three samples");
    assert_eq!((still.per_second, still.r_squared), (0.0, 1.0));
    assert_eq!(still.time_to(10), None);
    let less = series(&[(0, 9), (1, 8), (2, 7)])
        .fit()
        .expect("three samples");
    assert_eq!(less.per_second, -1.0);
    assert_eq!(less.time_to(10), None);
    let hardly = series(&[(0, 0), (1_000_000, 0), (2_000_000, 1)])
        .fit()
        .expect("three samples");
    assert_eq!(hardly.time_to(u64::MAX), None);
    for full in [still, less, hardly] {
        assert_eq!(full.time_to(0), Some(Nanos(0)));
    }
}

#[test]
fn only_the_newest_samples_count() {
    let mut samples: Vec<_> = (0..100).map(|second| (second, 5_000)).collect();
    samples.extend((100..160).map(|second| (second, second)));
    let fit = series(&samples).fit().expect("enough samples");
    assert_eq!((fit.samples, fit.per_second), (60, 1.0));
}

#[test]
fn a_clock_that_stands_still_divides_nothing_by_zero() {
    let fit = series(&[(0, 1), (0, 2), (0, 3), (1, 4), (2, 5)])
        .fit()
        .expect("three samples");
    assert_eq!((fit.samples, fit.per_second), (3, 1.0));
}

#[test]
fn rounding_makes_no_fit_better_than_perfect() {
    // A third has no end in binary: without a bound this comes out as 1.0000000000000002.
    for step in 1..2_000_u64 {
        let mut series = Series::default();
        for at in 0..7 {
            series.push(Nanos(at * step * 333_333_331), at * step * 7);
        }
        let fit = series.fit().expect("seven samples");
        assert!(fit.r_squared <= 1.0, "{step}: {}", fit.r_squared);
    }
}

#[test]
fn what_was_not_accepted_takes_no_descriptor() {
    let mut trends = Trends::default();
    for second in 0..3 {
        let count = Sample {
            stuck: 10 * second,
            descriptors: second,
            open: None,
        };
        trends.record(Nanos::from_secs(second), [(OWNER, count)]);
    }
    let forecast = trends.forecast(&OWNER, Some(100)).expect("three samples");
    assert_eq!(forecast.fit.per_second, 10.0);
    assert_eq!(forecast.exhausted_in, Some(Nanos::from_secs(100)));
    let unlimited = trends.forecast(&OWNER, None).expect("three samples");
    assert_eq!(unlimited.exhausted_in, None);
}

#[test]
fn numbers_that_stand_still_or_waver_make_no_forecast() {
    let forecast = |counts: &[u64]| {
        let mut trends = Trends::default();
        for (second, &stuck) in (0..).zip(counts) {
            let sample = Sample {
                stuck,
                descriptors: stuck,
                open: None,
            };
            trends.record(Nanos::from_secs(second), [(OWNER, sample)]);
        }
        trends.forecast(&OWNER, Some(100))
    };
    for still in [&[7, 7, 7, 7][..], &[7, 8, 7, 8, 7, 8], &[9, 3, 9, 4, 9, 3]] {
        assert_eq!(forecast(still), None, "{still:?}");
    }
    for grows in [&[7, 8, 9][..], &[7, 7, 8, 9, 9, 10], &[9, 7, 4]] {
        assert!(forecast(grows).is_some(), "{grows:?}");
    }
}

#[test]
fn an_owner_that_is_gone_is_forgotten() {
    let mut trends = Trends::default();
    let count = Sample {
        stuck: 1,
        descriptors: 1,
        open: None,
    };
    for second in 0..5 {
        let owners = if second == 3 {
            vec![]
        } else {
            vec![(OWNER, count)]
        };
        trends.record(Nanos::from_secs(second), owners);
    }
    assert_eq!(trends.forecast(&OWNER, Some(9)), None, "one sample since");
}

/// One stuck socket a second, beside open descriptors of these numbers.
fn beside(open: &[u64]) -> Option<Forecast> {
    let mut trends = Trends::default();
    for (second, &open) in (0..).zip(open) {
        let at = Nanos::from_secs(second);
        let sample = Sample {
            stuck: second,
            descriptors: second,
            open: Some((at, open)),
        };
        trends.record(at, [(OWNER, sample)]);
    }
    trends.forecast(&OWNER, Some(100))
}

#[test]
fn open_descriptors_that_grow_faster_make_the_forecast() {
    // Each stuck socket has an upstream one, which is not stuck.
    let forecast = beside(&[10, 12, 14, 16, 18]).expect("five samples");
    assert_eq!(forecast.fit.per_second, 1.0);
    assert_eq!(forecast.open.map(|open| open.per_second), Some(2.0));
    assert_eq!(forecast.exhausted_in, Some(Nanos::from_secs(50)));
}

#[test]
fn open_descriptors_that_explain_no_more_do_not() {
    // The stuck sockets are all that grows; they waver; they fall; too noisy to be certain.
    for open in [
        &[10, 11, 12, 13, 14][..],
        &[10, 14, 10, 14, 10],
        &[90, 80, 70, 60, 50],
        &[10, 40, 5, 42, 20],
    ] {
        let forecast = beside(open).expect("five samples");
        assert_eq!(forecast.open, None, "{open:?}");
        assert_eq!(forecast.exhausted_in, Some(Nanos::from_secs(100)));
    }
}

#[test]
fn open_descriptors_grow_where_stuck_sockets_do_not() {
    let mut trends = Trends::default();
    for second in 0..5 {
        let at = Nanos::from_secs(second);
        let sample = Sample {
            stuck: 7,
            descriptors: 7,
            open: Some((at, 50 + 2 * second)),
        };
        trends.record(at, [(OWNER, sample)]);
    }
    let forecast = trends.forecast(&OWNER, Some(100)).expect("five samples");
    assert_eq!(forecast.fit.per_second, 0.0);
    assert_eq!(forecast.exhausted_in, Some(Nanos::from_secs(50)));
}

#[test]
fn descriptors_that_were_not_counted_again_make_no_sample() {
    let mut trends = Trends::default();
    for second in 0..5 {
        let sample = Sample {
            stuck: second,
            descriptors: second,
            open: Some((Nanos(0), 900)),
        };
        trends.record(Nanos::from_secs(second), [(OWNER, sample)]);
    }
    let forecast = trends.forecast(&OWNER, Some(100)).expect("five samples");
    assert_eq!(forecast.open, None);
}
