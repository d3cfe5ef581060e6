//! A card as a page of HTML that needs no other file.

use microraptor::names::printable;

use super::blocks::{Block, Section};

/// Readable on a screen and on paper, in either colour scheme.
const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}\
h1{line-height:1.2}h2{border-bottom:1px solid;margin-top:2rem}table{border-collapse:collapse;font-size:.9rem}\
.wide{overflow-x:auto}th,td{border:1px solid #8888;padding:.25rem .6rem;text-align:left;vertical-align:top}\
dt{font-weight:600}dd{margin:0 0 .4rem 1rem;overflow-wrap:anywhere}.missing{font-style:italic;border-left:4px solid #c60;\
padding-left:.6rem}";

/// The card.
pub fn page(title: &str, sections: &[Section]) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
    );
    for Section { title, blocks } in sections {
        page += &format!("<h2>{title}</h2>\n");
        blocks.iter().for_each(|block| page += &part(block));
    }
    page + "</html>\n"
}

fn part(block: &Block) -> String {
    match block {
        Block::Heading(text) => format!("<h3>{}</h3>\n", escaped(text)),
        Block::Text(text) => format!("<p>{}</p>\n", escaped(text)),
        Block::Missing(what) => format!("<p class=\"missing\">{}</p>\n", escaped(what)),
        Block::List(items) => {
            let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escaped(item))).collect();
            format!("<ul>\n{items}</ul>\n")
        }
        Block::Facts(facts) => {
            let fact = |(name, value): &(String, String)| {
                format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value))
            };
            format!("<dl>\n{}</dl>\n", facts.iter().map(fact).collect::<String>())
        }
        Block::Table(rows) => {
            let row = |(n, row): (usize, &Vec<String>)| {
                let tag = if n == 0 { "th" } else { "td" };
                let cells: String =
                    row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
                format!("<tr>{cells}</tr>\n")
            };
            let rows: String = rows.iter().enumerate().map(row).collect();
            format!("<div class=\"wide\"><table>\n{rows}</table></div>\n")
        }
    }
}

fn escaped(text: &str) -> String {
    let text = printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_tags() {
        let blocks = vec![
            Block::List(vec!["a < b & \"c\"".into()]),
            Block::Table(vec![vec!["x".into()], vec!["<script>".into()]]),
        ];
        let page = page("<i>", &[Section { title: "T", blocks }]);
        assert!(page.contains("<h1>&lt;i&gt;</h1>") && !page.contains("<script>"), "{page}");
        assert!(page.contains("<li>a &lt; b &amp; &quot;c&quot;</li>"), "{page}");
        assert!(page.contains("<tr><th>x</th></tr>\n<tr><td>&lt;script&gt;</td></tr>"), "{page}");
    }
}
