//! Memory of the process: how much it takes, and that freed memory is kept.

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
