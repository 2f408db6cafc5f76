//! What the kernel and the gateway itself say of what it uses.

use std::collections::HashSet;
use std::fmt;
use std::fs;

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) resident_mib: u64,
    /// Open descriptors, but for connections to the upstream.
    pub(crate) descriptors: usize,
    /// Connections to the upstream: a pool keeps them for a while.
    pub(crate) upstream: usize,
}

impl Usage {
    /// Looks at a process whose upstream has these ports.
    pub(crate) fn of(pid: u32, ports: &[u16]) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = resident.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let upstream = connections(pid, ports);
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        // A descriptor may be closed while they are counted.
        let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let links: Vec<String> = links
            .map(|link| link.to_string_lossy().into_owned())
            .collect();
        let to_upstream = links.iter().filter(|link| upstream.contains(*link)).count();
        Self {
            resident_mib: kib / 1024,
            descriptors: links.len() - to_upstream,
            upstream: to_upstream,
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, {} descriptors, {} connections to the upstream",
            self.resident_mib, self.descriptors, self.upstream
        )
    }
}

/// Returns the connections to any of these ports, as `/proc/<pid>/fd` names them.
fn connections(pid: u32, ports: &[u16]) -> HashSet<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(2)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let inode = fields.get(9)?;
        (ports.contains(&port)).then(|| format!("socket:[{inode}]"))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Reports whether the gateway says that nothing is under way. Errors: why it cannot be asked.
pub(crate) async fn is_at_rest(http: &reqwest::Client, admin: &str) -> Result<bool, String> {
    let answer = http.get(format!("http://{admin}/metrics")).send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    let metrics = answer.text().await.map_err(|error| error.to_string())?;
    let busy = metrics.lines().filter(|line| {
        let is_watched = [
            "hugbucket_requests_in_flight",
            "hugbucket_ftp_sessions_active",
            "hugbucket_ftp_data_connections_active",
            "hugbucket_upstream_in_flight",
        ]
        .iter()
        .any(|name| line.starts_with(name));
        is_watched && !line.ends_with(" 0")
    });
    Ok(busy.count() == 0)
}
