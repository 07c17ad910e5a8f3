//! The picture of the numbers.

use std::path::Path;

use bcvk_testkit::drive::error::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Row, Start};

const SIZE: (u32, u32) = (960, 320);

/// Colours that differ in brightness too, for those who do not tell colours apart.
const COLD: RGBColor = RGBColor(0x1f, 0x4e, 0x9c);
const WARM: RGBColor = RGBColor(0xe0, 0x7b, 0x1a);

/// One chart of the picture.
struct Panel {
    title: &'static str,
    of: fn(&Row) -> f64,
    /// Number of decimals on the axis.
    decimals: usize,
    /// Position for the legend where there are no points.
    legend: SeriesLabelPosition,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "last VM ready (s)",
        of: |row| row.ready[2],
        decimals: 0,
        legend: SeriesLabelPosition::UpperLeft,
    },
    Panel {
        title: "memory per VM (MiB)",
        of: |row| row.memory / (1024.0 * 1024.0),
        decimals: 0,
        legend: SeriesLabelPosition::MiddleRight,
    },
    Panel {
        title: "idle processor per VM (%)",
        of: |row| row.idle * 100.0,
        decimals: 1,
        legend: SeriesLabelPosition::UpperRight,
    },
];

/// Draws `rows` side by side: time, memory, processor.
pub(super) fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::other(format!("cannot draw: {e}"));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    for (panel, area) in PANELS.iter().zip(root.split_evenly((1, PANELS.len()))) {
        chart(panel, rows, &area).map_err(|e| failed(&e))?;
    }
    root.present().map_err(|e| failed(&e))
}

type DrawError = Box<dyn std::error::Error>;

fn chart(
    panel: &Panel,
    rows: &[Row],
    area: &DrawingArea<SVGBackend<'_>, Shift>,
) -> std::result::Result<(), DrawError> {
    let most = rows.iter().map(|row| row.vms).max().unwrap_or(1);
    let highest = rows.iter().map(panel.of).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(44)
        .build_cartesian_2d(0..most, 0.0..highest * 1.1)
        .map_err(|e| e.to_string())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("VMs at once")
        .x_labels(5)
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.*}", panel.decimals))
        .draw()
        .map_err(|e| e.to_string())?;
    for (start, colour) in [(Start::Cold, COLD), (Start::Warm, WARM)] {
        let points = || {
            rows.iter()
                .filter(move |row| row.start == start)
                .map(|row| (row.vms, (panel.of)(row)))
        };
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))
            .map_err(|e| e.to_string())?
            .label(start.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart
            .draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(|e| e.to_string())?;
    }
    chart
        .configure_series_labels()
        .position(panel.legend.clone())
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|e| e.to_string())?;
    Ok(())
}
