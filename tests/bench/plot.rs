//! Plots: lines over two logarithmic axes, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Where the plots lie that the README shows.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/plots");

/// One line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Positive numbers only: the axes are logarithmic.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands at a plot.
pub(crate) struct Labels<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// Writes a plot to `<name>.svg`.
pub(crate) fn write(name: &str, labels: &Labels, lines: &[Line]) -> Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    let file = Path::new(DIRECTORY).join(format!("{name}.svg"));
    draw(&file, labels, lines).map_err(|error| anyhow!("{}: {error}", file.display()))
}

fn draw(
    file: &Path,
    labels: &Labels,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let span = |pick: fn(&(f64, f64)) -> f64| {
        let low = points().map(pick).fold(f64::INFINITY, f64::min);
        let high = points().map(pick).fold(0.0, f64::max);
        (low / 1.5)..(high * 1.5)
    };
    let area = SVGBackend::new(file, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(labels.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            span(|point| point.0).log_scale(),
            span(|point| point.1).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(labels.x)
        .y_desc(labels.y)
        .light_line_style(WHITE)
        .draw()?;
    for (n, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(n).to_rgba();
        chart
            .draw_series(
                LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
