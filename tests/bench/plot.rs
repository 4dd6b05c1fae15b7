//! In: ratios of some cases. Out: an SVG with a dot for each pair. Bound: one row for each case. Fails: nothing.

use std::fmt::Write as _;

/// One row of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its label.
    pub(crate) label: String,
    /// The ratios, one dot for each.
    pub(crate) ratios: Vec<f64>,
    /// The median.
    pub(crate) median: f64,
    /// The goal, if there is one.
    pub(crate) goal: Option<f64>,
}

const LABEL_WIDTH: f64 = 300.0;
const PLOT_WIDTH: f64 = 460.0;
const ROW_HEIGHT: f64 = 26.0;
const TOP: f64 = 54.0;

/// A dot plot of ratios. Left of the line at 1, the first program uses less than the second.
pub(crate) fn svg(title: &str, rows: &[Row]) -> String {
    let greatest =
        rows.iter().flat_map(|row| &row.ratios).fold(1.2_f64, |most, ratio| most.max(*ratio));
    let end = (greatest * 5.0).ceil() / 5.0;
    let x = |ratio: f64| LABEL_WIDTH + ratio / end * PLOT_WIDTH;
    let count = u32::try_from(rows.len()).map_or(0.0, f64::from);
    let bottom = TOP + count * ROW_HEIGHT;
    let (width, height) = (LABEL_WIDTH + PLOT_WIDTH + 30.0, bottom + 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>\n\
         <text x=\"12\" y=\"40\" fill=\"#555\">one dot for each pair, bar: median, triangle: goal; left of 1 is better</text>\n",
        escaped(title)
    );
    let mut line = |at: f64, color: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{text}</text>",
            bottom + 18.0
        );
    };
    let step = if end > 4.0 { 1.0 } else { 0.2 };
    let mut tick = 0.0;
    while tick <= end + 1e-9 {
        let is_one = (tick - 1.0_f64).abs() < 1e-9;
        line(x(tick), if is_one { "#333" } else { "#ddd" }, &format!("{tick:.1}"));
        tick += step;
    }
    let mut middle = TOP + ROW_HEIGHT / 2.0;
    for row in rows {
        let (text, at) = (escaped(&row.label), x(row.median));
        let _ = writeln!(svg, "<text x=\"12\" y=\"{:.1}\">{text}</text>", middle + 4.0);
        for ratio in &row.ratios {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"#2b6cb0\" fill-opacity=\"0.45\"/>",
                x(*ratio)
            );
        }
        let (above, below) = (middle - 9.0, middle + 9.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{above:.1}\" x2=\"{at:.1}\" y2=\"{below:.1}\" stroke=\"#1a365d\" stroke-width=\"3\"/>"
        );
        if let Some(goal) = row.goal {
            let (left, right, at) = (x(goal) - 5.0, x(goal) + 5.0, x(goal));
            let _ = writeln!(
                svg,
                "<polygon points=\"{left:.1},{above:.1} {right:.1},{above:.1} {at:.1},{middle:.1}\" fill=\"#c05621\"/>"
            );
        }
        middle += ROW_HEIGHT;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
