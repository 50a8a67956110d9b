//! Which dependencies and features bring a package into the program, and which of them could be switched off.
//!
//! cargo's metadata has the graph with all features that anything in the workspace asks for, tests included. What a
//! program really gets is computed here from its root, as cargo's resolver does for normal dependencies; [`Graph::agrees`]
//! holds the result against what cargo says it compiled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, TargetKind};

/// A dependency as a manifest declares it, and what it was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// What the manifest calls it.
    pub key: String,
    /// Index of the package.
    pub package: usize,
    /// Whether a feature has to ask for it.
    pub optional: bool,
    /// `default-features`.
    pub default_features: bool,
    /// `features`.
    pub features: Vec<String>,
}

/// A package of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name on the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its manifest is in this workspace, so that it can be changed here.
    pub own: bool,
    /// Whether it runs while compiling, and is no part of the program.
    pub macros: bool,
    /// `[features]`.
    pub features: BTreeMap<String, Vec<String>>,
    /// Dependencies for the platform of the program, without those of build scripts and tests.
    pub dependencies: Vec<Dependency>,
}

/// Name and version of a package.
pub type Named = (String, String);

/// All packages, and the one that is the program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    packages: Vec<Package>,
    root: usize,
}

/// Something that a manifest of this workspace could leave out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// A feature of a dependency.
    Feature(usize, usize, String),
    /// One of the default features of a dependency; the others are listed instead of `default`.
    OneDefault(usize, usize, String),
    /// All default features of a dependency.
    Default(usize, usize),
    /// A feature of its own.
    Own(usize, String),
    /// A dependency.
    Dependency(usize, usize),
}

/// What is active: features by package, and the edges from package to package.
#[derive(Debug, Default)]
struct Active {
    features: BTreeMap<usize, BTreeSet<String>>,
    edges: BTreeSet<(usize, usize)>,
}

impl Graph {
    /// From cargo's metadata, which must be for the program's platform alone (`--filter-platform`). `None` when `root` is
    /// no package of the workspace or there is no resolved graph.
    pub fn new(metadata: &Metadata, root: &str) -> Option<Graph> {
        let resolve = metadata.resolve.as_ref()?;
        let ids: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .enumerate()
            .map(|(index, package)| (&package.id, index))
            .collect();
        let mut packages = Vec::new();
        for package in &metadata.packages {
            let node = resolve.nodes.iter().find(|node| node.id == package.id)?;
            let mut dependencies = Vec::new();
            for dependency in &package.dependencies {
                if dependency.kind != DependencyKind::Normal {
                    continue;
                }
                let resolved = node.deps.iter().find(|resolved| {
                    let Some(other) = ids.get(&resolved.pkg).map(|index| &metadata.packages[*index]) else {
                        return false;
                    };
                    let renamed = dependency
                        .rename
                        .as_ref()
                        .is_none_or(|name| resolved.name == name.replace('-', "_"));
                    let kind = resolved
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind == dependency.kind && kind.target == dependency.target);
                    kind && renamed && *other.name == dependency.name && dependency.req.matches(&other.version)
                });
                let Some(resolved) = resolved else { continue };
                dependencies.push(Dependency {
                    key: dependency.rename.clone().unwrap_or_else(|| dependency.name.clone()),
                    package: *ids.get(&resolved.pkg)?,
                    optional: dependency.optional,
                    default_features: dependency.uses_default_features,
                    features: dependency.features.clone(),
                });
            }
            packages.push(Package {
                name: package.name.to_string(),
                version: package.version.to_string(),
                own: metadata.workspace_members.contains(&package.id),
                macros: package
                    .targets
                    .iter()
                    .any(|target| target.kind.contains(&TargetKind::ProcMacro)),
                features: package.features.clone(),
                dependencies,
            });
        }
        let root = packages
            .iter()
            .position(|package| package.own && package.name == root)?;
        Some(Graph { packages, root })
    }

    /// From packages; `root` is the index of the program's.
    pub fn of(packages: Vec<Package>, root: usize) -> Graph {
        Graph { packages, root }
    }

    /// Whether what is computed here is what was compiled: `compiled` has the features of each package by name and
    /// version. The error names the first package that differs.
    pub fn agrees(&self, compiled: &BTreeMap<(String, String), BTreeSet<String>>) -> Result<(), String> {
        let active = self.resolve(None);
        for (index, features) in &active.features {
            let package = &self.packages[*index];
            if package.macros {
                continue;
            }
            let key = (package.name.clone(), package.version.clone());
            match compiled.get(&key) {
                None => return Err(format!("{} {} was not compiled", key.0, key.1)),
                Some(other) if other != features => {
                    let list = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
                        let names: Vec<&str> = these.difference(those).map(String::as_str).collect();
                        if names.is_empty() {
                            "none".to_owned()
                        } else {
                            names.join(", ")
                        }
                    };
                    return Err(format!(
                        "{} {} was compiled with other features than its dependents ask for (more: {}; less: {})",
                        key.0,
                        key.1,
                        list(other, features),
                        list(features, other)
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The shortest way from the program to a package: `blog`, `actix-web/cookies`, `cookie/secure`, `ring 0.17.14`. Behind
    /// the slash is the feature that asks for the next one; none when it is not optional. Of several ways that are equally
    /// short, the first by name. `None` when nothing leads there.
    pub fn path(&self, name: &str, version: &str) -> Option<Vec<String>> {
        let target = self.find(name, version)?;
        let active = self.resolve(None);
        let mut from: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([self.root]);
        while let Some(package) = queue.pop_front() {
            if package == target {
                break;
            }
            let mut next: Vec<(usize, usize)> = active
                .edges
                .range((package, 0)..(package + 1, 0))
                .map(|(_, dependency)| (self.packages[package].dependencies[*dependency].package, *dependency))
                .collect();
            next.sort_by_key(|(to, dependency)| (&self.packages[*to].name, &self.packages[*to].version, *dependency));
            for (to, dependency) in next {
                if to != self.root && !from.contains_key(&to) {
                    from.insert(to, (package, dependency));
                    queue.push_back(to);
                }
            }
        }
        let mut hops = vec![format!("{name} {version}")];
        let mut at = target;
        while at != self.root {
            let (package, dependency) = *from.get(&at)?;
            let feature = self.asks(&active, package, dependency);
            let name = &self.packages[package].name;
            hops.push(match feature {
                Some(feature) => format!("{name}/{feature}"),
                None => name.clone(),
            });
            at = package;
        }
        hops.reverse();
        Some(hops)
    }

    /// What manifests of this workspace could leave out so that a package is no longer part of the program. Each was tried.
    /// Ordered from the smallest change to the largest; empty when no single change is enough.
    pub fn ways_out(&self, name: &str, version: &str) -> Vec<String> {
        let Some(target) = self.find(name, version) else {
            return Vec::new();
        };
        let active = self.resolve(None);
        let mut cuts = Vec::new();
        for (index, features) in &active.features {
            let package = &self.packages[*index];
            if !package.own {
                continue;
            }
            // Of the program's own features, those that are on by default; what others ask for is cut where they do.
            if *index == self.root {
                let defaults = package.features.get("default").into_iter().flatten();
                cuts.extend(
                    defaults
                        .filter(|feature| features.contains(*feature))
                        .map(|feature| Cut::Own(*index, feature.clone())),
                );
            }
            for (_, number) in active.edges.range((*index, 0)..(*index + 1, 0)) {
                let dependency = &package.dependencies[*number];
                cuts.extend(
                    dependency
                        .features
                        .iter()
                        .map(|feature| Cut::Feature(*index, *number, feature.clone())),
                );
                let defaults = self.packages[dependency.package].features.get("default");
                if let Some(defaults) = defaults.filter(|_| dependency.default_features) {
                    cuts.extend(
                        defaults
                            .iter()
                            .map(|feature| Cut::OneDefault(*index, *number, feature.clone())),
                    );
                    cuts.push(Cut::Default(*index, *number));
                }
                cuts.push(Cut::Dependency(*index, *number));
            }
        }
        cuts.sort();
        let works: Vec<Cut> = cuts
            .into_iter()
            .filter(|cut| !self.resolve(Some(cut)).features.contains_key(&target))
            .collect();
        works
            .iter()
            // Where one of the default features is enough, all of them need not be named; where a feature is, neither need
            // the dependency.
            .filter(|cut| match cut {
                Cut::Default(package, number) => !works
                    .iter()
                    .any(|other| matches!(other, Cut::OneDefault(p, n, _) if (p, n) == (package, number))),
                _ => true,
            })
            .map(|cut| self.describe(cut))
            .collect()
    }

    /// Names of the program's direct dependencies that lead to a package.
    pub fn entrances(&self, name: &str, version: &str) -> Vec<String> {
        let Some(target) = self.find(name, version) else {
            return Vec::new();
        };
        let active = self.resolve(None);
        let mut found = BTreeSet::new();
        for (_, number) in active.edges.range((self.root, 0)..(self.root + 1, 0)) {
            let dependency = &self.packages[self.root].dependencies[*number];
            let mut seen = BTreeSet::from([dependency.package]);
            let mut open = vec![dependency.package];
            while let Some(package) = open.pop() {
                for (_, number) in active.edges.range((package, 0)..(package + 1, 0)) {
                    let to = self.packages[package].dependencies[*number].package;
                    if seen.insert(to) {
                        open.push(to);
                    }
                }
            }
            if seen.contains(&target) {
                found.insert(dependency.key.clone());
            }
        }
        found.into_iter().collect()
    }

    /// What depends on what in the program, by name and version: the dependencies that its features switch on, without
    /// what runs while compiling.
    pub fn edges(&self) -> BTreeSet<(Named, Named)> {
        let named = |index: usize| {
            let package = &self.packages[index];
            (package.name.clone(), package.version.clone())
        };
        let edges = self.resolve(None).edges;
        edges
            .into_iter()
            .map(|(from, number)| (named(from), named(self.packages[from].dependencies[number].package)))
            .collect()
    }

    fn find(&self, name: &str, version: &str) -> Option<usize> {
        self.packages
            .iter()
            .position(|package| package.name == name && package.version == version)
    }

    fn describe(&self, cut: &Cut) -> String {
        let manifest = |package: &usize| format!("in the manifest of {}", self.packages[*package].name);
        let key = |package: &usize, number: &usize| &self.packages[*package].dependencies[*number].key;
        match cut {
            Cut::Feature(package, number, feature) => format!(
                "{}: leave out the feature `{feature}` of {}",
                manifest(package),
                key(package, number)
            ),
            Cut::OneDefault(package, number, feature) => {
                let dependency = &self.packages[*package].dependencies[*number];
                let others: Vec<String> = self.packages[dependency.package].features["default"]
                    .iter()
                    .filter(|other| *other != feature)
                    .map(|other| format!("\"{other}\""))
                    .collect();
                format!(
                    "{}: {} = {{ default-features = false, features = [{}] }}, which are the default ones but for `{feature}`",
                    manifest(package),
                    dependency.key,
                    others.join(", ")
                )
            }
            Cut::Default(package, number) => format!(
                "{}: {} = {{ default-features = false }}",
                manifest(package),
                key(package, number)
            ),
            Cut::Own(package, feature) => {
                format!("{}: take `{feature}` out of its default features", manifest(package))
            }
            Cut::Dependency(package, number) => {
                format!("{}: do without {}", manifest(package), key(package, number))
            }
        }
    }

    /// The feature of `package` that asks for an optional dependency; `None` when it is not optional.
    fn asks(&self, active: &Active, package: usize, number: usize) -> Option<String> {
        let (package, features) = (&self.packages[package], active.features.get(&package)?);
        let dependency = &package.dependencies[number];
        if !dependency.optional {
            return None;
        }
        let enabler = |wanted: &dyn Fn(&str) -> bool, not: &str| {
            features
                .iter()
                .filter(|feature| *feature != not)
                .find(|feature| {
                    package
                        .features
                        .get(*feature)
                        .is_some_and(|items| items.iter().any(|item| wanted(item)))
                })
                .cloned()
        };
        let key = &dependency.key;
        let direct = enabler(
            &|item| item == format!("dep:{key}") || item.strip_prefix(key).is_some_and(|rest| rest.starts_with('/')),
            "",
        )?;
        // A feature that has the dependency's name says nothing new: who asks for that one?
        if direct == *key {
            return Some(enabler(&|item| item == key, key).unwrap_or(direct));
        }
        Some(direct)
    }

    /// cargo's resolution of features for normal dependencies, with a cut made or without.
    fn resolve(&self, cut: Option<&Cut>) -> Active {
        let mut run = Run {
            graph: self,
            cut,
            active: Active::default(),
            weak: Vec::new(),
        };
        run.package(self.root);
        if self.packages[self.root].features.contains_key("default") {
            run.feature(self.root, "default");
        }
        run.active
    }
}

struct Run<'a> {
    graph: &'a Graph,
    cut: Option<&'a Cut>,
    active: Active,
    /// `dependency?/feature`, to be asked for once the dependency is active: package, key, feature.
    weak: Vec<(usize, String, String)>,
}

impl Run<'_> {
    fn package(&mut self, index: usize) {
        if self.active.features.contains_key(&index) {
            return;
        }
        self.active.features.insert(index, BTreeSet::new());
        for number in 0..self.graph.packages[index].dependencies.len() {
            if !self.graph.packages[index].dependencies[number].optional {
                self.edge(index, number);
            }
        }
    }

    fn edge(&mut self, index: usize, number: usize) {
        let dependency = &self.graph.packages[index].dependencies[number];
        let to = dependency.package;
        let gone = self.cut == Some(&Cut::Dependency(index, number));
        // What runs while compiling has features of its own.
        if gone || self.graph.packages[to].macros || !self.active.edges.insert((index, number)) {
            return;
        }
        self.package(to);
        if dependency.default_features && self.graph.packages[to].features.contains_key("default") {
            match self.cut {
                Some(Cut::Default(i, n)) if (*i, *n) == (index, number) => {}
                Some(Cut::OneDefault(i, n, without)) if (*i, *n) == (index, number) => {
                    for item in self.graph.packages[to].features["default"].clone() {
                        if item != *without {
                            self.item(to, &item);
                        }
                    }
                }
                _ => self.feature(to, "default"),
            }
        }
        for feature in &dependency.features {
            if self.cut != Some(&Cut::Feature(index, number, feature.clone())) {
                self.feature(to, feature);
            }
        }
        let waiting: Vec<String> = self
            .weak
            .iter()
            .filter(|(from, key, _)| *from == index && *key == dependency.key)
            .map(|(_, _, feature)| feature.clone())
            .collect();
        for feature in waiting {
            self.feature(to, &feature);
        }
    }

    fn feature(&mut self, index: usize, name: &str) {
        if self.cut == Some(&Cut::Own(index, name.to_owned())) {
            return;
        }
        let Some(items) = self.graph.packages[index].features.get(name) else {
            return;
        };
        let fresh = self.active.features.entry(index).or_default().insert(name.to_owned());
        if fresh {
            for item in items {
                self.item(index, item);
            }
        }
    }

    fn item(&mut self, index: usize, item: &str) {
        let package = &self.graph.packages[index];
        let numbers = |key: &str| -> Vec<usize> {
            (0..package.dependencies.len())
                .filter(|number| package.dependencies[*number].key == key)
                .collect()
        };
        if let Some(key) = item.strip_prefix("dep:") {
            for number in numbers(key) {
                self.edge(index, number);
            }
        } else if let Some((key, feature)) = item.split_once('/') {
            let (key, weak) = match key.strip_suffix('?') {
                Some(key) => (key, true),
                None => (key, false),
            };
            if !weak && package.features.contains_key(key) && !numbers(key).is_empty() {
                // An optional dependency whose name is a feature: asking for one of its features asks for that, too. Where it
                // is for another platform alone (tokio's `net` asks for features of windows-sys), nothing is asked for.
                self.feature(index, key);
            }
            self.weak.push((index, key.to_owned(), feature.to_owned()));
            for number in numbers(key) {
                if !weak {
                    self.edge(index, number);
                }
                if self.active.edges.contains(&(index, number)) {
                    self.feature(self.graph.packages[index].dependencies[number].package, feature);
                }
            }
        } else {
            self.feature(index, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, features: &[(&str, &[&str])], dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            own: name == "blog",
            macros: false,
            features: features
                .iter()
                .map(|(name, items)| {
                    (
                        (*name).to_owned(),
                        items.iter().map(|item| (*item).to_owned()).collect(),
                    )
                })
                .collect(),
            dependencies,
        }
    }

    fn on(key: &str, package: usize, optional: bool, default_features: bool, features: &[&str]) -> Dependency {
        Dependency {
            key: key.to_owned(),
            package,
            optional,
            default_features,
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        }
    }

    /// The story of 2018: a server, its web framework, cookies, ring.
    fn story(default_features: bool, features: &[&str]) -> Graph {
        Graph::of(
            vec![
                package(
                    "blog",
                    &[],
                    vec![
                        on("web", 1, false, default_features, features),
                        on("text", 4, false, true, &[]),
                    ],
                ),
                package(
                    "web",
                    &[
                        ("default", &["cookies", "macros"]),
                        ("cookies", &["dep:cookie"]),
                        ("macros", &[]),
                        ("secure", &["cookies", "cookie?/private"]),
                    ],
                    vec![on("cookie", 2, true, false, &["percent"])],
                ),
                package(
                    "cookie",
                    &[("percent", &[]), ("private", &["ring"]), ("ring", &["dep:ring"])],
                    vec![on("ring", 3, true, true, &[])],
                ),
                package("ring", &[("default", &["alloc"]), ("alloc", &[])], vec![]),
                package("text", &[], vec![]),
            ],
            0,
        )
    }

    #[test]
    fn the_path_names_the_features_that_ask() {
        let graph = story(true, &["secure"]);
        assert_eq!(
            graph.path("ring", "1.0.0").unwrap(),
            ["blog", "web/cookies", "cookie/private", "ring 1.0.0"]
        );
        assert_eq!(graph.path("text", "1.0.0").unwrap(), ["blog", "text 1.0.0"]);
        assert_eq!(graph.path("ring", "2.0.0"), None);
        assert_eq!(story(true, &[]).path("ring", "1.0.0"), None, "cookie without private");
        assert_eq!(graph.entrances("ring", "1.0.0"), ["web"]);
    }

    #[test]
    fn every_way_out_was_tried() {
        let graph = story(true, &["secure"]);
        assert_eq!(
            graph.ways_out("ring", "1.0.0"),
            [
                "in the manifest of blog: leave out the feature `secure` of web",
                "in the manifest of blog: do without web",
            ]
        );
        // The cookies are a default feature of web: one of two has to go.
        assert_eq!(
            story(true, &[]).ways_out("cookie", "1.0.0"),
            [
                "in the manifest of blog: web = { default-features = false, features = [\"macros\"] }, which are the default \
                 ones but for `cookies`",
                "in the manifest of blog: do without web",
            ]
        );
        assert_eq!(
            story(true, &["secure"]).ways_out("cookie", "1.0.0"),
            ["in the manifest of blog: do without web"]
        );
    }

    /// tokio's `net` names features of windows-sys, which is no dependency on Linux: cargo switches nothing on for it.
    #[test]
    fn a_dependency_of_another_platform_switches_no_feature_on() {
        let features: [(&str, &[&str]); 2] = [("net", &["windows/pipes"]), ("windows", &["dep:windows"])];
        let net = || vec![on("rt", 1, false, true, &["net"])];
        let names = |graph: &Graph, index: usize| graph.resolve(None).features[&index].clone();
        let linux = Graph::of(vec![package("blog", &[], net()), package("rt", &features, vec![])], 0);
        assert_eq!(names(&linux, 1), BTreeSet::from(["net".to_owned()]));
        let windows = vec![
            package("blog", &[], net()),
            package("rt", &features, vec![on("windows", 2, true, true, &[])]),
            package("windows", &[("pipes", &[])], vec![]),
        ];
        let windows = Graph::of(windows, 0);
        assert_eq!(
            names(&windows, 1),
            BTreeSet::from(["net".to_owned(), "windows".to_owned()])
        );
        assert_eq!(names(&windows, 2), BTreeSet::from(["pipes".to_owned()]));
    }

    #[test]
    fn what_was_compiled_is_what_was_computed() {
        let graph = story(false, &["secure"]);
        let features = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut compiled: BTreeMap<(String, String), BTreeSet<String>> = [
            ("blog", features(&[])),
            ("web", features(&["cookies", "secure"])),
            ("cookie", features(&["percent", "private", "ring"])),
            ("ring", features(&["alloc", "default"])),
            ("text", features(&[])),
        ]
        .into_iter()
        .map(|(name, features)| ((name.to_owned(), "1.0.0".to_owned()), features))
        .collect();
        assert_eq!(graph.agrees(&compiled), Ok(()));
        compiled.insert(
            ("ring".to_owned(), "1.0.0".to_owned()),
            features(&["alloc", "default", "std"]),
        );
        assert!(graph.agrees(&compiled).unwrap_err().contains("ring 1.0.0"));
        compiled.remove(&("web".to_owned(), "1.0.0".to_owned()));
        assert!(graph.agrees(&compiled).unwrap_err().contains("web"));
    }
}
