//! Encodings picked by hand, as assemblers write them.

use super::{Feature, Features, Verdict, arm, thumb};

fn needs(verdict: Verdict) -> Option<Feature> {
    match verdict {
        Verdict::Beyond { needs, .. } => Some(needs),
        _ => None,
    }
}

fn known(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Known { .. })
}

#[test]
fn armv6_has_these() {
    for (word, text) in [
        (0xe1a0_0000, "mov r0, r0"),
        (0xe3a0_002a, "mov r0, #42"),
        (0xf57f_f01f, "clrex"),
        (0xe1b0_2f9f, "ldrexd r2, r3, [r0]"),
        (0xe1a0_1f92, "strexd r1, r2, r3, [r0]"),
        (0xe1d0_1f9f, "ldrexb r1, [r0]"),
        (0xe1f0_1f9f, "ldrexh r1, [r0]"),
        (0xe320_f000, "nop"),
        (0xe320_f001, "yield"),
        (0xe320_f002, "wfe"),
        (0xe320_f003, "wfi"),
        (0xe320_f004, "sev"),
        (0xe160_0070, "smc #0"),
        (0xf101_0200, "setend be"),
        (0xf10c_0080, "cpsid i"),
        (0xf890_0a00, "rfeia r0"),
        (0xf8cd_0513, "srsia sp, #19"),
        (0xe680_0011, "pkhbt r0, r0, r1"),
        (0xe6ef_0071, "uxtb r0, r1"),
        (0xe681_0072, "sxtab16 r0, r1, r2"),
        (0xe700_3211, "smlad r0, r1, r2, r3"),
        (0xe780_f211, "usad8 r0, r1, r2"),
        (0xe102_0091, "swp r0, r1, [r2]"),
        (0xee07_0fba, "mcr p15, 0, r0, c7, c10, 5 (the barrier of ARMv6)"),
        (0xee1d_0f70, "mrc p15, 0, r0, c13, c0, 3 (the thread pointer)"),
        (0xee30_0b01, "vadd.f64 d0, d0, d1"),
        (0xeeb0_0b41, "vmov.f64 d0, d1"),
        (0xed2d_8b10, "vpush {d8-d15}"),
        (0xeef1_fa10, "vmrs apsr_nzcv, fpscr"),
        (0xec41_0b10, "vmov d0, r0, r1"),
        (0xe7f0_00f0, "udf #0"),
        (0xe7ff_defe, "udf #65006, as compilers trap"),
        (0xe12f_ff1e, "bx lr"),
    ] {
        let verdict = arm(word, Features::ARM1176);
        assert!(known(verdict), "{word:08x} {text}: {verdict:?}");
    }
}

#[test]
fn armv6_lacks_these() {
    use Feature::*;
    for (word, feature, text) in [
        (0xe300_002a, V6T2, "movw r0, #42"),
        (0xe340_002a, V6T2, "movt r0, #42"),
        (0xe7c7_001f, V6T2, "bfc r0, #0, #8"),
        (0xe7c7_0011, V6T2, "bfi r0, r1, #0, #8"),
        (0xe7e7_0051, V6T2, "ubfx r0, r1, #0, #8"),
        (0xe7a7_0051, V6T2, "sbfx r0, r1, #0, #8"),
        (0xe060_3291, V6T2, "mls r0, r1, r2, r3"),
        (0xe6ff_0f31, V6T2, "rbit r0, r1"),
        (0xe0f1_00b0, V6T2, "ldrht r0, [r1], #0"),
        (0xf57f_f05f, V7, "dmb sy"),
        (0xf57f_f05b, V7, "dmb ish"),
        (0xf57f_f04f, V7, "dsb sy"),
        (0xf57f_f06f, V7, "isb"),
        (0xf590_f000, Multiprocessing, "pldw [r0]"),
        (0xf4d0_f000, V7, "pli [r0]"),
        (0xe730_f211, Divide, "udiv r0, r1, r2"),
        (0xe710_f211, Divide, "sdiv r0, r1, r2"),
        (0xe140_0070, Virtualization, "hvc #0"),
        (0xeeb7_0b00, Vfp3, "vmov.f64 d0, #1.0"),
        (0xeeb7_0a00, Vfp3, "vmov.f32 s0, #1.0"),
        (0xee70_0ba1, D32, "vadd.f64 d16, d16, d17"),
        (0xedd0_0b00, D32, "vldr d16, [r0]"),
        (0xecd0_0b20, D32, "vldmia r0, {d16-d31}"),
        (0xeeba_0ae0, Vfp3, "vcvt.f32.s32 s0, s0, #31"),
        (0xeea1_0b02, Vfp4, "vfma.f64 d0, d1, d2"),
        (0xeeb2_0a60, HalfPrecision, "vcvtb.f32.f16 s0, s1"),
        (0xf220_0840, Neon, "vadd.i32 q0, q0, q0"),
        (0xf420_0a8f, Neon, "vld1.32 {d0, d1}, [r0]"),
        (0xee80_0b10, Neon, "vdup.32 d0, r0"),
        (0xf3b0_0300, Crypto, "aese.8 q0, q0"),
        (0xf200_0c40, Crypto, "sha1c.32 q0, q0, q0"),
        (0xe190_0c9f, V8, "lda r0, [r0]"),
        (0xe180_fc91, V8, "stl r1, [r0]"),
        (0xe101_0042, Crc, "crc32b r0, r1, r2"),
        (0xfe00_0a00, FpV8, "vseleq.f32 s0, s0, s0"),
        (0xfeb8_0a40, FpV8, "vrinta.f32 s0, s0"),
        (0xee01_0110, Coprocessor, "mcr p1, 0, r0, c1, c0, 0 (iWMMXt)"),
    ] {
        assert_eq!(needs(arm(word, Features::ARM1176)), Some(feature), "{word:08x} {text}");
    }
}

#[test]
fn operands_can_be_unpredictable_and_words_undefined() {
    let v6 = Features::ARM1176;
    for (word, text) in [
        (0xe190_ff9f, "ldrex pc, [r0]"),
        (0xe1b0_1f9f, "ldrexd of r1"),
        (0xe1c0_10d0, "ldrd of r1"),
        (0xe8b0_0001, "ldmia r0!, {r0}"),
        (0xe890_0000, "ldmia r0, {}"),
        (0xe16f_ff10, "clz pc, r0"),
        (0xe160_0010, "clz without its ones"),
    ] {
        let verdict = arm(word, v6);
        assert!(
            matches!(verdict, Verdict::Unpredictable { .. }),
            "{word:08x} {text}: {verdict:?}"
        );
    }
    for word in [0xf000_0000, 0xe050_0090, 0xf57f_f08f, 0xe7f0_0010] {
        assert_eq!(arm(word, v6), Verdict::Undefined, "{word:08x}");
    }
}

#[test]
fn armv6_has_thumb_1_and_no_more() {
    let v6 = Features::ARM1176;
    for (half, text) in [
        (0xb672, "cpsid i"),
        (0xba08, "rev r0, r1"),
        (0xbac8, "revsh r0, r1"),
        (0xb248, "sxtb r0, r1"),
        (0xb658, "setend be"),
        (0x4770, "bx lr"),
        (0x46c0, "mov r8, r8"),
        (0xbe00, "bkpt #0"),
        (0xdefe, "udf #254"),
    ] {
        assert!(known(thumb(half, 0, v6)), "{half:04x} {text}");
    }
    for (half, text) in [
        (0xbf00, "nop"),
        (0xbf10, "yield"),
        (0xbf08, "it eq"),
        (0xb100, "cbz r0"),
        (0xb900, "cbnz r0"),
    ] {
        assert_eq!(needs(thumb(half, 0, v6)), Some(Feature::V6T2), "{half:04x} {text}");
        assert!(known(thumb(half, 0, Features::ARMV7)), "{half:04x} {text}");
    }
    assert!(known(thumb(0xf000, 0xf800, v6)), "bl");
    assert!(known(thumb(0xf000, 0xe800, v6)), "blx");
    for (first, second, feature, text) in [
        (0xf000, 0xb800, Feature::V6T2, "b.w"),
        (0xf000, 0xd000, Feature::V6T2, "bl with J1 = 0"),
        (0xf240, 0x002a, Feature::V6T2, "movw r0, #42"),
        (0xe92d, 0x4ff0, Feature::V6T2, "push.w"),
        (0xf3bf, 0x8f5f, Feature::V7, "dmb"),
        (0xfbb0, 0xf0f1, Feature::Divide, "udiv"),
        (0xef20, 0x0840, Feature::Neon, "vadd.i32"),
        (0xee30, 0x0b01, Feature::V6T2, "vadd.f64"),
    ] {
        assert_eq!(
            needs(thumb(first, second, v6)),
            Some(feature),
            "{first:04x} {second:04x} {text}"
        );
    }
}

#[test]
fn armv7_in_thumb_state_has_the_coprocessors_of_arm_state() {
    let v7 = Features::ARMV7;
    assert!(known(thumb(0xee30, 0x0b01, v7)), "vadd.f64 d0, d0, d1");
    assert!(known(thumb(0xeeb7, 0x0b00, v7)), "vmov.f64 d0, #1.0");
    assert_eq!(needs(thumb(0xee70, 0x0ba1, v7)), Some(Feature::D32));
    assert_eq!(needs(thumb(0xeea1, 0x0b02, v7)), Some(Feature::Vfp4));
}
