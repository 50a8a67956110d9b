//! The one table of targets: platform <-> triple <-> zig and rustc CPU <-> what the ELF must look like <-> Debian and Docker names.
//!
//! Pure data. Every other module asks here; nothing else spells out a CPU or a triple.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::isa::Isa;

/// A platform in the sense of the OCI image index: `os/architecture[/variant]`.
///
/// The order is the order of an index: v6 before v7, because engines before 20.10 take the first `arm` entry
/// that they believe they can run (moby#37647).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Platform {
    /// ARM1176JZF-S and other ARMv6 + VFPv2: Raspberry Pi 1, Zero, Zero W.
    #[serde(rename = "linux/arm/v6")]
    ArmV6,
    /// ARMv7-A + VFPv3-D16: Raspberry Pi 2 and later with a 32-bit system.
    #[serde(rename = "linux/arm/v7")]
    ArmV7,
    /// AArch64: Raspberry Pi 3 and later with a 64-bit system.
    #[serde(rename = "linux/arm64")]
    Arm64,
    /// x86-64 PCs.
    #[serde(rename = "linux/amd64")]
    Amd64,
}

impl Platform {
    /// All platforms, in index order.
    pub const ALL: [Platform; 4] = [Platform::ArmV6, Platform::ArmV7, Platform::Arm64, Platform::Amd64];

    /// OCI `os`.
    pub fn os(self) -> &'static str {
        "linux"
    }

    /// OCI `architecture` (GOARCH).
    pub fn architecture(self) -> &'static str {
        match self {
            Platform::ArmV6 | Platform::ArmV7 => "arm",
            Platform::Arm64 => "arm64",
            Platform::Amd64 => "amd64",
        }
    }

    /// OCI `variant`. An `arm` without variant means v7 (containerd/platforms), so both are always written;
    /// arm64 carries none, which containerd treats as equal to `v8`.
    pub fn variant(self) -> Option<&'static str> {
        match self {
            Platform::ArmV6 => Some("v6"),
            Platform::ArmV7 => Some("v7"),
            Platform::Arm64 | Platform::Amd64 => None,
        }
    }

    /// Short name for tags and directories: `armv6`, `armv7`, `arm64`, `amd64`.
    pub fn slug(self) -> &'static str {
        match self {
            Platform::ArmV6 => "armv6",
            Platform::ArmV7 => "armv7",
            Platform::Arm64 => "arm64",
            Platform::Amd64 => "amd64",
        }
    }

    /// The qemu-user program and the `-cpu` that refuses what the real chip lacks. Without `-cpu`, qemu-arm
    /// runs ARMv7 code that the Pi Zero cannot.
    pub fn qemu(self) -> Qemu {
        match self {
            Platform::ArmV6 => Qemu {
                program: "qemu-arm",
                cpu: Some("arm1176"),
            },
            Platform::ArmV7 => Qemu {
                program: "qemu-arm",
                cpu: Some("cortex-a7"),
            },
            Platform::Arm64 => Qemu {
                program: "qemu-aarch64",
                cpu: Some("cortex-a53"),
            },
            Platform::Amd64 => Qemu {
                program: "qemu-x86_64",
                cpu: None,
            },
        }
    }

    /// The directory of Alpine's mirrors for this platform. Alpine's `armhf` is ARMv6; Debian's is ARMv7.
    pub fn alpine_architecture(self) -> &'static str {
        match self {
            Platform::ArmV6 => "armhf",
            Platform::ArmV7 => "armv7",
            Platform::Arm64 => "aarch64",
            Platform::Amd64 => "x86_64",
        }
    }

    /// The Debian architecture whose packages run on this platform. For v6 that is `armel` (ARMv5T, soft float):
    /// Debian's `armhf` is ARMv7.
    pub fn debian_architecture(self) -> &'static str {
        match self {
            Platform::ArmV6 => "armel",
            Platform::ArmV7 => "armhf",
            Platform::Arm64 => "arm64",
            Platform::Amd64 => "amd64",
        }
    }
}

/// How qemu-user is started for a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// Program name without `-static`.
    pub program: &'static str,
    /// Value of `-cpu`.
    pub cpu: Option<&'static str>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os(), self.architecture())?;
        if let Some(variant) = self.variant() {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

impl From<Platform> for Isa {
    fn from(platform: Platform) -> Isa {
        match platform {
            Platform::ArmV6 => Isa::ArmV6,
            Platform::ArmV7 => Isa::ArmV7,
            Platform::Arm64 => Isa::A64,
            Platform::Amd64 => Isa::X86_64,
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let platform = match text {
            "linux/arm64/v8" => Some(Platform::Arm64),
            _ => Platform::ALL.into_iter().find(|platform| platform.to_string() == text),
        };
        platform.ok_or_else(|| {
            let known: Vec<String> = Platform::ALL.iter().map(ToString::to_string).collect();
            let more = match text {
                "linux/arm" => "; an arm without variant means v7 to Docker, so say which",
                "armhf" | "linux/armhf" => "; armhf is ARMv7 to Debian and ARMv6 to Raspbian and Alpine, so say which",
                _ => "",
            };
            format!("unknown platform `{text}`: expected one of {}{more}", known.join(", "))
        })
    }
}

/// The C library that a triple links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Libc {
    /// musl, linked statically.
    Musl,
    /// glibc, linked dynamically.
    Glibc,
}

/// Floating-point calling convention of 32-bit ARM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatAbi {
    /// Arguments in VFP registers (`EF_ARM_ABI_FLOAT_HARD`, `Tag_ABI_VFP_args` = 1).
    Hard,
    /// Arguments in core registers (Debian armel).
    Soft,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Rust target triple.
    pub triple: &'static str,
    /// The platform whose images this triple makes.
    pub platform: Platform,
    /// C library.
    pub libc: Libc,
    /// zig's `-target`, with the glibc version that is the floor of the binary.
    pub zig_target: &'static str,
    /// zig's `-mcpu`.
    pub zig_cpu: &'static str,
    /// rustc's `-C target-cpu`.
    pub rustc_cpu: &'static str,
    /// ELF `e_machine`: 40 ARM, 183 AArch64, 62 x86-64.
    pub machine: u16,
    /// ELF class in bits: 32 or 64.
    pub class: u8,
    /// Float ABI of 32-bit ARM; `None` elsewhere.
    pub float_abi: Option<FloatAbi>,
    /// `PT_INTERP` of a dynamically linked program; `None` when it must be static.
    pub interpreter: Option<&'static str>,
}

/// All triples that this product can compile for.
pub const TARGETS: [Target; 9] = [
    Target {
        triple: "arm-unknown-linux-musleabihf",
        platform: Platform::ArmV6,
        libc: Libc::Musl,
        zig_target: "arm-linux-musleabihf",
        zig_cpu: "arm1176jzf_s",
        rustc_cpu: "arm1176jzf-s",
        machine: 40,
        class: 32,
        float_abi: Some(FloatAbi::Hard),
        interpreter: None,
    },
    Target {
        triple: "arm-unknown-linux-gnueabihf",
        platform: Platform::ArmV6,
        libc: Libc::Glibc,
        zig_target: "arm-linux-gnueabihf.2.28",
        zig_cpu: "arm1176jzf_s",
        rustc_cpu: "arm1176jzf-s",
        machine: 40,
        class: 32,
        float_abi: Some(FloatAbi::Hard),
        interpreter: Some("/lib/ld-linux-armhf.so.3"),
    },
    Target {
        triple: "arm-unknown-linux-gnueabi",
        platform: Platform::ArmV6,
        libc: Libc::Glibc,
        zig_target: "arm-linux-gnueabi.2.28",
        zig_cpu: "arm1176jzf_s",
        rustc_cpu: "arm1176jzf-s",
        machine: 40,
        class: 32,
        float_abi: Some(FloatAbi::Soft),
        interpreter: Some("/lib/ld-linux.so.3"),
    },
    Target {
        triple: "armv7-unknown-linux-musleabihf",
        platform: Platform::ArmV7,
        libc: Libc::Musl,
        zig_target: "arm-linux-musleabihf",
        zig_cpu: "generic+v7a+vfp3d16-d32-neon",
        rustc_cpu: "generic",
        machine: 40,
        class: 32,
        float_abi: Some(FloatAbi::Hard),
        interpreter: None,
    },
    Target {
        triple: "armv7-unknown-linux-gnueabihf",
        platform: Platform::ArmV7,
        libc: Libc::Glibc,
        zig_target: "arm-linux-gnueabihf.2.28",
        zig_cpu: "generic+v7a+vfp3d16-d32-neon",
        rustc_cpu: "generic",
        machine: 40,
        class: 32,
        float_abi: Some(FloatAbi::Hard),
        interpreter: Some("/lib/ld-linux-armhf.so.3"),
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        platform: Platform::Arm64,
        libc: Libc::Musl,
        zig_target: "aarch64-linux-musl",
        zig_cpu: "generic",
        rustc_cpu: "generic",
        machine: 183,
        class: 64,
        float_abi: None,
        interpreter: None,
    },
    Target {
        triple: "aarch64-unknown-linux-gnu",
        platform: Platform::Arm64,
        libc: Libc::Glibc,
        zig_target: "aarch64-linux-gnu.2.28",
        zig_cpu: "generic",
        rustc_cpu: "generic",
        machine: 183,
        class: 64,
        float_abi: None,
        interpreter: Some("/lib/ld-linux-aarch64.so.1"),
    },
    Target {
        triple: "x86_64-unknown-linux-musl",
        platform: Platform::Amd64,
        libc: Libc::Musl,
        zig_target: "x86_64-linux-musl",
        zig_cpu: "x86_64",
        rustc_cpu: "x86-64",
        machine: 62,
        class: 64,
        float_abi: None,
        interpreter: None,
    },
    Target {
        triple: "x86_64-unknown-linux-gnu",
        platform: Platform::Amd64,
        libc: Libc::Glibc,
        zig_target: "x86_64-linux-gnu.2.28",
        zig_cpu: "x86_64",
        rustc_cpu: "x86-64",
        machine: 62,
        class: 64,
        float_abi: None,
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
    },
];

/// Triples of machines that build. Their linker and C compiler are not in .cargo/config.toml: there they would also apply to
/// everything that is built to run on such a machine itself, xtask first of all.
pub const HOSTS: [&str; 2] = ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];

impl Target {
    /// The row of a triple.
    pub fn from_triple(triple: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.triple == triple)
    }
}

/// A base image by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// Nothing at all: the binary is static.
    Scratch,
    /// Alpine's root file system, for its shell and its tools: the binary is static there, too.
    Alpine,
    /// glibc for ARMv6 with hard float, which is what Raspbian calls armhf.
    Raspbian,
    /// Packages of Debian's archive, unpacked; armel for v6.
    Debian,
}

impl Base {
    /// All bases.
    pub const ALL: [Base; 4] = [Base::Scratch, Base::Alpine, Base::Raspbian, Base::Debian];

    /// Name on the command line, in tags and in docker/Dockerfile's `BASE`.
    pub fn name(self) -> &'static str {
        match self {
            Base::Scratch => "scratch",
            Base::Alpine => "alpine",
            Base::Raspbian => "raspbian",
            Base::Debian => "debian",
        }
    }

    /// The triple whose binary runs on this base; `None` when there is no such base for the platform. Raspbian is ARMv6 and
    /// nothing else: for later chips there is Debian.
    pub fn target(self, platform: Platform) -> Option<&'static Target> {
        Target::from_triple(match (self, platform) {
            // A static program needs nothing of Alpine's, and so the same file is in both images.
            (Base::Scratch | Base::Alpine, Platform::ArmV6) => "arm-unknown-linux-musleabihf",
            (Base::Scratch | Base::Alpine, Platform::ArmV7) => "armv7-unknown-linux-musleabihf",
            (Base::Scratch | Base::Alpine, Platform::Arm64) => "aarch64-unknown-linux-musl",
            (Base::Scratch | Base::Alpine, Platform::Amd64) => "x86_64-unknown-linux-musl",
            (Base::Raspbian, Platform::ArmV6) => "arm-unknown-linux-gnueabihf",
            (Base::Raspbian, _) => return None,
            // Debian's only glibc for this chip is armel's, which is soft-float EABI.
            (Base::Debian, Platform::ArmV6) => "arm-unknown-linux-gnueabi",
            (Base::Debian, Platform::ArmV7) => "armv7-unknown-linux-gnueabihf",
            (Base::Debian, Platform::Arm64) => "aarch64-unknown-linux-gnu",
            (Base::Debian, Platform::Amd64) => "x86_64-unknown-linux-gnu",
        })
    }

    /// The platforms that this base exists for, in index order.
    pub fn platforms(self) -> impl Iterator<Item = Platform> {
        let exists = move |platform: &Platform| self.target(*platform).is_some();
        Platform::ALL.into_iter().filter(exists)
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Base::ALL.into_iter().find(|base| base.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Base::ALL.iter().map(|base| base.name()).collect();
            format!("unknown base `{text}`: expected one of {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_has_the_c_library_and_the_platforms_that_it_says() {
        for base in Base::ALL {
            for platform in Platform::ALL {
                let Some(target) = base.target(platform) else {
                    assert!(
                        base == Base::Raspbian && platform != Platform::ArmV6,
                        "{base} {platform}"
                    );
                    continue;
                };
                assert_eq!(target.platform, platform, "{base} {platform}");
                let wanted = match base {
                    Base::Scratch | Base::Alpine => Libc::Musl,
                    Base::Raspbian | Base::Debian => Libc::Glibc,
                };
                assert_eq!(target.libc, wanted, "{base} {platform}");
            }
        }
    }

    #[test]
    fn platforms_round_trip_and_the_ambiguous_are_refused() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse::<Platform>().as_ref(), Ok(&platform));
        }
        assert_eq!("linux/arm64/v8".parse::<Platform>(), Ok(Platform::Arm64));
        assert!(
            "linux/arm"
                .parse::<Platform>()
                .is_err_and(|message| message.contains("means v7"))
        );
        assert!(
            "armhf"
                .parse::<Platform>()
                .is_err_and(|message| message.contains("Raspbian"))
        );
        assert!("".parse::<Platform>().is_err());
    }

    #[test]
    fn a_static_target_has_no_interpreter_and_only_those() {
        for target in &TARGETS {
            assert_eq!(
                target.interpreter.is_none(),
                target.libc == Libc::Musl,
                "{}",
                target.triple
            );
        }
    }
}
