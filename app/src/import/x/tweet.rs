//! One post of an X archive: what of its many fields matters, read leniently, because vintages differ in whether a
//! number is a number or a string and in which fields there are at all.

use serde_json::Value;

use crate::domain::{Stamp, calendar};

/// A post as the archive has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tweet {
    pub id: u64,
    pub created_at: Stamp,
    /// Entities decoded; links still short.
    pub text: String,
    /// As X guessed it: `ja`, `en`; `None` where it could not.
    pub lang: Option<String>,
    pub links: Vec<Link>,
    pub media: Vec<Media>,
    /// The post that this one answers, and whose that is.
    pub reply_to: Option<u64>,
    pub reply_to_user: Option<String>,
    /// Every version of an edited post, oldest first; empty when it was never edited.
    pub versions: Vec<u64>,
    /// The text is cut, and the rest is in `note-tweet.js`.
    pub is_cut: bool,
}

/// A short link and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub short: String,
    pub long: String,
    /// Where it begins in the text, in characters: only the order matters.
    pub start: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// The short link in the text that stands for it.
    pub short: String,
    /// The page of X that shows it.
    pub long: String,
    /// `photo`, `video` or `animated_gif`.
    pub kind: String,
    /// The last part of its address, of which the name of its file is made.
    pub file: String,
    /// The description, where the owner wrote one.
    pub alt: Option<String>,
}

/// Why an element is no post that can be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TweetError {
    #[error("has no `{0}`")]
    Missing(&'static str),
    #[error("has the time `{0}`, which is not of the form `Wed Oct 10 20:19:24 +0000 2018`")]
    Time(String),
}

impl Tweet {
    /// From an element of `tweets.js`: `{"tweet": {...}}`, in older archives without that wrapping.
    pub fn parse(element: &Value) -> Result<Self, TweetError> {
        let tweet = element.get("tweet").unwrap_or(element);
        let id = number(tweet, "id_str")
            .or_else(|| number(tweet, "id"))
            .ok_or(TweetError::Missing("id_str"))?;
        let time = text(tweet, "created_at").ok_or(TweetError::Missing("created_at"))?;
        let created_at = parse_time(time).ok_or_else(|| TweetError::Time(time.to_owned()))?;
        let full = text(tweet, "full_text")
            .or_else(|| text(tweet, "text"))
            .ok_or(TweetError::Missing("full_text"))?;
        let decoded = decode_entities(full);
        let entities = tweet.get("entities").unwrap_or(&Value::Null);
        // `extended_entities` has all pictures, `entities` only the first.
        let media = list(tweet.get("extended_entities").unwrap_or(&Value::Null), "media");
        let media = if media.is_empty() {
            list(entities, "media")
        } else {
            media
        };
        Ok(Self {
            id,
            created_at,
            lang: text(tweet, "lang").and_then(language),
            links: list(entities, "urls").iter().filter_map(Link::parse).collect(),
            media: media.iter().filter_map(Media::parse).collect(),
            reply_to: number(tweet, "in_reply_to_status_id_str").or_else(|| number(tweet, "in_reply_to_status_id")),
            reply_to_user: word(tweet, "in_reply_to_user_id_str").or_else(|| word(tweet, "in_reply_to_user_id")),
            versions: versions(tweet),
            is_cut: is_cut(&decoded),
            text: decoded,
        })
    }

    /// Archives do not mark it otherwise: `retweeted` is always false.
    pub fn is_retweet(&self) -> bool {
        self.text.starts_with("RT @")
    }

    /// An older version of a post that was edited later.
    pub fn replaced_by(&self) -> Option<u64> {
        self.versions.last().copied().filter(|last| *last != self.id)
    }

    /// The text with what the short links stand for. `gone` are the media whose link is to vanish because the picture
    /// itself is shown.
    pub fn expand(&self, text: &str, more: &[Link], gone: &[&Media]) -> String {
        let mut links: Vec<(usize, &str, &str)> = Vec::new();
        for link in self.links.iter().chain(more) {
            links.push((link.start, &link.short, &link.long));
        }
        for media in &self.media {
            let shown = gone.iter().any(|other| other.short == media.short);
            links.push((usize::MAX, &media.short, if shown { "" } else { &media.long }));
        }
        // From the last to the first. The positions count characters of the text as X showed it, escaped or not
        // depending on the vintage: so they give the order, and the string itself is looked for.
        links.sort_by_key(|(start, ..)| std::cmp::Reverse(*start));
        let mut out = text.to_owned();
        let mut done: Vec<&str> = Vec::new();
        for (_, short, long) in links {
            if short.is_empty() || done.contains(&short) {
                continue;
            }
            done.push(short);
            let mut end = out.len();
            while let Some(at) = out[..end].rfind(short) {
                let behind = at + short.len();
                // `t.co/abc` is also the beginning of `t.co/abcd`.
                let whole = !out[behind..].starts_with(|c: char| c.is_ascii_alphanumeric());
                if whole {
                    out.replace_range(at..behind, long);
                }
                end = at;
            }
        }
        let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

impl Link {
    fn parse(value: &Value) -> Option<Self> {
        let long = text(value, "expanded_url")
            .or_else(|| text(value, "expandedUrl"))
            .filter(|url| !url.is_empty())?;
        let short = text(value, "url").or_else(|| text(value, "shortUrl"))?;
        let start = value
            .get("indices")
            .and_then(|indices| indices.get(0))
            .and_then(as_number)
            .or_else(|| number(value, "fromIndex"));
        Some(Self {
            short: short.to_owned(),
            long: long.to_owned(),
            start: start.and_then(|start| usize::try_from(start).ok()).unwrap_or(0),
        })
    }
}

impl Media {
    fn parse(value: &Value) -> Option<Self> {
        let address = text(value, "media_url_https").or_else(|| text(value, "media_url"))?;
        let name = address.rsplit('/').next().unwrap_or_default();
        // `ABC.jpg:large` and `ABC.jpg?name=orig` name the same file.
        let name = name.split([':', '?']).next().unwrap_or_default();
        Some(Self {
            short: text(value, "url").unwrap_or_default().to_owned(),
            long: text(value, "expanded_url").unwrap_or_default().to_owned(),
            kind: text(value, "type").unwrap_or("photo").to_owned(),
            file: name.to_owned(),
            alt: text(value, "ext_alt_text")
                .map(|alt| decode_entities(alt).trim().to_owned())
                .filter(|alt| !alt.is_empty()),
        })
    }
}

/// A long text of `note-tweet.js`.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The post that it belongs to, where the vintage says so.
    pub tweet: Option<u64>,
    pub created_at: Option<Stamp>,
    pub text: String,
    pub links: Vec<Link>,
}

impl Note {
    pub fn parse(element: &Value) -> Option<Self> {
        let note = element.get("noteTweet").unwrap_or(element);
        let core = note.get("core")?;
        let tweet = [note, core, note.get("lifecycle").unwrap_or(&Value::Null)]
            .iter()
            .find_map(|place| number(place, "tweetId").or_else(|| number(place, "tweet_id")));
        Some(Self {
            tweet,
            created_at: text(note, "createdAt").and_then(parse_time),
            text: decode_entities(text(core, "text")?),
            links: list(core, "urls").iter().filter_map(Link::parse).collect(),
        })
    }

    /// Whether `cut` is the beginning of this text. Short links stand in both, white space may differ.
    pub fn continues(&self, cut: &str) -> bool {
        let letters = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let begin = letters(without_ellipsis(cut));
        !begin.is_empty() && letters(&self.text).starts_with(&begin)
    }
}

/// The text up to where it was cut: an ellipsis, with or without the link to the whole behind it.
fn without_ellipsis(text: &str) -> &str {
    let mut text = text.trim_end();
    if let Some(at) = text.rfind("https://t.co/")
        && !text[at..].contains(char::is_whitespace)
    {
        let before = text[..at].trim_end();
        if before.ends_with('…') {
            text = before;
        }
    }
    text.strip_suffix('…').unwrap_or(text).trim_end()
}

fn is_cut(text: &str) -> bool {
    without_ellipsis(text) != text.trim_end()
}

/// `Wed Oct 10 20:19:24 +0000 2018`, or RFC 3339 with or without fractions.
pub fn parse_time(text: &str) -> Option<Stamp> {
    if let Some(time) = calendar::parse(text) {
        return Some(Stamp(time));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, time, zone, year] = words.as_slice() else {
        return None;
    };
    let month = calendar::MONTHS.iter().position(|name| name == month)? + 1;
    let (hours, minutes) = (zone.get(0..3)?, zone.get(3..5).filter(|_| zone.len() == 5)?);
    let whole = format!("{year}-{month:02}-{day:0>2}T{time}{hours}:{minutes}");
    calendar::parse(&whole).map(Stamp)
}

/// What X escapes: once, so that a text about `&amp;` stays one.
fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = [
            ("&amp;", "&"),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#39;", "'"),
        ]
        .iter()
        .find(|(entity, _)| rest.starts_with(entity));
        let (entity, plain) = found.copied().unwrap_or(("&", "&"));
        out.push_str(plain);
        rest = &rest[entity.len()..];
    }
    out.push_str(rest);
    out
}

/// X's codes for "no language" begin with q or are `und`; two are from before 1989.
fn language(code: &str) -> Option<String> {
    let code = match code {
        "und" | "zxx" | "art" => return None,
        "in" => "id",
        "iw" => "he",
        code if code.starts_with('q') && code.len() == 3 => return None,
        code => code,
    };
    let plain = (2..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    plain.then(|| code.to_owned())
}

/// `editTweetIds` of a post that was edited. Most posts have a list with themselves alone.
fn versions(tweet: &Value) -> Vec<u64> {
    let info = tweet.get("edit_info").unwrap_or(&Value::Null);
    let places = [
        info.get("initial"),
        info.get("edit").and_then(|edit| edit.get("editControlInitial")),
        info.get("edit_control_initial"),
    ];
    let ids: Vec<u64> = places
        .iter()
        .flatten()
        .map(|place| list(place, "editTweetIds"))
        .find(|ids| !ids.is_empty())
        .unwrap_or_default()
        .iter()
        .filter_map(as_number)
        .collect();
    if ids.len() > 1 { ids } else { Vec::new() }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// A value that is a word, or a number that stands for one.
fn word(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(as_number)
}

fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn tweet(more: Value) -> Tweet {
        let mut tweet = json!({
            "id_str": "1050118621198921728", "created_at": "Wed Oct 10 20:19:24 +0000 2018", "full_text": "text",
        });
        for (key, value) in more.as_object().unwrap() {
            tweet[key] = value.clone();
        }
        Tweet::parse(&json!({ "tweet": tweet })).unwrap()
    }

    #[test]
    fn times() {
        let time = |text: &str| parse_time(text).map(|stamp| stamp.rfc3339());
        assert_eq!(time("Wed Oct 10 20:19:24 +0000 2018").unwrap(), "2018-10-10T20:19:24Z");
        assert_eq!(time("Wed Oct 10 20:19:24 +0900 2018").unwrap(), "2018-10-10T11:19:24Z");
        assert_eq!(time("2023-08-07T12:34:56.789Z").unwrap(), "2023-08-07T12:34:56Z");
        for bad in [
            "",
            "Wed Foo 10 20:19:24 +0000 2018",
            "Wed Oct 10 20:19:24 +00é 2018",
            "2018",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_that_may_be_of_either_type() {
        let tweet = tweet(json!({
            "in_reply_to_status_id_str": "7", "in_reply_to_user_id": 12, "lang": "in",
            "entities": {"urls": [{"url": "https://t.co/a", "expanded_url": "https://a.example/", "indices": ["3", "9"]}]},
        }));
        assert_eq!((tweet.id, tweet.reply_to), (1_050_118_621_198_921_728, Some(7)));
        assert_eq!(tweet.reply_to_user.as_deref(), Some("12"));
        assert_eq!(tweet.lang.as_deref(), Some("id"));
        assert_eq!(tweet.links[0].start, 3);
        let missing = Tweet::parse(&json!({"tweet": {"id_str": "1"}})).unwrap_err();
        assert_eq!(missing.to_string(), "has no `created_at`");
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            decode_entities("a &amp;lt; b &lt;&gt; & &copy; &amp"),
            "a &lt; b <> & &copy; &amp"
        );
    }

    #[test]
    fn links_are_replaced_by_what_they_stand_for() {
        let tweet = tweet(json!({
            "full_text": "見て &lt;3 https://t.co/ab https://t.co/abc と https://t.co/ab https://t.co/pic",
            "entities": {"urls": [
                {"url": "https://t.co/ab", "expanded_url": "https://one.example/?a=1&amp;b=2", "indices": ["9", "24"]},
                {"url": "https://t.co/abc", "expanded_url": "https://two.example/", "indices": ["25", "41"]},
            ]},
            "extended_entities": {"media": [
                {"url": "https://t.co/pic", "expanded_url": "https://x.com/me/status/1/photo/1", "type": "photo",
                 "media_url_https": "https://pbs.twimg.com/media/ABC.jpg:large", "ext_alt_text": " 犬 &amp; 猫 "},
            ]},
        }));
        let all = tweet.expand(&tweet.text, &[], &[]);
        assert_eq!(
            all,
            "見て <3 https://one.example/?a=1&amp;b=2 https://two.example/ と https://one.example/?a=1&amp;b=2 \
             https://x.com/me/status/1/photo/1"
        );
        let media: Vec<&Media> = tweet.media.iter().collect();
        assert!(tweet.expand(&tweet.text, &[], &media).ends_with("b=2"));
        assert_eq!(tweet.media[0].file, "ABC.jpg");
        assert_eq!(tweet.media[0].alt.as_deref(), Some("犬 & 猫"));
    }

    #[test]
    fn a_cut_text_finds_its_note() {
        let cut = tweet(json!({"full_text": "A long\n&gt; beginning… https://t.co/xyz"}));
        assert!(cut.is_cut);
        assert!(!tweet(json!({"full_text": "short https://t.co/xyz"})).is_cut);
        let note = Note::parse(&json!({"noteTweet": {
            "noteTweetId": "99", "createdAt": "2018-10-10T20:19:24.000Z",
            "core": {"text": "A long > beginning and its end https://t.co/q",
                     "urls": [{"shortUrl": "https://t.co/q", "expandedUrl": "https://q.example/"}]},
        }}))
        .unwrap();
        assert_eq!((note.tweet, note.created_at), (None, Some(cut.created_at)));
        assert!(note.continues(&cut.text));
        assert!(!note.continues("another"));
        assert!(!note.continues("… https://t.co/xyz"));
        assert!(
            cut.expand(&note.text, &note.links, &[])
                .ends_with("its end https://q.example/")
        );
        let joined = Note::parse(&json!({"noteTweet": {"tweetId": "12", "core": {"text": "t"}}})).unwrap();
        assert_eq!(joined.tweet, Some(12));
    }

    #[test]
    fn versions_of_an_edited_post() {
        let alone = tweet(json!({"edit_info": {"initial": {"editTweetIds": ["1050118621198921728"]}}}));
        assert_eq!(alone.replaced_by(), None);
        let ids = json!(["1050118621198921728", "1050118621198921999"]);
        let first = tweet(json!({"edit_info": {"initial": {"editTweetIds": ids}}}));
        assert_eq!(first.replaced_by(), Some(1_050_118_621_198_921_999));
        let last = tweet(json!({"id_str": "1050118621198921999",
            "edit_info": {"edit": {"initialTweetId": "1", "editControlInitial": {"editTweetIds": ids}}}}));
        assert_eq!((last.replaced_by(), last.versions.len()), (None, 2));
    }

    #[test]
    fn languages() {
        for (code, lang) in [
            ("ja", Some("ja")),
            ("und", None),
            ("qme", None),
            ("iw", Some("he")),
            ("zh-cn", Some("zh-cn")),
        ] {
            assert_eq!(language(code).as_deref(), lang, "{code}");
        }
        assert_eq!(language("x\"><b"), None);
    }
}
