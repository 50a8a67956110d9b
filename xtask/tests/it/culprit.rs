//! Whose code it is.

mod strip;

#[test]
fn adhoc() {
    let bytes = std::fs::read(std::env::var("PROGRAM").unwrap()).unwrap();
    let map = xtask::culprit::map::LinkMap::parse(&std::fs::read_to_string(std::env::var("MAP").unwrap()).unwrap());
    let t = std::time::Instant::now();
    println!("of {}", map.is_of(&bytes));
    let graph = xtask::culprit::reach::CallGraph::of(&bytes).unwrap().unwrap();
    println!("{:?} functions {}", t.elapsed(), graph.functions().len());
    let dead: Vec<_> = graph.functions().iter().filter(|f| graph.is_reached(f.start) == Some(false)).collect();
    println!("dead {}: {:?}", dead.len(), dead.iter().take(20).map(|f| &f.names[0]).collect::<Vec<_>>());
    for name in ["__a_cas_v7", "__a_barrier_v7", "_ZN9libunwind13Registers_arm9saveVFPv3EPv", "_ZN9libunwind13Registers_arm12restoreVFPv3EPv"] {
        let f = graph.named(name).unwrap();
        println!("{name} {:x?} reached {:?} {:?} {:?}", f.start, graph.is_reached(f.start), graph.referrers(f.start), xtask::culprit::guard::Program::new(&bytes).unwrap().unwrap().known(f.start + if name == "__a_cas_v7" {4} else {0}));
        println!("{:x?} {:?}", graph.words_of(f), map.at(f.start));
    }
    println!("{:?}", t.elapsed());
    let shipped = xtask::elf::strip::strip(&bytes, xtask::elf::strip::Keep::Nothing).unwrap();
    println!("{} -> {} {:?}", bytes.len(), shipped.len(), t.elapsed());
    let p = xtask::culprit::guard::Program::new(&shipped).unwrap().unwrap();
    for a in [0x1a784cu64 +4, 0x1a780c, 0x19e658, 0x19e628, 0x47ccc] { println!("{:?}", p.known(a)); }
    println!("{:?}", t.elapsed());
    std::fs::write("/tmp/culprit-z/shipped", shipped).unwrap();
}
