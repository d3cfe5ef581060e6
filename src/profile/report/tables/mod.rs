//! The tables of a report, before they are HTML or Markdown.

mod environment;
mod measured;
mod rounds;
mod rows;

use super::view::View;

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its heading.
    pub title: &'static str,
    /// How to read it; may be empty.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// How many columns hold text; those after them hold numbers, which are aligned right.
    pub left: usize,
    /// The last column holds text too.
    pub text_last: bool,
    /// The cells.
    pub rows: Vec<Vec<Cell>>,
    /// Whether it is long and of second rank, and is shown on demand.
    pub folded: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What that is.
    pub mood: Mood,
}

/// How a cell is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As any other.
    #[default]
    Plain,
    /// As something that holds.
    Good,
    /// As something to look at.
    Bad,
}

/// Lines of a table that is shown at once.
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

/// Tables of what else was measured; those that would be empty are left out.
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

/// Tables of where and how it was measured.
pub fn environment(view: &View) -> Vec<Table> {
    environment::tables(view).into_iter().filter(|table| !table.rows.is_empty()).collect()
}
