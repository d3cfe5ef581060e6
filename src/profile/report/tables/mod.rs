//! The tables of a report, independent of the output format.

mod environment;
mod measured;
mod rounds;
mod rows;

use super::view::View;

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Heading.
    pub title: &'static str,
    /// Explanation; may be empty.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Number of leading text columns, which are left-aligned. The columns after them hold right-aligned numbers.
    pub left: usize,
    /// Whether the last column also holds text.
    pub text_last: bool,
    /// The cells.
    pub rows: Vec<Vec<Cell>>,
    /// Whether the table is collapsed, because it is long or of secondary importance.
    pub folded: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Text of the cell.
    pub text: String,
    /// How to emphasise the text.
    pub mood: Mood,
}

/// Emphasis of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// No emphasis.
    #[default]
    Plain,
    /// Positive, such as VALID.
    Good,
    /// Negative, such as INVALID.
    Bad,
}

/// Maximum number of lines of a table that is not collapsed.
const LONG: usize = 30;

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, mood: Mood::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        text.to_owned().into()
    }
}

impl Table {
    /// A table without rows.
    fn new(title: &'static str, head: &[&str], left: usize) -> Table {
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        Table { title, head, left, ..Table::default() }
    }

    /// Adds a row.
    fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(Cell::from).collect());
    }

    /// Whether a column's cells are aligned left.
    pub fn is_left(&self, column: usize) -> bool {
        column < self.left || (self.text_last && column + 1 == self.head.len())
    }
}

/// The table of all rows.
pub fn rows(view: &View) -> Table {
    rows::table(view)
}

/// Tables of all other measurements; empty ones are skipped.
pub fn measured(view: &View) -> Vec<Table> {
    let all = [
        measured::scenarios(view),
        measured::tests(view),
        measured::operators(view),
        measured::stages(view),
        measured::energy(view),
        measured::cold(view),
        rounds::table(view),
    ];
    let fold = |table: Table| Table { folded: table.folded || table.rows.len() > LONG, ..table };
    all.into_iter().filter(|table| !table.rows.is_empty()).map(fold).collect()
}

/// Tables of the environment and the measurement protocol; empty ones are skipped.
pub fn environment(view: &View) -> Vec<Table> {
    environment::tables(view).into_iter().filter(|table| !table.rows.is_empty()).collect()
}
