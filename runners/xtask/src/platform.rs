//! Which wheels make a working libtorch on which platform.

use crate::failure::{Failure, Outcome};
use crate::version::WANTED;

/// How much of libtorch is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Enough to run on a CPU.
    Cpu,
    /// Everything that `"device": "cuda"` needs, except the driver.
    Cuda,
}

impl Set {
    /// The name used in file and folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// One row of the table of platforms.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux-x86_64`: used in the name of the cache folder.
    pub name: &'static str,
    os: &'static str,
    arch: &'static str,
    /// The suffix of the platform tags of wheels.
    tag: Tag,
    /// Wheels with their digests, in pip's own format.
    cpu: &'static str,
    cuda: Option<&'static str>,
    /// Files, relative to the unpacked wheels, without which the CPU set does not start.
    pub needed: &'static [&'static str],
    /// Whether this row was ever run.
    pub tested: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Tag {
    /// manylinux with this architecture.
    Manylinux(&'static str),
    /// macOS on ARM.
    MacosArm,
}

/// Every platform that `cargo xtask libtorch` knows.
pub const PLATFORMS: &[Platform] = &[
    Platform {
        name: "linux-x86_64",
        os: "linux",
        arch: "x86_64",
        tag: Tag::Manylinux("x86_64"),
        cpu: include_str!("../requirements/linux-x86_64-cpu.txt"),
        cuda: Some(include_str!("../requirements/linux-x86_64-cuda.txt")),
        needed: LINUX_FILES,
        tested: true,
    },
    Platform {
        name: "linux-aarch64",
        os: "linux",
        arch: "aarch64",
        tag: Tag::Manylinux("aarch64"),
        cpu: include_str!("../requirements/linux-aarch64-cpu.txt"),
        cuda: Some(include_str!("../requirements/linux-aarch64-cuda.txt")),
        needed: LINUX_FILES,
        tested: false,
    },
    Platform {
        name: "macos-arm64",
        os: "macos",
        arch: "aarch64",
        tag: Tag::MacosArm,
        cpu: include_str!("../requirements/macos-arm64-cpu.txt"),
        cuda: None,
        needed: &[
            "torch/lib/libtorch_cpu.dylib",
            "torch/lib/libc10.dylib",
            "torch/include/torch/csrc/api/include/torch/torch.h",
        ],
        tested: false,
    },
];

// The run path of libtorch_cpu.so is $ORIGIN/../../nvidia/cu13/lib: the two libraries lie beside `torch`.
const LINUX_FILES: &[&str] = &[
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/include/torch/csrc/api/include/torch/torch.h",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];

impl Platform {
    /// The row of the machine that this program was built for.
    pub fn current() -> Outcome<&'static Self> {
        Self::find(std::env::consts::OS, std::env::consts::ARCH)
    }

    /// The row of `os` and `arch`, both spelled as in `std::env::consts`.
    pub fn find(os: &str, arch: &str) -> Outcome<&'static Self> {
        let row = PLATFORMS.iter().find(|p| p.os == os && p.arch == arch);
        row.ok_or_else(|| {
            let known: Vec<_> = PLATFORMS.iter().map(|p| p.name).collect();
            Failure::new(format!(
                "no libtorch {WANTED} is known for {os} on {arch} (known: {})",
                known.join(", ")
            ))
            .help(format!(
                "bring libtorch {WANTED} yourself and set LIBTORCH to its folder (the one that holds lib/)"
            ))
        })
    }

    /// The wheels of `set` with their digests, as the text of a pip requirements file.
    pub fn requirements(&self, set: Set) -> Outcome<&'static str> {
        match set {
            Set::Cpu => Ok(self.cpu),
            Set::Cuda => self.cuda.ok_or_else(|| {
                Failure::new(format!("there is no CUDA for {}", self.name))
                    .help("leave --cuda out: cargo xtask libtorch")
            }),
        }
    }

    /// The platform tags that pip may choose wheels from.
    pub fn tags(&self) -> Vec<String> {
        match self.tag {
            // The wheels of one set were built on different baselines; pip takes the tags as they are.
            Tag::Manylinux(arch) => (17..=28)
                .rev()
                .map(|minor| format!("manylinux_2_{minor}_{arch}"))
                .chain([format!("manylinux2014_{arch}")])
                .collect(),
            Tag::MacosArm => vec!["macosx_14_0_arm64".to_owned()],
        }
    }

    /// The name of the folder in the cache: version, platform and set.
    pub fn folder_name(&self, set: Set) -> String {
        format!("libtorch-{WANTED}-{}-{}", self.name, set.name())
    }

    /// Bytes that must be free before a download starts: the wheels and what they unpack to.
    /// Measured on Linux x86-64 and rounded up.
    pub fn bytes_needed(&self, set: Set) -> u64 {
        const GB: u64 = 1_000_000_000;
        match (set, &self.tag) {
            (Set::Cuda, _) => 8 * GB,
            (Set::Cpu, Tag::Manylinux(_)) => 2 * GB,
            (Set::Cpu, Tag::MacosArm) => GB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_tell_version_platform_and_set() {
        let linux = Platform::find("linux", "x86_64").expect("known");
        assert_eq!(linux.folder_name(Set::Cpu), "libtorch-2.13.0-linux-x86_64-cpu");
        assert_eq!(linux.folder_name(Set::Cuda), "libtorch-2.13.0-linux-x86_64-cuda");
        let mac = Platform::find("macos", "aarch64").expect("known");
        assert_eq!(mac.folder_name(Set::Cpu), "libtorch-2.13.0-macos-arm64-cpu");
    }

    #[test]
    fn unknown_platform_names_the_way_out() {
        let text = Platform::find("windows", "x86_64").expect_err("unknown").to_string();
        assert!(text.contains("windows") && text.contains("LIBTORCH"), "{text}");
        let mac = Platform::find("macos", "aarch64").expect("known");
        assert!(mac.requirements(Set::Cuda).is_err());
    }

    #[test]
    fn every_wheel_is_pinned_to_one_version_and_one_digest() {
        for platform in PLATFORMS {
            for set in [Set::Cpu, Set::Cuda] {
                let Ok(text) = platform.requirements(set) else { continue };
                let lines: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
                let torch = format!("torch=={WANTED} ");
                assert!(lines[0].starts_with(&torch), "{}", platform.name);
                for line in lines {
                    let (pin, digest) = line.split_once(" --hash=sha256:").expect("a digest");
                    assert_eq!(pin.split("==").count(), 2, "{line}");
                    assert!(
                        digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
                        "{line}"
                    );
                }
            }
        }
    }

    #[test]
    fn cuda_set_contains_the_cpu_set() {
        for platform in PLATFORMS.iter().filter(|p| p.cuda.is_some()) {
            let cuda = platform.requirements(Set::Cuda).expect("filtered");
            for line in platform.cpu.lines().filter(|l| !l.starts_with('#')) {
                assert!(cuda.contains(line), "{}: {line}", platform.name);
            }
        }
    }

    #[test]
    fn tags_are_those_of_the_platform() {
        let linux = Platform::find("linux", "aarch64").expect("known").tags();
        assert!(linux.iter().all(|t| t.ends_with("_aarch64")));
        assert!(linux.contains(&"manylinux_2_28_aarch64".to_owned()));
    }
}
