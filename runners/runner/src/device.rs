//! Devices: `auto`, `cpu`, `cuda`, `cuda:N`.
//!
//! The binary links libtorch_cpu only (the linker drops libtorch_cuda, as nothing refers to it), so
//! CUDA is opened at run time: libtorch_cuda registers itself when it is loaded.

use isotropy_core::{Error, Result};
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::Device;

/// What was found when CUDA was looked for.
#[derive(Debug, Clone)]
pub struct CudaState {
    /// The library that was looked for; `None` when libtorch itself was not found.
    pub library: Option<PathBuf>,
    /// Why it could not be opened; `None` when it was.
    pub failure: Option<String>,
    /// Devices that answer.
    pub devices: i64,
}

/// Opens libtorch_cuda beside the libtorch_cpu that is loaded, once, and counts devices.
pub fn cuda() -> &'static CudaState {
    static STATE: OnceLock<CudaState> = OnceLock::new();
    STATE.get_or_init(|| {
        let Some(folder) = libtorch_folder() else {
            let failure = Some("libtorch_cpu is linked statically or was not found".to_string());
            return CudaState { library: None, failure, devices: 0 };
        };
        let library = folder.join("libtorch_cuda.so");
        let failure = open_global(&library).err();
        let devices = if failure.is_none() { tch::Cuda::device_count() } else { 0 };
        CudaState { library: Some(library), failure, devices }
    })
}

/// The names of devices, as the schema of an experiment has them.
pub const PATTERN: &str = r"^(auto|cpu|cuda(:[0-9]{1,3})?)$";

/// The device that a configuration names.
///
/// # Errors
/// A configuration error that says what was looked for, and how to get it.
pub fn resolve(name: &str) -> Result<Device> {
    let unavailable = |what: String| {
        Err(Error::config("/device", what)
            .with_help("bring the CUDA set with `cargo xtask libtorch --cuda`, see what is found with `runner doctor`, or say \"device\": \"cpu\""))
    };
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(if cuda().devices > 0 { Device::Cuda(0) } else { Device::Cpu }),
        _ => {
            let digits = match name.strip_prefix("cuda") {
                Some("") => Some("0"),
                Some(rest) => rest.strip_prefix(':'),
                None => None,
            };
            // `parse` takes a sign, which no index has.
            let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
            let index = digits.filter(plain).and_then(|digits| digits.parse::<i64>().ok());
            let index = index.ok_or_else(|| {
                Error::config("/device", format!("there is no device '{name}'"))
                    .with_help("devices are auto, cpu, cuda and cuda:N")
            })?;
            let state = cuda();
            if let Some(reason) = &state.failure {
                return unavailable(format!("no CUDA: {reason}"));
            }
            if index >= state.devices {
                return unavailable(format!(
                    "{name} was asked for, but libtorch sees {} CUDA devices",
                    state.devices
                ));
            }
            Ok(Device::Cuda(index as usize))
        }
    }
}

/// The name that a resolved configuration holds.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_string(),
    }
}

/// The folder that the loaded libtorch_cpu lies in.
pub fn libtorch_folder() -> Option<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
        let path = &line[line.find('/')?..];
        PathBuf::from(path).parent().map(PathBuf::from)
    }
    #[cfg(not(target_os = "linux"))]
    {
        std::env::var_os("LIBTORCH").map(|folder| PathBuf::from(folder).join("lib"))
    }
}

#[cfg(target_os = "linux")]
fn open_global(library: &std::path::Path) -> Result<(), String> {
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStrExt;
    if !library.exists() {
        return Err(format!("{} does not exist", library.display()));
    }
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: `path` is a valid C string; loading runs the library's initialisers, which is the
    // documented way to register CUDA with libtorch. The handle is kept open for the process.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: after a failed dlopen, dlerror returns a valid C string or null.
        let reason = unsafe {
            let message = libc::dlerror();
            if message.is_null() {
                "unknown reason".to_string()
            } else {
                CStr::from_ptr(message).to_string_lossy().into_owned()
            }
        };
        return Err(format!("{} could not be opened: {reason}", library.display()));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn open_global(_library: &std::path::Path) -> Result<(), String> {
    Err("CUDA is supported on Linux only".to_string())
}
