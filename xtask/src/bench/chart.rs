//! A family as an SVG: a panel for each figure, a bar for each variant, a line from the least to the greatest value.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::bench::summary::{Row, Summary, number};

const WIDTH: u32 = 720;
const BAR: u32 = 30;
/// Of a panel, without its bars: the title and the axis.
const FRAME: u32 = 70;
const TITLE: (&str, u32) = ("sans-serif", 16);
const LABEL: (&str, u32) = ("sans-serif", 12);
const OTHER: RGBColor = RGBColor(0x3B, 0x6E, 0xA8);
const REFERENCE: RGBColor = RGBColor(0x9A, 0xA5, 0xB1);

/// The SVG's text.
pub fn draw(family: &Summary) -> Result<String> {
    let panels: Vec<&[Row]> = family.rows.chunk_by(|one, next| one.figure == next.figure).collect();
    let heights: Vec<u32> = panels.iter().map(|rows| FRAME + BAR * rows.len() as u32).collect();
    let mut svg = String::new();
    {
        let mut rest = SVGBackend::with_string(&mut svg, (WIDTH, heights.iter().sum())).into_drawing_area();
        rest.fill(&WHITE)?;
        for (rows, height) in panels.iter().zip(heights) {
            let (panel, below) = rest.split_vertically(height);
            draw_figure(&panel, rows, family.reference)
                .map_err(|error| format!("cannot draw {}: {error}", family.name))?;
            rest = below;
        }
        rest.present()?;
    }
    Ok(svg)
}

fn draw_figure<'a>(
    panel: &DrawingArea<SVGBackend<'a>, Shift>,
    rows: &[Row],
    reference: &str,
) -> std::result::Result<(), Box<dyn Error + 'a>> {
    let Some(first) = rows.first() else { return Ok(()) };
    let longest = rows.iter().map(|row| row.value.max).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{}, {}", first.figure, first.unit), TITLE)
        .margin(8)
        .set_label_area_size(LabelAreaPosition::Left, 120)
        .set_label_area_size(LabelAreaPosition::Bottom, 20)
        // From above to below, as in the table.
        .build_cartesian_2d(0.0..longest * 1.25, (rows.len() as f64)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_max_light_lines(0)
        .x_label_formatter(&|x| number(*x))
        .draw()?;
    for (place, row) in rows.iter().enumerate() {
        let (top, middle) = (place as f64, place as f64 + 0.5);
        let colour = if row.variant == reference { REFERENCE } else { OTHER };
        let value = row.value;
        chart.draw_series([Rectangle::new([(0.0, top + 0.15), (value.median, top + 0.85)], colour.filled())])?;
        chart.draw_series([PathElement::new([(value.min, middle), (value.max, middle)], BLACK.stroke_width(2))])?;
        let ratio = row.ratio.filter(|_| row.variant != reference).map(|ratio| format!("  ({:.2})", ratio.median));
        let label = format!("{}{}", number(value.median), ratio.unwrap_or_default());
        chart.draw_series([Text::new(label, (value.max + longest * 0.01, top + 0.3), LABEL)])?;
        let (left, at) = chart.plotting_area().map_coordinate(&(0.0, top + 0.3));
        panel.draw(&Text::new(
            row.variant.clone(),
            (left - panel.get_base_pixel().0 - 115, at - panel.get_base_pixel().1),
            LABEL,
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::Spread;

    #[test]
    fn every_variant_is_drawn_in_every_figure() {
        let value = Spread { median: 2.0, min: 1.0, max: 3.0 };
        let rows = ["speed", "size"].into_iter().flat_map(|figure| {
            let row =
                move |variant: &str| Row { figure, unit: "u", variant: variant.into(), value, ratio: Some(value) };
            ["bare", "ours & theirs"].map(row)
        });
        let rows = rows.collect();
        let family = Summary { name: "x", about: "", reference: "bare", rounds: 1, rows, samples: Vec::new() };
        let svg = draw(&family).unwrap();
        for text in ["speed, u", "size, u", "bare", "ours &amp; theirs", "2.00  (2.00)"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
