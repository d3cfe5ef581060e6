//! View of the results for plots and tables: names of rows, what distinguishes them, and the Pareto front.

use super::super::{Accuracy, Results, Row, distinct};
use super::chart::Mark;
use super::text;

/// Results, with properties derived from all rows.
pub struct View<'a> {
    /// The results.
    pub results: &'a Results,
    /// Names of the models, in order of first occurrence.
    pub models: Vec<&'a str>,
    /// Configurations ([`config`]), in order of first occurrence.
    pub configs: Vec<String>,
    /// Name of the accuracy metric that most rows use.
    pub metric: Option<&'a str>,
    /// Indices of the rows on the Pareto front, fastest first.
    pub front: Vec<usize>,
    /// Whether rows differ in kind, instruction set and number of threads.
    differs: [bool; 3],
}

impl<'a> View<'a> {
    /// Derives the view from the results.
    pub fn new(results: &'a Results) -> View<'a> {
        let rows = &results.rows;
        let mut view = View {
            results,
            models: distinct(rows.iter().map(|row| row.model.as_str())),
            configs: distinct(rows.iter().map(config)),
            metric: metric(rows),
            front: Vec::new(),
            differs: [
                distinct(rows.iter().map(Row::kind)).len() > 1,
                distinct(rows.iter().map(|row| &row.isa)).len() > 1,
                distinct(rows.iter().map(|row| row.threads)).len() > 1,
            ],
        };
        view.front = view.find_front();
        view
    }

    /// All rows.
    pub fn rows(&self) -> &'a [Row] {
        &self.results.rows
    }

    /// A row's accuracy, if it is finite and measured in [`View::metric`].
    pub fn accuracy(&self, row: &'a Row) -> Option<&'a Accuracy> {
        row.accuracy.as_ref().filter(|a| Some(a.metric.as_str()) == self.metric && a.value.is_finite())
    }

    /// Index of a row's model in [`View::models`].
    pub fn model(&self, row: &Row) -> usize {
        self.models.iter().position(|model| *model == row.model).unwrap_or(0)
    }

    /// Index of a row's configuration in [`View::configs`].
    pub fn config(&self, row: &Row) -> usize {
        let config = config(row);
        self.configs.iter().position(|other| *other == config).unwrap_or(0)
    }

    /// Short label of a row: its size, and those of model, kind, instruction set and threads that differ between rows.
    pub fn short(&self, row: &Row) -> String {
        let model = (self.models.len() > 1).then(|| text::shorten(&row.model, 22));
        self.join([model, self.kind(row), self.isa(row), Some(size(row)), self.threads(row)])
    }

    /// Short label without the size, and with the model if requested; the full configuration if nothing else differs.
    pub fn short_config(&self, row: &Row, with_model: bool) -> String {
        let model = with_model.then(|| text::shorten(&row.model, 40));
        let parts = [model, self.kind(row), self.isa(row), None, self.threads(row)];
        if parts.iter().any(Option::is_some) { self.join(parts) } else { config(row) }
    }

    /// Short label without the model.
    pub fn short_size(&self, row: &Row) -> String {
        self.join([None, self.kind(row), self.isa(row), Some(size(row)), self.threads(row)])
    }

    fn kind(&self, row: &Row) -> Option<String> {
        self.differs[0].then(|| text::shorten(row.kind(), 30))
    }

    fn isa(&self, row: &Row) -> Option<String> {
        row.isa.clone().filter(|_| self.differs[1])
    }

    fn threads(&self, row: &Row) -> Option<String> {
        self.differs[2].then(|| text::count(row.threads, "thread"))
    }

    fn join(&self, parts: [Option<String>; 5]) -> String {
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Indices of the VALID rows on the Pareto front of median latency and accuracy, fastest first.
    fn find_front(&self) -> Vec<usize> {
        let rows = self.rows();
        let value = |i: usize| self.accuracy(&rows[i]).map_or(f64::MIN, |a| a.value);
        let usable = |i: &usize| rows[*i].verdict.valid && value(*i) > f64::MIN;
        let mut order: Vec<usize> =
            (0..rows.len()).filter(usable).filter(|&i| rows[i].latency.p50_ms.is_finite()).collect();
        let latency = |i: usize| rows[i].latency.p50_ms;
        order.sort_by(|&a, &b| latency(a).total_cmp(&latency(b)).then(value(b).total_cmp(&value(a))));
        let mut best = f64::MIN;
        order.retain(|&i| {
            let better = value(i) > best;
            best = best.max(value(i));
            better
        });
        order
    }
}

/// Input size of a row: `224 px`.
pub fn size(row: &Row) -> String {
    format!("{} px", row.size())
}

/// Side of a square with as many pixels: the position of a size on an axis.
pub fn side(row: &Row) -> f64 {
    (row.height as f64 * row.width as f64).sqrt()
}

/// Configuration, which distinguishes rows of one model and size: `int8 avx2, 2 threads`.
pub fn config(row: &Row) -> String {
    format!("{}, {}", row.runs_on(), text::count(row.threads, "thread"))
}

/// Mark that stands for a row's precision.
pub fn mark(row: &Row) -> Mark {
    match row.precision.as_deref() {
        Some("int8") => Mark::Circle,
        Some("f32") => Mark::Square,
        Some("fp16") => Mark::Triangle,
        _ => Mark::Diamond,
    }
}

/// Name of the precision that [`mark`] stands for.
pub fn mark_name(row: &Row) -> &str {
    row.precision.as_deref().unwrap_or("other code")
}

fn metric(rows: &[Row]) -> Option<&str> {
    let all = || rows.iter().filter_map(|row| row.accuracy.as_ref()).map(|a| a.metric.as_str());
    // The most frequent name; the first one on a tie, since the sort is stable.
    let mut names = distinct(all());
    names.sort_by_key(|name| std::cmp::Reverse(all().filter(|other| other == name).count()));
    names.first().copied()
}
