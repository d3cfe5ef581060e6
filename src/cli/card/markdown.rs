//! A card in Markdown (CommonMark, with the tables of GitHub).

use std::fmt::Write;

use microraptor::names::printable;

use super::blocks::{Block, Section};

/// The card.
pub fn page(title: &str, sections: &[Section]) -> String {
    let mut page = format!("# {}\n", escaped(title));
    for Section { title, blocks } in sections {
        page += &format!("\n## {title}\n");
        blocks.iter().for_each(|block| add(block, &mut page));
    }
    page
}

fn add(block: &Block, page: &mut String) {
    page.push('\n');
    // Writing to a String cannot fail.
    let _ = match block {
        Block::Heading(text) => writeln!(page, "### {}", escaped(text)),
        Block::Text(text) => writeln!(page, "{}", escaped(text)),
        Block::Missing(what) => writeln!(page, "*{}*", escaped(what)),
        Block::List(items) => items.iter().try_for_each(|item| writeln!(page, "- {}", escaped(item))),
        Block::Facts(facts) => facts
            .iter()
            .try_for_each(|(name, value)| writeln!(page, "- **{}:** {}", escaped(name), escaped(value))),
        Block::Table(rows) => rows.iter().enumerate().try_for_each(|(n, row)| {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            writeln!(page, "| {} |", cells.join(" | "))?;
            if n == 0 { writeln!(page, "|{}", "---|".repeat(row.len())) } else { Ok(()) }
        }),
    };
}

/// Text that Markdown shows as it is, in one line: names of classes may hold anything.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = printable(&line);
    for (at, c) in line.char_indices() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '\\' | '`' | '*' | '_' | '|' | '~' => safe.extend(['\\', c]),
            '#' | '+' | '-' if at == 0 => safe.extend(['\\', c]),
            // A link or its definition; an interval in brackets stays as it is.
            ']' if line[at + 1..].starts_with(['(', '[', ':']) => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_and_not_acted_on() {
        assert_eq!(escaped("<b>a|b</b>\n_x_ & `y`"), r"&lt;b&gt;a\|b&lt;/b&gt; \_x\_ &amp; \`y\`");
        assert_eq!(escaped("- a - b"), r"\- a - b");
        assert_eq!(escaped("0.9 [0.8, 1.0], [a](b)"), r"0.9 [0.8, 1.0], [a\](b)");
        let table = Block::Table(vec![vec!["a".into(), "b".into()], vec!["1".into(), "|".into()]]);
        let sections = [Section { title: "T", blocks: vec![table] }];
        assert_eq!(page("C", &sections), "# C\n\n## T\n\n| a | b |\n|---|---|\n| 1 | \\| |\n");
    }
}
