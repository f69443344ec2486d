//! A picture of how memory and time grow with the number of live endpoints, as SVG.

use std::fmt::Write as _;

use super::core::LiveEndpoints;

/// One panel without the words around it.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;
/// Room for the words.
const MARGIN: f64 = 55.0;

/// Two panels side by side, both axes logarithmic: what grows linearly is a straight line of slope
/// 1, drawn dashed.
pub fn svg(sizes: &[LiveEndpoints]) -> String {
    let width = 2.0 * (WIDTH + 2.0 * MARGIN);
    let height = HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let memory: Vec<_> = sizes
        .iter()
        .map(|it| (it.endpoints as f64, it.bytes))
        .collect();
    let time: Vec<_> = sizes
        .iter()
        .map(|it| (it.endpoints as f64, it.seconds * 1e6))
        .collect();
    let second = WIDTH + 2.0 * MARGIN;
    panel(&mut svg, 0.0, "memory of the core, bytes", &memory);
    panel(&mut svg, second, "time to open all, µs", &time);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, left: f64, title: &str, points: &[(f64, f64)]) {
    let x_axis = Axis::over(points.iter().map(|(x, _)| *x), WIDTH);
    let y_axis = Axis::over(points.iter().map(|(_, y)| *y), HEIGHT);
    let place = |(x, y): (f64, f64)| {
        format!(
            "{:.1},{:.1}",
            left + MARGIN + x_axis.at(x),
            MARGIN + HEIGHT - y_axis.at(y)
        )
    };
    let mut add = |line: String| writeln!(svg, "{line}").expect("memory takes everything");
    let (middle, right) = (left + MARGIN + WIDTH / 2.0, left + MARGIN + WIDTH);
    let (top, bottom) = (MARGIN, MARGIN + HEIGHT);
    add(format!(
        "<text x=\"{middle}\" y=\"{}\">{title}</text>",
        top - 15.0
    ));
    add(format!(
        "<text x=\"{middle}\" y=\"{}\">live endpoints</text>",
        bottom + 35.0
    ));
    for power in x_axis.powers() {
        let x = left + MARGIN + x_axis.at(power);
        add(format!(
            "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{}\">{}</text>",
            bottom + 15.0,
            short(power)
        ));
    }
    for power in y_axis.powers() {
        let y = bottom - y_axis.at(power);
        let x = left + MARGIN;
        add(format!(
            "<path d=\"M{x} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x - 5.0,
            y + 4.0,
            short(power)
        ));
    }
    // Slope 1 through the last point, where fixed parts matter least.
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let linear = (first.0, last.1 * first.0 / last.0);
        add(format!(
            "<polyline points=\"{} {}\" fill=\"none\" stroke=\"#888\" stroke-dasharray=\"4\"/>",
            place(linear),
            place(*last)
        ));
    }
    let places: Vec<_> = points.iter().map(|point| place(*point)).collect();
    add(format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"2\"/>",
        places.join(" ")
    ));
    for (place, (x, y)) in places.iter().zip(points) {
        let (cx, cy) = place.split_once(',').expect("made so above");
        add(format!(
            "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3\" fill=\"#1f6fb4\"><title>{x}: {y:.0}</title></circle>"
        ));
    }
}

/// A logarithmic axis from a power of ten to a power of ten.
struct Axis {
    least: f64,
    most: f64,
    length: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, length: f64) -> Self {
        let logs: Vec<_> = values.map(f64::log10).collect();
        let least = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            least,
            most: most.ceil().max(least + 1.0),
            length,
        }
    }

    fn at(&self, value: f64) -> f64 {
        (value.log10() - self.least) / (self.most - self.least) * self.length
    }

    fn powers(&self) -> impl Iterator<Item = f64> + use<> {
        let (least, most) = (self.least as i32, self.most as i32);
        (least..=most).map(|power| 10_f64.powi(power))
    }
}

/// 1000 as `1 k`, a million as `1 M`.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, short};

    #[test]
    fn an_axis_goes_from_power_to_power() {
        let axis = Axis::over([30.0, 2_000.0].into_iter(), 300.0);
        assert_eq!(axis.powers().collect::<Vec<_>>(), [10.0, 100.0, 1e3, 1e4]);
        assert_eq!(axis.at(10.0), 0.0);
        assert_eq!(axis.at(1e4), 300.0);
    }

    #[test]
    fn big_numbers_are_short() {
        assert_eq!(short(100_000.0), "100 k");
        assert_eq!(short(1e6), "1 M");
        assert_eq!(short(10.0), "10");
    }
}
