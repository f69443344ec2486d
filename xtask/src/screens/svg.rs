//! A terminal as SVG, light or dark as the reader has it.

use anstyle::{AnsiColor, Color};
use anstyle_svg::{Term, VGA};

/// Dark: the names are those that anstyle-svg gives to the colours of a terminal. Dimmed text is to
/// stay legible, light or dark.
const STYLE: &str = "\
    .fg { fill: #1f2328 } .bg { fill: #f6f8fa }
    .fg-red { fill: #b31d28 } .fg-green { fill: #116329 } .fg-yellow { fill: #7d4e00 }
    .fg-cyan { fill: #0a6b7c } .fg-black { fill: #1f2328 } .fg-white { fill: #f6f8fa }
    .dimmed { opacity: 0.7 }
    @media (prefers-color-scheme: dark) {
      .fg { fill: #d1d7e0 } .bg { fill: #151b23 }
      .fg-red { fill: #ff8a80 } .fg-green { fill: #7ee787 } .fg-yellow { fill: #e3b341 }
      .fg-cyan { fill: #76d9e6 } .fg-black { fill: #d1d7e0 } .fg-white { fill: #151b23 }
      .bg-black { fill: #d1d7e0; stroke: none }
    }
";

/// Draws what was typed and what the terminal then shows.
pub fn draw(prompt: &str, text: &str) -> String {
    // What is inverted has the colours of text and background by these names.
    let term = Term::new()
        .palette(VGA)
        .fg_color(Color::Ansi(AnsiColor::Black))
        .bg_color(Color::Ansi(AnsiColor::White));
    let svg = term.render_svg(&format!("\x1b[1m{prompt}\x1b[0m\n{text}"));
    let svg = svg.replacen("  </style>", &format!("{STYLE}  </style>"), 1);
    let lines: Vec<&str> = svg.lines().map(str::trim_end).collect();
    scalable(&(lines.join("\n") + "\n"))
}

/// A picture that is shown smaller than it is has to be scaled, and not cut.
fn scalable(svg: &str) -> String {
    let size = |name: &str| {
        let (_, rest) = svg.split_once(name)?;
        Some(rest.split_once("px\"")?.0)
    };
    match (size("<svg width=\""), size(" height=\"")) {
        (Some(width), Some(height)) => {
            let with_box = format!("<svg viewBox=\"0 0 {width} {height}\" ");
            svg.replacen("<svg ", &with_box, 1)
        }
        _ => svg.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_scalable_escaped_and_has_both_schemes() {
        let svg = draw("$ x", "\x1b[31m<b>\x1b[0m & c");
        assert!(svg.starts_with("<svg viewBox=\"0 0 740 "), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"), "{svg}");
        assert!(
            svg.contains("<tspan class=\"fg-red\">&lt;b&gt;</tspan>"),
            "{svg}"
        );
    }
}
