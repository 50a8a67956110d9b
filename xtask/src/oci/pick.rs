//! Which entry of an index an engine takes, on which machine: Docker's rules as they were and are. Pure.
//!
//! * Engine 19.03 (since 18.06): the entry whose platform equals the machine's, else the first for `arm` of any variant. What the
//!   machine is, `/proc/cpuinfo` says, and an ARM1176 says `CPU architecture: 7` there (moby, distribution/pull_v2_unix.go of
//!   19.03; the table in moby/moby#37647 is a test here).
//! * Engine 20.10: the best entry of a list, `v7`, `v6`, `v5` for v7 (containerd/platforms, `Only`); the model name tells an ARMv6
//!   (containerd/containerd#4530). If nothing fits, still the first for `arm`.
//! * Engine 28: the same list and no more; entries without a platform come last.
//! * Engine 29 with the containerd store: the same list; of an entry without a platform the configuration is looked at.

use serde::{Deserialize, Serialize};

/// A machine that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// Raspberry Pi 1, Zero, Zero W: ARMv6, whose kernel says 7
    PiZero,
    /// Raspberry Pi 2 and later with a 32-bit system: ARMv7
    #[value(name = "pi3-32")]
    #[serde(rename = "pi3-32")]
    Pi3,
    /// Raspberry Pi 3 and later with a 64-bit system
    #[value(name = "pi4-64")]
    #[serde(rename = "pi4-64")]
    Pi4,
    /// A PC
    Pc,
}

/// A Docker Engine, by the rules that it chooses by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
pub enum Engine {
    /// 18.06 to 19.03
    #[value(name = "19.03")]
    #[serde(rename = "19.03")]
    V19,
    /// 20.10
    #[value(name = "20.10")]
    #[serde(rename = "20.10")]
    V20,
    /// 23.0 to 28, and later ones that kept the store they had
    #[value(name = "28")]
    #[serde(rename = "28")]
    V28,
    /// 29 and later with the containerd store
    #[value(name = "29")]
    #[serde(rename = "29")]
    V29,
}

impl Host {
    /// All, smallest first.
    pub const ALL: [Host; 4] = [Host::PiZero, Host::Pi3, Host::Pi4, Host::Pc];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Host::PiZero => "pi-zero",
            Host::Pi3 => "pi3-32",
            Host::Pi4 => "pi4-64",
            Host::Pc => "pc",
        }
    }

    /// What an engine believes this machine to be.
    fn seen_by(self, engine: Engine) -> Said {
        match self {
            Host::PiZero if engine == Engine::V19 => Said::new("arm", "v7"),
            Host::PiZero => Said::new("arm", "v6"),
            Host::Pi3 => Said::new("arm", "v7"),
            Host::Pi4 => Said::new("arm64", ""),
            Host::Pc => Said::new("amd64", ""),
        }
    }

    /// Whether a program for this platform runs on it.
    pub fn runs(self, said: &Said) -> bool {
        let said = said.normal();
        let variant = said
            .variant
            .strip_prefix('v')
            .and_then(|number| number.parse::<f32>().ok());
        let arm = |most: f32| said.architecture == "arm" && variant.is_some_and(|variant| variant <= most);
        said.os == "linux"
            && match self {
                Host::PiZero => arm(6.0),
                Host::Pi3 => arm(7.0),
                // The Cortex-A53 and A72 execute 32-bit code of ARMv8.
                Host::Pi4 => said.architecture == "arm64" && said.variant.is_empty() || arm(8.0),
                Host::Pc => said.architecture == "amd64" && said.variant.is_empty() || said.architecture == "386",
            }
    }
}

impl Engine {
    /// All, oldest first.
    pub const ALL: [Engine; 4] = [Engine::V19, Engine::V20, Engine::V28, Engine::V29];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::V19 => "19.03",
            Engine::V20 => "20.10",
            Engine::V28 => "28",
            Engine::V29 => "29",
        }
    }
}

/// A platform as an index or a configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `arm`.
    #[serde(default)]
    pub architecture: String,
    /// `v6`.
    #[serde(default)]
    pub variant: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl Said {
    fn new(architecture: &str, variant: &str) -> Said {
        Said {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Names that mean the same under one (containerd/platforms, database.go, `normalizeArch`).
    fn normal(&self) -> Said {
        let (architecture, variant) = (self.architecture.to_lowercase(), self.variant.to_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64" | "arm64", other) => ("arm64", other),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
            ("i386", _) => ("386", ""),
            (architecture, variant) => (architecture, variant),
        };
        Said {
            os: self.os.to_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// What runs on a machine, best first (containerd/platforms, compare.go, `platformVector`).
    fn vector(&self) -> Vec<Said> {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "v6") => vec![Said::new("arm", "v6"), Said::new("arm", "v5")],
            ("arm", "v7") => ["v7", "v6", "v5"].map(|variant| Said::new("arm", variant)).into(),
            ("arm64", _) => {
                let arm = ["v8", "v7", "v6", "v5"].map(|variant| Said::new("arm", variant));
                [Said::new("arm64", "")].into_iter().chain(arm).collect()
            }
            ("amd64", _) => vec![Said::new("amd64", ""), Said::new("386", "")],
            _ => vec![self.clone()],
        }
    }
}

/// An entry of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The platform that the index gives it.
    pub listed: Option<Said>,
    /// The platform of its configuration, where it was looked at.
    pub config: Option<Said>,
}

/// The entry that `engine` takes on `host`, by its place; `None` is "no matching manifest".
pub fn pick(host: Host, engine: Engine, offers: &[Offer]) -> Option<usize> {
    let seen = host.seen_by(engine);
    let said: Vec<Option<Said>> = offers
        .iter()
        .map(|offer| {
            let said = match engine {
                Engine::V29 => offer.listed.as_ref().or(offer.config.as_ref()),
                _ => offer.listed.as_ref(),
            };
            said.map(Said::normal)
        })
        .collect();
    let rank = |said: &Option<Said>, order: &[Said]| match said {
        Some(said) => order.iter().position(|known| known == said),
        None => (engine == Engine::V28).then_some(order.len()),
    };
    let best = |order: &[Said]| {
        let ranked = said.iter().enumerate();
        let ranked = ranked.filter_map(|(at, said)| Some((rank(said, order)?, at)));
        // The first of equals.
        ranked.min().map(|(_, at)| at)
    };
    let found = match engine {
        Engine::V19 => best(std::slice::from_ref(&seen)),
        _ => best(&seen.vector()),
    };
    let any = || {
        let same = |said: &Said| said.os == seen.os && said.architecture == seen.architecture;
        said.iter().position(|said| said.as_ref().is_some_and(same))
    };
    match engine {
        Engine::V19 | Engine::V20 if seen.architecture == "arm" => found.or_else(any),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Said {
            os: next(),
            architecture: next(),
            variant: next(),
        }
    }

    fn offers(platforms: &[&str]) -> Vec<Offer> {
        let offer = |text: &&str| Offer {
            listed: (!text.is_empty()).then(|| said(text)),
            config: None,
        };
        platforms.iter().map(offer).collect()
    }

    fn picked(host: Host, engine: Engine, platforms: &[&str]) -> String {
        match pick(host, engine, &offers(platforms)) {
            Some(at) => platforms[at].to_owned(),
            None => "none".to_owned(),
        }
    }

    /// moby/moby#37647: two entries, what was pulled, the same on a Pi Zero and a Pi 3. `-` is no variant.
    #[test]
    fn the_old_engine_is_as_it_was_seen() {
        let names = ["-", "v5", "v6", "v7"];
        let pulled = [
            ["", "-", "-", "-"],
            ["-", "", "v5", "v7"],
            ["-", "v6", "", "v7"],
            ["v7", "v7", "v7", ""],
        ];
        let platform = |name: &str| match name {
            "-" => "linux/arm".to_owned(),
            variant => format!("linux/arm/{variant}"),
        };
        for (first, row) in names.iter().zip(pulled) {
            for (second, wanted) in names.iter().zip(row).filter(|(_, wanted)| !wanted.is_empty()) {
                let (one, two) = (platform(first), platform(second));
                for host in [Host::PiZero, Host::Pi3] {
                    let found = picked(host, Engine::V19, &[&one, &two]);
                    assert_eq!(found, platform(wanted), "{host:?}: {one}, {two}");
                }
            }
        }
    }

    #[test]
    fn the_index_of_a_push_suits_all_but_one() {
        let ours = [
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64",
            "linux/amd64",
            "unknown/unknown",
        ];
        for (host, wanted) in [
            (Host::PiZero, "linux/arm/v6"),
            (Host::Pi3, "linux/arm/v7"),
            (Host::Pi4, "linux/arm64"),
            (Host::Pc, "linux/amd64"),
        ] {
            for engine in Engine::ALL {
                let found = picked(host, engine, &ours);
                match (host, engine) {
                    // Believes the kernel. No order helps; without v7 it takes v6.
                    (Host::PiZero, Engine::V19) => assert_eq!(found, "linux/arm/v7"),
                    _ => assert_eq!(found, wanted, "{host:?} {engine:?}"),
                }
            }
        }
        let without: Vec<&str> = ours.into_iter().filter(|platform| !platform.ends_with("v7")).collect();
        for engine in Engine::ALL {
            assert_eq!(picked(Host::PiZero, engine, &without), "linux/arm/v6", "{engine:?}");
            assert_eq!(picked(Host::Pi3, engine, &without), "linux/arm/v6", "{engine:?}");
        }
    }

    #[test]
    fn what_is_for_no_such_machine() {
        let debian = ["linux/amd64", "linux/arm/v7", "linux/arm64/v8"];
        let zero = |engine| picked(Host::PiZero, engine, &debian);
        assert_eq!([Engine::V19, Engine::V20].map(zero), ["linux/arm/v7", "linux/arm/v7"]);
        assert_eq!([Engine::V28, Engine::V29].map(zero), ["none", "none"]);
        // A 64-bit system takes 32-bit programs, except where the platform must be equal.
        let small = ["linux/arm/v6"];
        assert_eq!(picked(Host::Pi4, Engine::V19, &small), "none");
        assert_eq!(picked(Host::Pi4, Engine::V29, &small), "linux/arm/v6");
        assert_eq!(
            picked(Host::Pc, Engine::V28, &["linux/386", "linux/amd64"]),
            "linux/amd64"
        );
        assert_eq!(picked(Host::Pc, Engine::V28, &["linux/386"]), "linux/386");
        assert_eq!(picked(Host::Pc, Engine::V19, &["linux/386"]), "none");
        assert_eq!(picked(Host::Pc, Engine::V28, &["windows/amd64"]), "none");
        assert_eq!(picked(Host::PiZero, Engine::V29, &[]), "none");
    }

    #[test]
    fn entries_without_a_platform() {
        let mut two = offers(&["", "linux/arm/v6"]);
        two[0].config = Some(said("linux/arm/v6"));
        let zero = |engine| pick(Host::PiZero, engine, &two);
        assert_eq!(Engine::ALL.map(zero), [Some(1), Some(1), Some(1), Some(0)]);
        let alone = &two[..1];
        let zero = |engine| pick(Host::PiZero, engine, alone);
        assert_eq!(Engine::ALL.map(zero), [None, None, Some(0), Some(0)]);
    }

    #[test]
    fn a_machine_runs_what_is_older() {
        for (host, yes, no) in [
            (
                Host::PiZero,
                "linux/arm/v6 linux/arm/v5 linux/armel",
                "linux/arm linux/arm/v7 linux/arm64 linux/armhf",
            ),
            (
                Host::Pi3,
                "linux/arm linux/arm/v7 linux/arm/v6",
                "linux/arm/v8 linux/arm64 windows/arm/v6",
            ),
            (
                Host::Pi4,
                "linux/arm64 linux/arm64/v8 linux/arm/v8 linux/arm/v5",
                "linux/arm64/v9 linux/amd64",
            ),
            (Host::Pc, "linux/amd64 linux/386", "linux/amd64/v3 linux/arm/v6"),
        ] {
            for text in yes.split(' ') {
                assert!(host.runs(&said(text)), "{host:?} {text}");
            }
            for text in no.split(' ') {
                assert!(!host.runs(&said(text)), "{host:?} {text}");
            }
        }
    }
}
