//! Lists of CPU numbers in the kernel's format: `0-3,6`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Upper limit of CPU numbers, exclusive: the size of the C library's `cpu_set_t` (CPU_SETSIZE in
/// sched_setaffinity(2)).
pub const MAX_CPUS: usize = 1024;

/// CPU numbers in increasing order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuList(Vec<usize>);

impl CpuList {
    /// The CPU numbers.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// Number of CPUs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is in the list.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }

    /// CPUs that are in both lists.
    pub fn and(&self, other: &CpuList) -> CpuList {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// CPUs that are not in `other`.
    pub fn without(&self, other: &CpuList) -> CpuList {
        self.iter().filter(|&cpu| !other.contains(cpu)).collect()
    }

    /// CPUs that are in either list.
    pub fn or(&self, other: &CpuList) -> CpuList {
        self.iter().chain(other.iter()).collect()
    }

    /// The first `n` CPUs.
    pub fn first(&self, n: usize) -> CpuList {
        self.iter().take(n).collect()
    }
}

impl FromIterator<usize> for CpuList {
    /// Numbers of `MAX_CPUS` and above are skipped.
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> CpuList {
        let mut numbers: Vec<usize> = numbers.into_iter().filter(|&n| n < MAX_CPUS).collect();
        numbers.sort_unstable();
        numbers.dedup();
        CpuList(numbers)
    }
}

/// A text that is not a list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a list of cores: give numbers below {MAX_CPUS} and ranges, as 4-7 or 0,2")]
pub struct CpuListError(String);

impl FromStr for CpuList {
    type Err = CpuListError;

    /// ```
    /// let list: microraptor::board::CpuList = "4-7,0".parse().unwrap();
    /// assert_eq!(list.to_string(), "0,4-7");
    /// assert!("7-4".parse::<microraptor::board::CpuList>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<CpuList, CpuListError> {
        let number = |s: &str| s.trim().parse::<usize>().ok().filter(|&n| n < MAX_CPUS);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..=last)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let error = || CpuListError(text.chars().take(40).collect());
        Ok(ranges.ok_or_else(error)?.into_iter().flatten().collect())
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for run in self.0.chunk_by(|a, b| a + 1 == *b) {
            match run {
                [one] => write!(f, "{separator}{one}")?,
                [a, b] => write!(f, "{separator}{a},{b}")?,
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                [] => {}
            }
            separator = ",";
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CpuList, D::Error> {
        Ok(Vec::<usize>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl Serialize for CpuList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (text, expected) in
            [("0", "0"), ("0-3", "0-3"), ("3,0, 1", "0,1,3"), ("0,1", "0,1"), ("4-7,4", "4-7")]
        {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "a", "1-", "-1", "3-1", "0,,1", "1024", "0-4294967295", "99999999999999999999"] {
            let error = text.parse::<CpuList>().unwrap_err().to_string();
            assert!(error.contains("list of cores"), "{error}");
        }
    }

    #[test]
    fn set_operations() {
        let (a, b): (CpuList, CpuList) = ("0-3".parse().unwrap(), "2-5".parse().unwrap());
        assert_eq!(a.and(&b).to_string(), "2,3");
        assert_eq!(a.without(&b).to_string(), "0,1");
        assert_eq!(a.or(&b).to_string(), "0-5");
        assert_eq!(b.first(2).to_string(), "2,3");
        assert!(CpuList::default().is_empty() && !a.contains(7) && a.contains(3));
    }
}
