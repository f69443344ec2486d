//! Plots as SVG, each with a table below for those who cannot see it.

use maud::{Markup, html};

/// The drawing's size in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
/// The height below the bars, for the labels of the axis.
const AXIS: f64 = 18.0;
/// The most rows of a table. A page has to stay small.
const MAX_ROWS: usize = 130;

/// Counts of the same kinds side by side, bar for bar.
pub(super) struct Plot<'a> {
    pub title: &'a str,
    /// What the bars are about: the head of the table's first column.
    pub axis: &'a str,
    /// The names of the kinds, each with its style (`k0` to `k9`).
    pub kinds: Vec<(&'a str, usize)>,
    pub bars: Vec<PlotBar>,
}

/// One bar: its label, and how many there are of each kind, from below.
pub(super) struct PlotBar {
    pub label: String,
    pub counts: Vec<u64>,
}

impl PlotBar {
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Plot<'_> {
    /// Returns the plot with its legend and table, or a sentence where nothing is to be shown.
    pub fn draw(&self) -> Markup {
        let highest = self.bars.iter().map(PlotBar::total).max().unwrap_or(0);
        html! {
            figure {
                figcaption { (self.title) }
                @if highest == 0 {
                    p.none { "Nothing of this is in the recording." }
                } @else {
                    (self.picture(highest))
                    @if self.kinds.len() > 1 { (self.legend()) }
                    (self.table())
                }
            }
        }
    }

    fn picture(&self, highest: u64) -> Markup {
        let step = WIDTH / self.bars.len() as f64;
        // Many bars touch; few do not get as wide as a hand.
        let width = (step * 0.9).min(40.0).max(step - 1.0).min(40.0);
        let scale = HEIGHT / highest as f64;
        let last = self.bars.len() - 1;
        let middle = (self.bars.len() > 4).then_some(last / 2);
        html! {
            svg viewBox=(format!("0 -14 {WIDTH} {}", HEIGHT + AXIS + 14.0)) role="img"
                aria-label=(format!("{}: at most {highest}; the table below has all", self.title)) {
                text.top x="0" y="-3" { "at most " (highest) }
                @for (number, bar) in self.bars.iter().enumerate() {
                    g {
                        title { (bar.label) ": " (bar.total()) }
                        @for (style, top, height) in self.parts(bar, scale) {
                            rect class=(format!("k{style}"))
                                x=(format!("{:.1}", number as f64 * step)) y=(format!("{top:.1}"))
                                width=(format!("{width:.1}")) height=(format!("{height:.1}")) {}
                        }
                    }
                }
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                text x="0" y=(HEIGHT + 14.0) { (self.bars[0].label) }
                @if let Some(middle) = middle {
                    text.middle x=(format!("{:.1}", (middle as f64 + 0.5) * step)) y=(HEIGHT + 14.0) {
                        (self.bars[middle].label)
                    }
                }
                @if last > 0 {
                    text.last x=(WIDTH) y=(HEIGHT + 14.0) { (self.bars[last].label) }
                }
            }
        }
    }

    /// The style, top and height of each part of a bar.
    fn parts(&self, bar: &PlotBar, scale: f64) -> Vec<(usize, f64, f64)> {
        let mut below = 0;
        let kinds = self.kinds.iter().zip(&bar.counts);
        let parts = kinds.filter(|(_, count)| **count > 0);
        parts
            .map(|((_, style), &count)| {
                below += count;
                let height = (count as f64 * scale).max(1.0);
                (*style, HEIGHT - below as f64 * scale, height)
            })
            .collect()
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for (name, style) in &self.kinds {
                    li { span class=(format!("swatch k{style}")) {} (name) }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let rows: Vec<&PlotBar> = self.bars.iter().filter(|bar| bar.total() > 0).collect();
        html! {
            details {
                summary { "As a table" }
                table {
                    thead { tr {
                        th { (self.axis) }
                        @for (name, _) in &self.kinds { th { (name) } }
                    } }
                    tbody {
                        @for bar in rows.iter().take(MAX_ROWS) {
                            tr {
                                th scope="row" { (bar.label) }
                                @for count in &bar.counts { td { (count) } }
                            }
                        }
                    }
                }
                @if rows.len() > MAX_ROWS { p { (rows.len() - MAX_ROWS) " more rows" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Plot, PlotBar};

    fn plot(counts: &[[u64; 2]]) -> String {
        let bars = counts.iter().map(|counts| PlotBar {
            label: format!("<{}>", counts[0]),
            counts: counts.to_vec(),
        });
        let plot = Plot {
            title: "Closes",
            axis: "time",
            kinds: vec![("orderly", 0), ("reset", 3)],
            bars: bars.collect(),
        };
        plot.draw().into_string()
    }

    #[test]
    fn each_kind_has_its_part_of_a_bar_and_a_column() {
        let svg = plot(&[[3, 1], [0, 0], [0, 4]]);
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(
            svg.contains(r#"<rect class="k0" x="0.0" y="40.0" "#),
            "{svg}"
        );
        assert!(svg.contains("<td>3</td><td>1</td>"), "{svg}");
        // Empty bars have no row.
        assert_eq!(svg.matches("<tr>").count(), 3);
        assert!(svg.contains("&lt;3&gt;") && !svg.contains("<3>"));
    }

    #[test]
    fn without_counts_there_is_a_sentence() {
        for counts in [&[][..], &[[0, 0]]] {
            assert!(plot(counts).contains("Nothing of this is in the recording."));
        }
    }
}
