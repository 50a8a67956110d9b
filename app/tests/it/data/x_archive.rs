//! Archives of X: what comes in, what is left out and told, and what is refused.

use serde_json::json;

use super::archives::{self, ME, answer, answer_to_other, id, photo, script, tweet};
use super::{Place, png, zip};
use crate::app::TestApp;

/// Name and content of every file of an archive with all oddities.
fn files() -> Vec<(String, Vec<u8>)> {
    let long = "長い文章です。".repeat(60);
    let cut: String = long.chars().take(130).collect();
    let edited = json!({"edit_info": {"edit": {"initialTweetId": id(40).to_string(), "editControlInitial": {
        "editTweetIds": [id(40).to_string(), id(41).to_string()]}}}});
    let first = json!({"edit_info": {"initial": {"editTweetIds": [id(40).to_string(), id(41).to_string()]}}});
    let media = |photos: &[serde_json::Value]| json!({"entities": {"media": [photos[0]]}, "extended_entities": {"media": photos}});
    // From newest to oldest, as X has them.
    let newer = [
        tweet(90, "for a few", json!({})),
        tweet(80, "", json!({})),
        tweet(70, "RT @other: something", json!({})),
        tweet(41, "corrected", edited),
        tweet(40, "corected", first),
        answer(31, "after a reply to somebody", 30),
        answer_to_other(30, "@other yes"),
        tweet(29, "@other by name", json!({"in_reply_to_user_id_str": "999"})),
        answer(28, "what this answers is gone", 27),
        answer(12, "third", 11),
        answer(11, "second", 10),
        tweet(10, "first of a thread #ラズパイ", json!({"lang": "und"})),
    ];
    let older = [
        tweet(6, "&lt;b&gt; *not bold* &amp;amp; snake_case", json!({"lang": "en"})),
        tweet(
            5,
            "see https://t.co/ab and https://t.co/abc",
            json!({"entities": {"urls": [
            {"url": "https://t.co/ab", "expanded_url": "https://one.example/?a=1&b=2", "indices": ["4", "19"]},
            {"url": "https://t.co/abc", "expanded_url": "https://two.example/a_b_c", "indices": ["24", "40"]}]}}),
        ),
        tweet(
            4,
            "two pictures https://t.co/pic",
            media(&[
                photo("https://t.co/pic", "AAA.png", Some("a &amp; b")),
                photo("https://t.co/pic", "BBB.png", None),
            ]),
        ),
        tweet(
            3,
            "a film https://t.co/vid",
            json!({"extended_entities": {"media": [{
            "type": "video", "url": "https://t.co/vid", "expanded_url": "https://twitter.com/me/status/1/video/1",
            "media_url_https": "https://pbs.twimg.com/ext_tw_video_thumb/1/pu/img/CCC.jpg"}]}}),
        ),
        tweet(
            2,
            "lost https://t.co/los",
            media(&[photo("https://t.co/los", "DDD.jpg", Some("gone"))]),
        ),
        tweet(1, &format!("{cut}… https://t.co/more"), json!({})),
        tweet(0, "old #Rust", json!({"created_at": "Wed Oct 10 20:19:24 +0000 2018"})),
        json!({"tweet": {"id_str": "5"}}),
        tweet(0, "the same again", json!({})),
    ];
    let note = json!({"noteTweet": {"noteTweetId": "1", "createdAt": "2018-10-10T20:20:24.000Z", "lifecycle": {"name": "Active"},
        "core": {"text": format!("{long} https://t.co/in"), "hashtags": [], "mentions": [],
                 "urls": [{"shortUrl": "https://t.co/in", "expandedUrl": "https://in.example/"}]}}});
    let account = json!({"account": {"email": "me@example.org", "accountId": ME, "username": "me"}});
    let circle = tweet(90, "for a few", json!({}));
    let mut files: Vec<(String, Vec<u8>)> = [
        ("account.js", script("account", 0, &[account])),
        ("tweets.js", script("tweets", 0, &newer)),
        ("tweets-part1.js", script("tweets", 1, &older) + ";\n"),
        ("note-tweet.js", script("note_tweet", 0, &[note])),
        ("twitter-circle-tweet.js", script("twitter_circle_tweet", 0, &[circle])),
        ("deleted-tweets.js", script("deleted_tweets", 0, &[])),
        ("community-tweet.js", script("community_tweet", 0, &[])),
        (
            "direct-messages.js",
            "window.YTD.direct_messages.part0 = this is not even JSON".to_owned(),
        ),
        ("tweet-headers.js", script("tweet_headers", 0, &[])),
    ]
    .into_iter()
    .map(|(name, text)| (format!("data/{name}"), text.into_bytes()))
    .collect();
    files.push((format!("data/tweets_media/{}-AAA.png", id(4)), png(1)));
    files.push((format!("data/tweets_media/{}-BBB.png", id(4)), png(2)));
    files.push(("Your archive.html".to_owned(), b"<html>".to_vec()));
    files
}

fn unpacked(place: &Place, name: &str) {
    for (file, content) in files() {
        place.write(&format!("{name}/{file}"), content);
    }
}

fn packed(place: &Place, name: &str, inside: &str) {
    let files = files();
    let files: Vec<(String, &[u8])> = files
        .iter()
        .map(|(n, c)| (format!("{inside}{n}"), c.as_slice()))
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    zip(&place.path(name), &files);
}

fn reason<'a>(report: &'a serde_json::Value, list: &str, reason: &str) -> &'a serde_json::Value {
    let found = report[list]
        .as_array()
        .unwrap()
        .iter()
        .find(|thing| thing["reason"] == reason);
    found.unwrap_or_else(|| panic!("no {reason} in {report:#}"))
}

/// Everything that an import wrote, without what is new each time.
fn content(place: &Place) -> Vec<String> {
    place.sql(
        "SELECT p.id || '|' || p.kind || '|' || p.state || '|' || p.visibility || '|' || coalesce(p.lang, '-') || '|' \
         || p.published_at || '|' || coalesce(p.edited_at, '-') || '|' || coalesce(p.reply_to, '-') || '|' \
         || coalesce(p.thread, '-') || '|' || p.body AS value FROM posts p ORDER BY p.id",
    )
}

#[test]
fn everything_comes_in_and_what_does_not_is_told() {
    let place = Place::new();
    unpacked(&place, "archive");
    let report = place.json(&["import", "x-archive", "archive"]);

    let long = "長い文章です。".repeat(60);
    let text = |n: u64| {
        let found = place.sql(&format!(
            "SELECT body AS value FROM posts JOIN old_ids ON post_id = posts.id WHERE source = 'x' AND old_id = '{}'",
            id(n)
        ));
        found.first().cloned().unwrap_or_else(|| "(left out)".to_owned())
    };
    assert_eq!(text(0), "old #Rust");
    assert_eq!(text(1), format!("{long} https://in.example/"));
    assert_eq!(text(2), "lost https://twitter.com/me/status/1/photo/1");
    assert_eq!(text(3), "a film https://twitter.com/me/status/1/video/1");
    assert_eq!(text(4), "two pictures");
    assert_eq!(
        text(5),
        "see https://one.example/?a=1&b=2 and https://two.example/a_b_c"
    );
    assert_eq!(text(6), "\\<b> \\*not bold\\* \\&amp; snake_case");
    assert_eq!(text(28), "what this answers is gone");
    for left_out in [29, 30, 31, 70, 80] {
        assert_eq!(text(left_out), "(left out)", "{left_out}");
    }
    assert_eq!(text(40), "corrected");
    assert_eq!(text(41), "corrected");

    // Oldest first, threads in order, back-dated.
    let rows = content(&place);
    assert_eq!(rows.len(), 13, "{rows:#?}");
    assert!(
        rows[0].starts_with("1|note|published|public|ja|1539202764|-|-|-|old"),
        "{rows:#?}"
    );
    let thread: Vec<&String> = rows
        .iter()
        .filter(|row| row.contains("first of") || row.contains("second") || row.contains("third"))
        .collect();
    assert!(
        thread[0].starts_with("8|note|published|public|-|1539203364|-|-|-|first of"),
        "{thread:#?}"
    );
    assert!(
        thread[1].starts_with("9|note|published|public|ja|1539203424|-|8|8|second"),
        "{thread:#?}"
    );
    assert!(
        thread[2].starts_with("10|note|published|public|ja|1539203484|-|9|8|third"),
        "{thread:#?}"
    );
    let edited = rows.iter().find(|row| row.ends_with("corrected")).unwrap();
    assert!(edited.contains("|1539205164|1539205224|"), "{edited}");
    assert!(
        rows.iter()
            .any(|row| row.contains("|private|") && row.ends_with("for a few")),
        "{rows:#?}"
    );
    assert_eq!(
        place.sql("SELECT folded AS value FROM tags ORDER BY folded"),
        ["rust", "ラズパイ"]
    );
    assert_eq!(
        place.sql("SELECT position || alt AS value FROM post_media ORDER BY position"),
        ["0a & b", "1"]
    );
    let stored: Vec<_> = std::fs::read_dir(place.path("blog.db.media")).unwrap().collect();
    assert_eq!(stored.len(), 2);
    for file in stored {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"tEXt"), "metadata is gone");
    }

    assert_eq!(
        (&report["read"], &report["imported"], &report["images"]),
        (&json!(21), &json!(13), &json!(2))
    );
    for (list, word, count) in [
        ("left_out", "retweet", 1),
        ("left_out", "reply", 3),
        ("left_out", "older-version", 1),
        ("left_out", "empty", 1),
        ("left_out", "unreadable", 1),
        ("left_out", "twice", 1),
        ("left_out", "video", 1),
        ("left_out", "missing-image", 1),
        ("left_out", "deleted", 1),
        ("left_out", "community", 1),
        ("left_out", "messages", 1),
        ("noted", "orphan", 1),
        ("noted", "circle", 1),
        ("noted", "no-alt", 1),
    ] {
        assert_eq!(reason(&report, list, word)["count"], count, "{word}");
    }
    assert_eq!(reason(&report, "left_out", "retweet")["first"][0], id(70).to_string());
    assert!(
        reason(&report, "left_out", "unreadable")["first"][0]
            .as_str()
            .unwrap()
            .contains("created_at")
    );
}

#[test]
fn a_zip_gives_the_same_as_a_directory_and_twice_gives_nothing_more() {
    let place = Place::new();
    unpacked(&place, "archive");
    place.json(&["import", "x-archive", "archive"]);
    let wanted = content(&place);

    let again = place.json(&["import", "x-archive", "archive"]);
    assert_eq!(
        (&again["imported"], &again["already"]),
        (&json!(0), &json!(13)),
        "{again:#}"
    );
    assert_eq!(content(&place), wanted);

    for inside in ["", "twitter-2026-07-05/"] {
        let other = Place::new();
        packed(&other, "archive.zip", inside);
        let before = other.json(&["import", "x-archive", "archive.zip", "--dry-run"]);
        assert_eq!(before["imported"], 13);
        assert!(
            !other.database().exists() && !other.path("blog.db.media").exists(),
            "a dry run writes nothing"
        );
        other.json(&["import", "x-archive", "archive.zip"]);
        assert_eq!(content(&other), wanted);
        let dry = other.json(&["import", "x-archive", "archive.zip", "--dry-run"]);
        assert_eq!(
            (&dry["imported"], &dry["already"], &dry["dry_run"]),
            (&json!(0), &json!(13), &json!(true))
        );
    }
}

#[test]
fn what_may_be_chosen() {
    let place = Place::new();
    unpacked(&place, "archive");
    let report = place.json(&[
        "import",
        "x-archive",
        "archive",
        "--include-replies",
        "--include-retweets",
        "--visibility",
        "unlisted",
    ]);
    assert_eq!(report["imported"], 17, "{report:#}");
    let rows = content(&place);
    assert!(
        rows.iter()
            .any(|row| row.contains("|unlisted|") && row.ends_with("RT @other: something")),
        "{rows:#?}"
    );
    let answered = rows
        .iter()
        .find(|row| row.ends_with("after a reply to somebody"))
        .unwrap();
    let reply = rows.iter().find(|row| row.ends_with("@other yes")).unwrap();
    let number = reply.split('|').next().unwrap();
    assert!(answered.contains(&format!("|{number}|{number}|")), "{answered} {reply}");
    let said = place.blog(&["import", "x-archive", "archive", "--visibility", "secret"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("secret") && said.err.contains("\nhint: "), "{said:?}");
}

#[test]
fn people_read_what_happened() {
    let place = Place::new();
    unpacked(&place, "archive");
    let said = place.blog(&["import", "x-archive", "archive"]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("      13  imported\n"), "{}", said.out);
    assert!(
        said.out
            .contains(&format!("--include-retweets takes them along ({})\n", id(70))),
        "{}",
        said.out
    );
}

#[test]
fn imported_posts_are_read_in_the_blog() {
    let place = Place::new();
    unpacked(&place, "archive");
    place.json(&["import", "x-archive", "archive"]);
    let app = TestApp::start_in(place.directory, &[], None);
    let mut reader = app.reader();
    let front = reader.get("/").body;
    assert!(front.contains("*not bold* &amp;amp; snake_case"), "{front}");
    assert!(front.contains("https://two.example/a_b_c"), "{front}");
    assert!(!front.contains("for a few"), "{front}");
}

#[test]
fn damage_is_named_and_nothing_is_imported() {
    let good = script("tweets", 0, &[tweet(1, "good", json!({}))]);
    let broken = format!(
        "{},\n  {{\"tweet\": {{\"id_str\": 7,}}}}\n]",
        good.trim_end_matches("\n]")
    );
    let cut = &good[..good.len() - 40];
    for (name, text, says) in [
        ("broken", broken.as_str(), "data/tweets.js: byte "),
        ("cut", cut, "ends in the middle of the element that begins at byte 30"),
        ("html", "<html>Sign in</html>", "ends before an array begins"),
    ] {
        let place = Place::new();
        place.write(&format!("{name}/data/tweets.js"), text);
        let said = place.blog(&["import", "x-archive", name]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains(says) && said.err.contains("\nhint: "),
            "{name}: {}",
            said.err
        );
        assert_eq!(place.sql("SELECT count(*) || '' AS value FROM posts"), ["0"]);
    }
    // The byte is the one where the file goes wrong.
    let place = Place::new();
    place.write("a/data/tweets.js", &broken);
    let said = place.blog(&["import", "x-archive", "a"]);
    let at: usize = said
        .err
        .split("byte ")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(&broken[at..at + 1], "}", "{}", said.err);

    let place = Place::new();
    place.write("b/other.txt", "x");
    for path in ["b", "none", "b/other.txt"] {
        let said = place.blog(&["import", "x-archive", path]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(path) && said.err.contains("\nhint: "), "{}", said.err);
    }
}

#[test]
fn hostile_archives_are_refused() {
    let tweets = script("tweets", 0, &[tweet(1, "x", json!({}))]);
    let place = Place::new();

    // A link in a directory, in place of the posts and of a picture.
    place.write("secret", "window.YTD = [{\"tweet\": {}}]");
    std::fs::create_dir_all(place.path("linked/data")).unwrap();
    std::os::unix::fs::symlink(place.path("secret"), place.path("linked/data/tweets.js")).unwrap();
    let said = place.blog(&["import", "x-archive", "linked"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("symbolic link"), "{}", said.err);

    // A name that leads out of the zip.
    zip(
        &place.path("out.zip"),
        &[("data/tweets.js", tweets.as_bytes()), ("xx/evil.js", b"x")],
    );
    let mut bytes = std::fs::read(place.path("out.zip")).unwrap();
    while let Some(at) = bytes.windows(10).position(|ten| ten == b"xx/evil.js") {
        bytes[at..at + 2].copy_from_slice(b"..");
    }
    std::fs::write(place.path("out.zip"), bytes).unwrap();
    let said = place.blog(&["import", "x-archive", "out.zip"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("leads out of it") && said.err.contains("../evil.js"),
        "{}",
        said.err
    );

    // A bomb: 100 MB of nothing.
    zip(&place.path("bomb.zip"), &[("data/tweets.js", &vec![b' '; 100 << 20])]);
    assert!(place.path("bomb.zip").metadata().unwrap().len() < 200_000);
    let said = place.blog(&["import", "x-archive", "bomb.zip"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("zip bomb"), "{}", said.err);

    // One post without an end.
    place.write(
        "endless/data/tweets.js",
        format!("x = [{{\"tweet\": {{\"full_text\": \"{}", "x".repeat(9 << 20)),
    );
    let said = place.blog(&["import", "x-archive", "endless"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("more than 8 MiB"), "{}", said.err);

    // A file that calls itself a picture.
    let post = tweet(
        1,
        "x https://t.co/p",
        json!({"extended_entities": {"media": [photo("https://t.co/p", "E.jpg", None)]}}),
    );
    place.write("fake/data/tweets.js", script("tweets", 0, &[post]));
    place.write(
        &format!("fake/data/tweets_media/{}-E.jpg", id(1)),
        "<svg onload=alert(1)>",
    );
    let report = place.json(&["import", "x-archive", "fake"]);
    assert_eq!(report["images"], 0);
    assert_eq!(reason(&report, "left_out", "refused-image")["count"], 1);
}

/// In 2018 and 2019 the images were in a zip of their own inside the zip.
#[test]
fn a_zip_in_a_zip() {
    let post = |n: u64, file: &str| {
        let photo = photo("https://t.co/p", file, Some("seen"));
        tweet(n, "x https://t.co/p", json!({"extended_entities": {"media": [photo]}}))
    };
    let posts = [post(3, "C.png"), post(2, "B.png"), post(1, "A.png")];
    let posts = script("tweet", 0, &posts);
    let place = Place::new();
    let inner = |files: &[(&str, &[u8])]| {
        zip(&place.path("inner.zip"), files);
        std::fs::read(place.path("inner.zip")).unwrap()
    };
    let (name, below) = (format!("{}-A.png", id(1)), format!("tweet_media/{}-B.png", id(2)));
    let album = inner(&[(&name, &png(1)), (&below, &png(2)), ("more.zip", b"PK\x05\x06")]);
    let third = format!("tweet_media/{}-C.png", id(3));
    zip(
        &place.path("old.zip"),
        &[
            ("tweet.js", posts.as_bytes()),
            ("tweet_media/tweet-media.ZIP", &album),
            (&third, &png(3)),
        ],
    );
    let dry = place.json(&["import", "x-archive", "old.zip", "--dry-run"]);
    assert_eq!((&dry["imported"], &dry["images"]), (&json!(3), &json!(3)), "{dry:#}");
    let report = place.json(&["import", "x-archive", "old.zip"]);
    assert_eq!(
        (&report["imported"], &report["images"]),
        (&json!(3), &json!(3)),
        "{report:#}"
    );
    assert_eq!(place.sql("SELECT count(*) || '' AS value FROM post_media"), ["3"]);
    let after = std::fs::read_dir(place.directory.path()).unwrap();
    let left = after.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0, "what was unpacked is gone");

    // Bombs inside, and what is no zip: refused by name, before anything is written.
    let there = Place::new();
    let bomb = inner(&[("a.png", &vec![0; 100 << 20])]);
    for (content, word) in [
        (&bomb[..], "zip bomb"),
        (b"PK", "neither a directory nor a zip"),
        (&album[..200], "zip"),
    ] {
        let files = [("tweet.js", posts.as_bytes()), ("tweet_media/x.zip", content)];
        zip(&there.path("bad.zip"), &files);
        let said = there.blog(&["import", "x-archive", "bad.zip"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains("bad.zip: tweet_media/x.zip") && said.err.contains(word),
            "{}",
            said.err
        );
        assert_eq!(there.sql("SELECT count(*) || '' AS value FROM posts"), ["0"]);
    }

    // The whole packed twice: it is said what to do.
    let whole = std::fs::read(place.path("old.zip")).unwrap();
    zip(&place.path("twice.zip"), &[("twitter-2019.zip", &whole)]);
    for kind in ["x-archive", "mastodon", "export", "markdown"] {
        let said = place.blog(&["import", kind, "twice.zip"]);
        assert_eq!(said.code, 2);
        assert!(
            said.err.contains("it has twitter-2019.zip in it: unpack that one"),
            "{}",
            said.err
        );
    }
}

#[test]
fn older_archives_have_other_names() {
    let place = Place::new();
    let first = archives::answer(2, "second", 1);
    place.write("a/tweet.js", script("tweet", 0, &[first, tweet(1, "first", json!({}))]));
    let report = place.json(&["import", "x-archive", "a"]);
    assert_eq!(
        report["imported"], 2,
        "the owner is found without account.js: {report:#}"
    );
    assert_eq!(
        place.sql("SELECT coalesce(reply_to, 0) || '' AS value FROM posts ORDER BY id"),
        ["0", "1"]
    );
}
