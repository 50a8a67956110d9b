//! A blog with 50,000 posts: an export as `blog import export` reads it, the same bytes every time.

use std::fmt::Write;

/// Posts in it.
pub(super) const COUNT: u64 = 50_000;
/// 2026-07-05T14:03:00Z: the newest post.
const NEWEST: u64 = 1_783_260_180;
/// Between two posts, in seconds: eleven years in all.
const STEP: u64 = 7_000;

const ENGLISH: [&str; 40] = [
    "the", "drawer", "router", "quiet", "morning", "kernel", "and", "of", "a", "in", "battery", "small", "letter",
    "train", "coffee", "compiler", "is", "was", "to", "for", "garden", "window", "release", "paper", "onion", "server",
    "cable", "night", "with", "about", "page", "memory", "card", "power", "slow", "again", "never", "bridge", "rain",
    "code",
];
const JAPANESE: [&str; 24] = [
    "東京",
    "午後",
    "の",
    "雨",
    "電車",
    "本",
    "を",
    "読む",
    "小さな",
    "計算機",
    "は",
    "静か",
    "だ",
    "コーヒー",
    "散歩",
    "に",
    "行く",
    "朝",
    "サーバー",
    "電源",
    "が",
    "切れた",
    "メモ",
    "写真",
];
const TAGS: [&str; 8] = [
    "rust",
    "raspberrypi",
    "tor",
    "日記",
    "books",
    "travel",
    "sqlite",
    "sound",
];

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

/// `blog.jsonl`. Two of three posts are English, the others Japanese; every fiftieth is an article of some paragraphs, every
/// third has a tag.
pub(super) fn export() -> String {
    let mut random = Random(7);
    let mut text = String::from(
        "{\"type\":\"blog\",\"format\":1,\"uuid\":\"00000000-0000-4000-8000-000000000000\",\"created_at\":1400000000}\n",
    );
    for tag in TAGS {
        let _ = writeln!(text, "{{\"type\":\"tag\",\"folded\":\"{tag}\",\"name\":\"{tag}\"}}");
    }
    for id in 1..=COUNT {
        post(&mut text, &mut random, id);
    }
    text
}

fn post(text: &mut String, random: &mut Random, id: u64) {
    let time = NEWEST - (COUNT - id) * STEP;
    let article = id.is_multiple_of(50);
    let tag = id.is_multiple_of(3).then(|| random.of(&TAGS));
    let sentences = if article { 40 } else { 2 };
    let mut body = String::new();
    for sentence in 0..sentences {
        if id % 3 == 1 {
            (0..8 + random.below(8)).for_each(|_| body.push_str(random.of(&JAPANESE)));
            body.push('。');
        } else {
            for word in 0..6 + random.below(8) {
                body.push_str(if word == 0 { "" } else { " " });
                body.push_str(random.of(&ENGLISH));
            }
            body.push_str(". ");
        }
        if article && sentence % 5 == 4 {
            // In JSON, the end of a paragraph.
            body.push_str("\\n\\n");
        }
    }
    let mut tags = String::new();
    if let Some(tag) = tag {
        let _ = write!(body, " #{tag}");
        let _ = write!(tags, "\"{tag}\"");
    }
    let (kind, title) = match article {
        true => ("article", format!("\"title\":\"Article {id}\",")),
        false => ("note", String::new()),
    };
    let _ = writeln!(
        text,
        "{{\"type\":\"post\",\"id\":{id},\"uuid\":\"00000000-0000-4000-8000-{id:012}\",\"kind\":\"{kind}\",\"state\":\"published\",\
         \"visibility\":\"public\",{title}\"body\":\"{}\",\"created_at\":{time},\"published_at\":{time},\"tags\":[{tags}],\
         \"images\":[],\"old_ids\":[],\"revisions\":[]}}",
        body.trim()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_is_the_same_every_time_and_every_line_is_json() {
        let text = export();
        assert_eq!(text, export());
        assert_eq!(text.lines().count() as u64, 1 + TAGS.len() as u64 + COUNT);
        let posts = text.lines().skip(1 + TAGS.len());
        for line in posts.step_by(997) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["body"].as_str().is_some_and(|body| body.len() > 30), "{line}");
        }
    }
}
