//! Memory: how much the process takes, that freed memory is kept, and what cannot fit is refused.

use isotropy_core::{Error, Result};

/// Makes the C library keep the memory of freed tensors for the next ones, instead of handing it back to the system
/// after every operation and taking it again page by page, which costs a training step up to an eighth of its time.
/// Blocks of more than 32 MiB still go back. Does nothing where the C library is not glibc.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets parameters of the allocator; it may be called at any time.
    unsafe {
        // The largest threshold that glibc takes.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Refuses what is larger than all memory of the machine.
///
/// # Errors
/// A configuration error with both numbers.
pub fn fits(bytes: f64, what: &str) -> Result<()> {
    match total_bytes() {
        Some(total) if bytes > total as f64 => {
            let message = format!(
                "{what} take {} of memory at least, and there are {}",
                readable(bytes),
                readable(total as f64)
            );
            Err(Error::config("", message).with_help("ask for less"))
        }
        _ => Ok(()),
    }
}

/// All memory of the machine or of the group of processes that this one may take part of, in bytes;
/// `None` where the system does not say.
pub fn total_bytes() -> Option<u64> {
    // Version 2 and version 1; without a limit the first says `max` and the second a huge number.
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let of_group = files
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    of_system("/proc/meminfo", "MemTotal:").into_iter().chain(of_group).min()
}

/// A number of bytes that a file of the system tells.
fn of_system(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// A number of bytes for people.
pub fn readable(bytes: f64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes.max(1.0).log10() / 3.0).floor().min(6.0);
    let value = bytes / 1e3_f64.powf(power);
    if value < 1e4 {
        format!("{value:.0} {}", units[power as usize])
    } else {
        format!("{value:.1e} {}", units[power as usize])
    }
}

/// Runs `f` with no more memory than is free: what asks for more is refused by the allocator with
/// the number of bytes, where the system would promise it and end the process when it is used.
pub fn within_limits<T>(f: impl FnOnce() -> T) -> T {
    let _limit = Limit::set();
    f()
}

/// A limit on the writable memory of the process, taken back when this value goes.
struct Limit(#[cfg(target_os = "linux")] Option<libc::rlimit>);

impl Limit {
    #[cfg(target_os = "linux")]
    fn set() -> Self {
        Self::of_data_segment()
    }

    #[cfg(not(target_os = "linux"))]
    fn set() -> Self {
        Self()
    }

    #[cfg(target_os = "linux")]
    fn of_data_segment() -> Self {
        let free = of_system("/proc/meminfo", "MemAvailable:");
        let have = of_system("/proc/self/status", "VmData:");
        let (Some(free), Some(have), Some(total)) = (free, have, total_bytes()) else {
            return Self(None);
        };
        let mut before = std::mem::MaybeUninit::<libc::rlimit>::zeroed();
        // SAFETY: getrlimit fills the struct it is given; zeroed bytes are a valid rlimit.
        let before = unsafe {
            if libc::getrlimit(libc::RLIMIT_DATA, before.as_mut_ptr()) != 0 {
                return Self(None);
            }
            before.assume_init()
        };
        let limit =
            libc::rlimit { rlim_cur: (have + free.min(total)).min(before.rlim_max), ..before };
        if limit.rlim_cur >= before.rlim_cur {
            return Self(None);
        }
        // SAFETY: setrlimit reads the struct it is given.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) } == 0;
        Self(set.then_some(before))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(before) = &self.0 {
            // SAFETY: setrlimit reads the struct it is given, which getrlimit has filled. Raising
            // the soft limit up to the hard one is always allowed.
            unsafe { libc::setrlimit(libc::RLIMIT_DATA, before) };
        }
    }
}

/// Largest resident memory of the process so far, in bytes.
pub fn peak_memory_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the struct it is given; zeroed bytes are a valid rusage.
    let kilobytes = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init().ru_maxrss
    };
    // Linux counts in kilobytes, macOS in bytes.
    kilobytes as u64 * if cfg!(target_os = "linux") { 1024 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn more_than_there_is_is_refused_before_it_is_used() {
        let Some(total) = total_bytes() else {
            println!("SKIPPED: this system does not say how much memory there is");
            return;
        };
        fits(total as f64 / 2.0, "half").unwrap();
        let text = fits(3.0 * total as f64, "30 samples").unwrap_err().to_string();
        assert!(text.starts_with("30 samples take ") && text.contains("there are"), "{text}");
        // Each piece would be promised, since none is touched; all together are not there.
        let piece = || Tensor::f_empty([total as i64 / 4], (Kind::Uint8, Device::Cpu));
        let pieces = || (0..8).map(|_| piece()).collect::<Result<Vec<_>, _>>();
        let error = within_limits(pieces).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("allocate memory"), "{error}");
        // The limit ends with the call.
        drop(Tensor::f_empty([1 << 20], (Kind::Uint8, Device::Cpu)).unwrap());
    }

    #[test]
    fn bytes_are_readable() {
        for (bytes, text) in
            [(0.0, "0 bytes"), (1500.0, "2 kB"), (16e15, "16 PB"), (3e25, "3.0e7 EB")]
        {
            assert_eq!(readable(bytes), text);
        }
    }
}
