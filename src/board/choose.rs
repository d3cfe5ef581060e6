//! Choice of cores to run on: big cores first, clusters mixed only on request.

use serde::Serialize;

use super::{Board, BoardError, Cluster, Cores, Cpu, CpuList, Group, MAX_CPUS, Machine};

/// What the user requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Number of threads.
    pub threads: Option<usize>,
    /// The cores to run on.
    pub cpus: Option<CpuList>,
}

/// Cores of a machine, under the name that the board file gives them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedGroup {
    /// Name of the cluster: `big`.
    pub name: String,
    /// Its online cores.
    pub group: Group,
    /// The matching cluster of the board file; `None` if the file has none.
    #[serde(skip)]
    pub cluster: Option<Cluster>,
}

/// The cores chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Threads and cores.
    pub cores: Cores,
    /// The reason for the choice, for people.
    pub reason: String,
    /// Whether slower cores are included because more threads were requested than there are fast cores.
    pub spilled: bool,
}

/// Chooses threads and cores. `quota` is the largest number of threads worth starting (a container may have less CPU
/// time than it has cores).
///
/// # Errors
/// [`BoardError::Cores`] if a requested core is not available to this process.
pub fn choose(
    machine: &Machine,
    board: Option<&Board>,
    request: &Request,
    quota: usize,
) -> Result<Choice, BoardError> {
    // If the system reports no cores, `quota` alone counts.
    let usable = Some(machine.usable.len()).filter(|&n| n > 0).unwrap_or(quota);
    let quota = quota.min(usable).min(MAX_CPUS);
    if let Some(cpus) = &request.cpus {
        if cpus.is_empty() || !cpus.without(&machine.usable).is_empty() {
            return Err(BoardError::Cores { asked: cpus.to_string(), usable: machine.usable.to_string() });
        }
        let threads = request.threads.unwrap_or(cpus.len());
        let cores = Cores::new(threads, cpus.clone());
        return Ok(Choice { cores, reason: "these cores were asked for".to_owned(), spilled: false });
    }
    let groups: Vec<(String, CpuList)> = named_groups(machine, board)
        .into_iter()
        .map(|g| (g.name, g.group.cpus.and(&machine.usable)))
        .filter(|(_, cpus)| !cpus.is_empty())
        .collect();
    if groups.len() < 2 {
        let (threads, reason) = match request.threads {
            Some(threads) => (threads, "this many threads were asked for; all cores are alike"),
            None => match board.and_then(|board| board.threads.as_ref()) {
                Some(file) if file.count.get() < quota => {
                    (file.count.get(), "as many as the board file says")
                }
                _ => (quota, "all cores are alike: one thread for each that this process may use"),
            },
        };
        return Ok(Choice { cores: threads.into(), reason: reason.to_owned(), spilled: false });
    }
    Ok(among(&groups, board, request.threads, quota))
}

/// Chooses among several clusters, given in order of preference.
fn among(groups: &[(String, CpuList)], board: Option<&Board>, asked: Option<usize>, quota: usize) -> Choice {
    let default = board.and_then(|board| board.threads.as_ref());
    let preferred = |name: &String| match default {
        Some(default) => default.clusters.contains(name),
        None => *name == groups[0].0,
    };
    // A container may have none of the preferred cores; the best that it has are used then.
    let any = groups.iter().any(|(name, _)| preferred(name));
    let (first, rest): (Vec<_>, Vec<_>) =
        groups.iter().enumerate().partition(|(i, (name, _))| if any { preferred(name) } else { *i == 0 });
    let mut cpus = first.iter().fold(CpuList::default(), |all, (_, (_, cpus))| all.or(cpus));
    let mut names: Vec<&str> = first.iter().map(|(_, (name, _))| name.as_str()).collect();
    let count = default.filter(|_| any).map_or(cpus.len(), |d| d.count.get()).min(cpus.len());
    let threads = asked.unwrap_or(count.min(quota));
    let fast = cpus.len();
    for (_, (name, more)) in rest {
        if cpus.len() < threads {
            cpus = cpus.or(&more.first(threads - cpus.len()));
            names.push(name);
        }
    }
    let names = names.join(" + ");
    let spilled = threads > fast && cpus.len() > fast;
    let reason = if spilled {
        format!("{names}: {threads} threads were asked for and there are {fast} fast cores")
    } else {
        format!("{names}: the fast cores, not mixed with slower ones unless threads or cores are named")
    };
    Choice { cores: Cores::new(threads, cpus), reason, spilled }
}

/// The machine's clusters under the file's names and in its order, followed by those that are not in the file.
pub fn named_groups(machine: &Machine, board: Option<&Board>) -> Vec<NamedGroup> {
    let clusters = board.map(|board| board.clusters.as_slice()).unwrap_or_default();
    let mut of_file: Vec<Vec<&Cpu>> = vec![Vec::new(); clusters.len()];
    let mut others = machine.clone();
    others.cpus.retain(|cpu| nearest(clusters, cpu).is_none());
    for cpu in &machine.cpus {
        if let Some(i) = nearest(clusters, cpu) {
            of_file[i].push(cpu);
        }
    }
    let mut groups: Vec<NamedGroup> = clusters
        .iter()
        .zip(&of_file)
        .filter(|(_, cpus)| !cpus.is_empty())
        .map(|(cluster, cpus)| {
            let mut group = Group::of(cpus);
            group.core = Some(cluster.core.clone());
            NamedGroup { name: cluster.name.clone(), group, cluster: Some(cluster.clone()) }
        })
        .collect();
    let found = others.groups();
    let names: &[&str] = match found.len() {
        1 => &["all"],
        2 => &["big", "little"],
        3 => &["prime", "big", "little"],
        _ => &[],
    };
    groups.extend(found.into_iter().enumerate().map(|(i, group)| {
        let name = if clusters.is_empty() { names.get(i).copied() } else { None };
        let name = name.map_or_else(|| format!("cluster{i}"), str::to_owned);
        NamedGroup { name, group, cluster: None }
    }));
    groups
}

/// Index of the file's cluster that a core belongs to: same core type, and of those the closest clock.
fn nearest(clusters: &[Cluster], cpu: &Cpu) -> Option<usize> {
    let distance = |cluster: &Cluster| cpu.max_mhz.map_or(0, |mhz| cluster.max_mhz.get().abs_diff(mhz));
    clusters
        .iter()
        .enumerate()
        .filter(|(_, cluster)| cpu.midr == Some((cluster.implementer, cluster.part)))
        .min_by_key(|(_, cluster)| distance(cluster))
        .map(|(i, _)| i)
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
