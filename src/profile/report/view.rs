//! What plots and tables ask of rows: which names they have, which of them differ, which rows are on the front.

use super::super::{Accuracy, Results, Row, distinct};
use super::chart::Mark;
use super::text;

/// Results, and what their rows have in common.
pub struct View<'a> {
    /// The results.
    pub results: &'a Results,
    /// Names of the models, in the order in which they come.
    pub models: Vec<&'a str>,
    /// What else tells rows of one size apart: [`config`], in the order in which they come.
    pub configs: Vec<String>,
    /// The number that most rows give as accuracy.
    pub metric: Option<&'a str>,
    /// Places of the rows on the front, fastest first.
    pub front: Vec<usize>,
    /// What rows differ in: kind, instruction set, threads.
    differs: [bool; 3],
}

impl<'a> View<'a> {
    /// Looks through the rows.
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

    /// A row's accuracy, if it is in the [`View::metric`] that most rows have.
    pub fn accuracy(&self, row: &'a Row) -> Option<&'a Accuracy> {
        row.accuracy.as_ref().filter(|a| Some(a.metric.as_str()) == self.metric && a.value.is_finite())
    }

    /// Place of a row's model among the models.
    pub fn model(&self, row: &Row) -> usize {
        self.models.iter().position(|model| *model == row.model).unwrap_or(0)
    }

    /// Place of a row's configuration among the configurations.
    pub fn config(&self, row: &Row) -> usize {
        let config = config(row);
        self.configs.iter().position(|other| *other == config).unwrap_or(0)
    }

    /// What tells a row from the others, as short as it can be: the model only where there are several, and so on.
    pub fn short(&self, row: &Row) -> String {
        let model = (self.models.len() > 1).then(|| text::shorten(&row.model, 22));
        self.join([model, self.kind(row), self.isa(row), Some(size(row)), self.threads(row)])
    }

    /// The same without its size.
    pub fn short_config(&self, row: &Row, with_model: bool) -> String {
        let model = with_model.then(|| text::shorten(&row.model, 40));
        let parts = [model, self.kind(row), self.isa(row), None, self.threads(row)];
        if parts.iter().any(Option::is_some) { self.join(parts) } else { config(row) }
    }

    /// The same without its model.
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

    /// Rows that no other beats in both p50 latency and accuracy, the fastest first; only VALID ones are looked at.
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

/// `224 px`.
pub fn size(row: &Row) -> String {
    format!("{} px", row.size())
}

/// Side of a square with as many pixels, which is how sizes lie on an axis.
pub fn side(row: &Row) -> f64 {
    (row.height as f64 * row.width as f64).sqrt()
}

/// What tells rows of one model and size apart: `int8 avx2, 2 threads`.
pub fn config(row: &Row) -> String {
    format!("{}, {}", row.runs_on(), text::count(row.threads, "thread"))
}

/// The mark of a row's precision.
pub fn mark(row: &Row) -> Mark {
    match row.precision.as_deref() {
        Some("int8") => Mark::Circle,
        Some("f32") => Mark::Square,
        Some("fp16") => Mark::Triangle,
        _ => Mark::Diamond,
    }
}

/// What [`mark`] stands for.
pub fn mark_name(row: &Row) -> &str {
    row.precision.as_deref().unwrap_or("other code")
}

fn metric(rows: &[Row]) -> Option<&str> {
    let all = || rows.iter().filter_map(|row| row.accuracy.as_ref()).map(|a| a.metric.as_str());
    // The first of those that come most often.
    let mut names = distinct(all());
    names.sort_by_key(|name| std::cmp::Reverse(all().filter(|other| other == name).count()));
    names.first().copied()
}
