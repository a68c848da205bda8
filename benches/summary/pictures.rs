//! Pictures of lines that say which points they are.

use std::{collections::BTreeMap, error::Error, path::Path};

use plotters::{coord::ranged1d::Ranged, prelude::*};

use crate::table::{Line, Table};

/// A picture, and what is on its axes.
struct Picture {
    name: &'static str,
    caption: &'static str,
    x: &'static str,
    y: &'static str,
    /// Whether the horizontal axis is logarithmic; the vertical one is.
    has_log_x: bool,
}

const PICTURES: [Picture; 2] = [
    Picture {
        name: "throughput",
        caption: "rows a second against the size of a batch",
        x: "rows a batch",
        y: "rows a second",
        has_log_x: true,
    },
    Picture {
        name: "latency",
        caption: "milliseconds until a bar is in SQLite, p99, against the load",
        x: "load, in percent of what is stored when there is always more",
        y: "milliseconds",
        has_log_x: false,
    },
];

/// The points of a curve, ours or a peer's.
type Curves = BTreeMap<(String, bool), Vec<(f64, f64)>>;

/// Draws those pictures into a directory of which there are points, and returns their files' names.
pub fn draw(tables: &[Table], directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for picture in &PICTURES {
        let curves = curves(picture.name, tables.iter().flat_map(|table| &table.lines));
        if !curves.is_empty() {
            let name = format!("{}.svg", picture.name);
            picture.draw(&directory.join(&name), &curves)?;
            names.push(name);
        }
    }
    Ok(names)
}

fn curves<'a>(picture: &str, lines: impl Iterator<Item = &'a Line>) -> Curves {
    let mut curves = Curves::new();
    for line in lines {
        let Some(point) = line.point.as_ref().filter(|point| point.picture == picture) else { continue };
        let mut add = |name: String, is_peer, y| {
            let points = curves.entry((name, is_peer)).or_default();
            // Several of our curves can have one peer.
            if points.last().is_none_or(|(x, _)| *x != point.x) {
                points.push((point.x, y));
            }
        };
        add(point.curve.clone(), false, line.ours.median);
        if let Some(peer) = &line.peer {
            let name =
                if line.unit == "rows/s" { format!("{}: {}", point.curve, peer.name) } else { peer.name.clone() };
            add(name, true, peer.figures.median);
        }
    }
    curves.values_mut().for_each(|points| points.sort_by(|(one, _), (other, _)| one.total_cmp(other)));
    curves
}

impl Picture {
    fn draw(&self, path: &Path, curves: &Curves) -> Result<(), Box<dyn Error>> {
        let range = |values: &dyn Fn(&(f64, f64)) -> f64| {
            let all = || curves.values().flatten().map(values);
            (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max))
        };
        let ((left, right), (bottom, top)) = (range(&|(x, _)| *x), range(&|(_, y)| *y));
        if self.has_log_x {
            self.draw_on(path, curves, (left..right).log_scale(), bottom..top)
        } else {
            self.draw_on(path, curves, 0.0..right, bottom..top)
        }
    }

    fn draw_on<X>(&self, path: &Path, curves: &Curves, x: X, y: std::ops::Range<f64>) -> Result<(), Box<dyn Error>>
    where
        X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
        X::CoordDescType: plotters::coord::ranged1d::ValueFormatter<f64> + Ranged<ValueType = f64>,
    {
        const COLOURS: [RGBColor; 3] =
            [RGBColor(0x2a, 0x6f, 0xbb), RGBColor(0xc4, 0x4e, 0x52), RGBColor(0x55, 0xa8, 0x68)];
        let area = SVGBackend::new(path, (900, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.caption, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(x, (y.start / 1.5..y.end * 1.5).log_scale())?;
        let short = |value: &f64| crate::table::show::number(*value);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()?;
        let ours: Vec<&String> = curves.keys().filter(|(_, is_peer)| !is_peer).map(|(name, _)| name).collect();
        for ((name, is_peer), points) in curves {
            // A peer that several curves have is black.
            let of = ours.iter().position(|ours| name.starts_with(*ours));
            let colour = of.and_then(|at| COLOURS.get(at)).copied().unwrap_or(BLACK);
            // A peer's curve is thin, and has rings for points.
            let (width, style) = if *is_peer { (1, colour.into()) } else { (3, colour.filled()) };
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(width)).point_size(0))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(width)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, style)))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.9))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(area.present()?)
    }
}
