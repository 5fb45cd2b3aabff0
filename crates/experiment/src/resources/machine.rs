//! This machine, as the operating system tells.

use std::path::Path;

/// What runs depend on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Name of the processor.
    pub processor: Option<String>,
    /// Vector and tile units that matter here.
    pub units: Vec<String>,
    /// Main memory in bytes, and what of it is free: the smaller of the machine's and the control group's.
    pub memory: Option<u64>,
    /// See above.
    pub memory_free: Option<u64>,
}

/// Units by their name in `/proc/cpuinfo`.
const UNITS: [&str; 7] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd"];

impl Machine {
    /// Asks.
    pub fn here() -> Machine {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpu.lines().find(|l| l.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|l| Some(l.split_once(':')?.1.trim().to_string()))
        };
        let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
        let has = |unit: &&&str| flags.split(' ').any(|flag| flag == **unit);
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("model name"),
            units: UNITS.iter().filter(has).map(|unit| (*unit).to_string()).collect(),
            memory: smaller(meminfo("MemTotal:"), number("/sys/fs/cgroup/memory.max")),
            memory_free: free(),
        }
    }
}

/// Free memory in bytes, where the system tells.
pub(crate) fn free() -> Option<u64> {
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    smaller(meminfo("MemAvailable:"), limit.zip(used).map(|(limit, used)| limit.saturating_sub(used)))
}

/// Free bytes of the file system that `path`, or the first folder above it that is there, lies on.
pub fn disk_free(path: &Path) -> Option<u64> {
    let there = std::path::absolute(path).ok()?;
    let there = there.ancestors().find(|p| p.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Processor time of this process so far, over all threads.
pub(crate) fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 * 1e-9
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_and_on_linux_memory_and_disk() {
        let here = Machine::here();
        assert!(here.cores > 0);
        if cfg!(target_os = "linux") {
            assert!(here.memory_free.is_some_and(|free| free > 0 && Some(free) <= here.memory));
            assert!(disk_free(Path::new("no/such/folder")).is_some_and(|free| free > 0));
        }
    }
}
