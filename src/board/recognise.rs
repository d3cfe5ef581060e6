//! Recognition of the board file that a machine matches.

use serde::Serialize;

use super::{Board, Machine, boards};

/// A board, and what it was recognised by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recognised {
    /// The board.
    pub board: Board,
    /// What matched: `its model name`, `compatible "brcm,bcm2711"`.
    pub by: String,
}

/// How well a file matches; the smallest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// By model name; a longer match is better.
    Model(std::cmp::Reverse<usize>),
    /// By the string with this index in `compatible`. Strings after the first identify the chip, not the board.
    Compatible(usize),
    CpuInfo,
    Architecture,
}

/// The board that matches best; `None` if not even the architecture is known.
pub fn recognise(machine: &Machine) -> Option<Recognised> {
    let ranked = boards().iter().filter_map(|board| rank(board, machine).map(|(rank, by)| (rank, by, board)));
    // Boards are sorted by name, and `min_by_key` returns the first of equal ranks.
    let (_, by, board) = ranked.min_by_key(|(rank, ..)| *rank)?;
    Some(Recognised { board: board.clone(), by })
}

fn rank(board: &Board, machine: &Machine) -> Option<(Rank, String)> {
    let recognise = &board.recognise;
    if let Some(model) = &machine.model {
        let found =
            recognise.model.iter().filter(|part| model.contains(part.as_str())).max_by_key(|p| p.len());
        if let Some(part) = found {
            return Some((Rank::Model(std::cmp::Reverse(part.len())), "its model name".to_owned()));
        }
    }
    let place = machine.compatible.iter().position(|name| recognise.compatible.contains(name));
    if let Some(place) = place {
        return Some((Rank::Compatible(place), format!("compatible \"{}\"", machine.compatible[place])));
    }
    let names = machine.cpuinfo_names.iter().chain(&machine.cpu_name).chain(&machine.product);
    for name in names {
        if recognise.cpuinfo.iter().any(|part| name.contains(part.as_str())) {
            return Some((Rank::CpuInfo, format!("\"{name}\"")));
        }
    }
    let same = recognise.architecture.is_some() && recognise.architecture == machine.architecture;
    same.then(|| (Rank::Architecture, "its architecture alone".to_owned()))
}
