//! The machine's state in each round of each row.

use super::super::text::{self, maybe};
use super::super::view::View;
use super::{Cell, Table, measured::throttled};

/// The table.
pub fn table(view: &View) -> Table {
    let head = ["row", "round", "median ms", "runs", "clock MHz", "hottest °C", "other load", "throttled"];
    let mut table = Table::new("Rounds", &head, 1);
    table.text_last = true;
    table.folded = true;
    table.caption = "Timed runs are split into rounds that visit every row in turn. The clock is the lowest of the cores \
                     used, right after the runs; the other load, the share of all cores that other processes and other \
                     guests of the host took."
        .to_owned();
    for row in view.rows() {
        for (i, round) in row.rounds.iter().enumerate() {
            let cells = [
                row.label(),
                (i + 1).to_string(),
                text::ms(round.median_ms),
                round.runs.to_string(),
                maybe(round.mhz, |mhz| mhz.to_string()),
                maybe(round.celsius, |celsius| text::fixed(celsius, 1)),
                maybe(round.other_load, text::percent),
            ];
            let mut cells: Vec<Cell> = cells.map(Cell::from).to_vec();
            cells.push(throttled(&round.throttled));
            table.rows.push(cells);
        }
    }
    table
}
