//! Tables on the terminal.

use comfy_table::{CellAlignment, Table, presets};

/// A table without borders; all columns except the first `left` are right-aligned.
pub fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's text, without trailing spaces.
pub fn render(table: &Table) -> String {
    table.trim_fmt()
}
