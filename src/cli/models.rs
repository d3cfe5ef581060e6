//! `microraptor models`

use std::io::{self, Write};

use microraptor::checkpoint::{Card, cards};

use super::args::ModelsArgs;
use super::table::{render, table};
use super::terminal;

/// Lists the cards, or prints one in full.
pub fn run(args: &ModelsArgs) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    match &args.name {
        Some(name) => {
            let card = Card::by_name(name)?;
            if args.json {
                writeln!(out, "{}", serde_json::to_string_pretty(card)?)?;
            } else {
                print_card(card, &mut out)?;
            }
        }
        None if args.json => writeln!(out, "{}", serde_json::to_string_pretty(cards())?)?,
        None => {
            let mut table = table(&["name", "title", "licence", "parameters", "GMAC 224", "GMAC 512"], 3);
            for card in cards() {
                let giga = |size: &str| card.macs.get(size).map_or("-".into(), |&m| giga(m));
                table.add_row([
                    card.name.clone(),
                    card.title.clone(),
                    card.licence.name.clone(),
                    format!("{:.1} M", card.parameters as f64 / 1e6),
                    giga("224"),
                    giga("512"),
                ]);
            }
            writeln!(
                out,
                "{}\n\n`microraptor models NAME` says where the weights come from.",
                render(&table)
            )?;
        }
    }
    Ok(())
}

/// Multiply-accumulates in units of 10^9.
pub fn giga(macs: u64) -> String {
    format!("{:.2}", macs as f64 / 1e9)
}

fn print_card(card: &Card, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", card.name, card.title)?;
    writeln!(out, "  licence     {} ({})", card.licence.name, card.licence.url)?;
    for link in &card.download {
        writeln!(out, "  weights     {} ({})", link.name, link.url)?;
    }
    let c = &card.architecture;
    writeln!(
        out,
        "  network     {} x {}, {} heads, patch {}, {} registers, {} parameters",
        c.dim, c.depth, c.heads, c.patch, c.registers, card.parameters
    )?;
    for (size, macs) in &card.macs {
        writeln!(out, "  at {size} px   {} GMAC", giga(*macs))?;
    }
    for q in &card.quality {
        writeln!(out, "  quality     {} {} on {} ({})", q.value, q.metric, q.task, q.source)?;
    }
    Ok(())
}
