//! Archives of X as the tests make them, with every oddity that real ones have.

use serde_json::{Value, json};

/// The number of the account.
pub const ME: &str = "12345";
/// 2018-10-10T20:19:24Z.
const FIRST: u64 = 1_050_118_621_198_921_728;

/// The id of the post that was written `n` minutes after the first.
pub fn id(n: u64) -> u64 {
    FIRST + ((n * 60_000) << 22)
}

/// A post as `tweets.js` has it. `more` replaces or adds fields.
pub fn tweet(n: u64, text: &str, more: Value) -> Value {
    let seconds = 1_539_202_764 + i64::try_from(n).unwrap() * 60;
    let mut tweet = json!({
        "edit_info": {"initial": {"editTweetIds": [id(n).to_string()], "editableUntil": "2018-10-10T21:19:24.000Z",
                                  "editsRemaining": "5", "isEditEligible": true}},
        "retweeted": false,
        "source": "<a href=\"https://mobile.example/\" rel=\"nofollow\">Web App</a>",
        "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
        "display_text_range": ["0", "10"],
        "favorite_count": "3",
        "id_str": id(n).to_string(),
        "truncated": false,
        "retweet_count": "0",
        "id": id(n).to_string(),
        "created_at": time(seconds),
        "favorited": false,
        "full_text": text,
        "lang": "ja",
    });
    for (key, value) in more.as_object().unwrap() {
        tweet[key] = value.clone();
    }
    json!({ "tweet": tweet })
}

/// `Wed Oct 10 20:19:24 +0000 2018`.
pub fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let number: usize = time[5..7].parse().unwrap();
    // Nobody reads the day of the week.
    format!(
        "Wed {} {} {} +0000 {}",
        month[number - 1],
        &time[8..10],
        &time[11..19],
        &time[0..4]
    )
}

/// An answer to an own post.
pub fn answer(n: u64, text: &str, to: u64) -> Value {
    tweet(
        n,
        text,
        json!({"in_reply_to_status_id_str": id(to).to_string(), "in_reply_to_status_id": id(to).to_string(),
               "in_reply_to_user_id_str": ME, "in_reply_to_user_id": ME, "in_reply_to_screen_name": "me"}),
    )
}

/// An answer to somebody else.
pub fn answer_to_other(n: u64, text: &str) -> Value {
    tweet(
        n,
        text,
        json!({"in_reply_to_status_id_str": "77", "in_reply_to_user_id_str": "999", "in_reply_to_screen_name": "other"}),
    )
}

/// `window.YTD.NAME.partN = [...]`, as it is written into the zip.
pub fn script(name: &str, part: usize, elements: &[Value]) -> String {
    let elements: Vec<String> = elements
        .iter()
        .map(|e| serde_json::to_string_pretty(e).unwrap())
        .collect();
    format!("window.YTD.{name}.part{part} = [\n  {}\n]", elements.join(",\n  "))
}

/// A picture of a post.
pub fn photo(short: &str, file: &str, alt: Option<&str>) -> Value {
    let mut photo = json!({
        "expanded_url": "https://twitter.com/me/status/1/photo/1", "indices": ["10", "33"], "url": short,
        "media_url": format!("http://pbs.twimg.com/media/{file}"), "id_str": "1", "type": "photo",
        "media_url_https": format!("https://pbs.twimg.com/media/{file}"), "display_url": "pic.twitter.com/x",
    });
    if let Some(alt) = alt {
        photo["ext_alt_text"] = json!(alt);
    }
    photo
}
