//! Archives of Mastodon.

use serde_json::{Value, json};

use super::{Place, png};

const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";

fn note(n: u32, content: &str, more: Value) -> Value {
    let id = format!("https://m.example/users/me/statuses/{n}");
    let mut object = json!({
        "id": id, "type": "Note", "summary": null, "inReplyTo": null, "published": format!("2023-01-01T00:00:{n:02}Z"),
        "content": content, "contentMap": {"ja": content}, "attachment": [], "tag": [], "sensitive": false,
    });
    let mut item = json!({"id": format!("{id}/activity"), "type": "Create", "to": [PUBLIC], "cc": ["https://m.example/followers"]});
    for (key, value) in more.as_object().unwrap() {
        if key == "to" || key == "cc" {
            item[key] = value.clone();
        } else {
            object[key] = value.clone();
        }
    }
    item["object"] = object;
    item
}

fn archive(place: &Place) {
    let other = "https://n.example/1";
    let items = [
        note(
            5,
            "<p>an answer to myself</p>",
            json!({"inReplyTo": "https://m.example/users/me/statuses/1"}),
        ),
        note(
            1,
            "<p>first &amp; <a href=\"https://m.example/tags/rust\" class=\"mention hashtag\">#<span>rust</span></a></p>",
            json!({}),
        ),
        note(2, "<p>@x no</p>", json!({"inReplyTo": other})),
        note(
            3,
            "<p>more of that</p>",
            json!({"inReplyTo": "https://m.example/users/me/statuses/2"}),
        ),
        note(
            4,
            "<p>careful</p>",
            json!({"summary": "food *pics*", "sensitive": true}),
        ),
        note(
            6,
            "<p>quiet</p>",
            json!({"to": ["https://m.example/followers"], "cc": [PUBLIC]}),
        ),
        note(
            7,
            "<p>for followers</p>",
            json!({"to": ["https://m.example/followers"], "cc": []}),
        ),
        note(
            8,
            "",
            json!({"attachment": [
            {"type": "Document", "mediaType": "image/png", "url": "/media_attachments/files/1/a.png", "name": "a dog"},
            {"type": "Document", "mediaType": "video/mp4", "url": "/media_attachments/files/1/b.mp4", "name": null}]}),
        ),
        note(
            9,
            "<p>which?</p>",
            json!({"type": "Question", "oneOf": [{"type": "Note", "name": "tea"}, {"type": "Note", "name": "coffee"}]}),
        ),
        json!({"id": "https://m.example/boost", "type": "Announce", "object": "https://n.example/2"}),
    ];
    let outbox = json!({"@context": PUBLIC, "id": "outbox.json", "type": "OrderedCollection", "totalItems": items.len(), "orderedItems": items});
    place.write("archive/outbox.json", serde_json::to_vec_pretty(&outbox).unwrap());
    place.write("archive/actor.json", "{}");
    place.write("archive/media_attachments/files/1/a.png", png(3));
    place.write("archive/media_attachments/files/1/b.mp4", "video");
}

#[test]
fn posts_come_in_as_markdown() {
    let place = Place::new();
    archive(&place);
    let report = place.json(&["import", "mastodon", "archive"]);
    assert_eq!(
        (&report["read"], &report["imported"], &report["images"]),
        (&json!(10), &json!(7), &json!(1)),
        "{report:#}"
    );
    let rows = place.sql(
        "SELECT id || '|' || visibility || '|' || lang || '|' || coalesce(reply_to, '-') || '|' || body AS value FROM posts ORDER BY id",
    );
    assert_eq!(
        rows,
        [
            "1|public|ja|-|first & #rust",
            "2|public|ja|-|**food \\*pics\\***\n\ncareful",
            "3|public|ja|1|an answer to myself",
            "4|unlisted|ja|-|quiet",
            "5|private|ja|-|for followers",
            "6|public|ja|-|",
            "7|public|ja|-|which?\n\n- tea\n- coffee",
        ]
    );
    let reasons: Vec<_> = ["left_out", "noted"]
        .iter()
        .flat_map(|list| report[list].as_array().unwrap())
        .map(|thing| format!("{} {}", thing["reason"].as_str().unwrap(), thing["count"]))
        .collect();
    assert_eq!(
        reasons,
        ["boost 1", "reply 2", "media 1", "warning 1", "private 1", "poll 1"]
    );
    assert_eq!(place.sql("SELECT alt AS value FROM post_media"), ["a dog"]);
    assert_eq!(place.sql("SELECT folded AS value FROM tags"), ["rust"]);

    let again = place.json(&["import", "mastodon", "archive"]);
    assert_eq!((&again["imported"], &again["already"]), (&json!(0), &json!(7)));
    let all = place.json(&["import", "mastodon", "archive", "--include-replies"]);
    assert_eq!(all["imported"], 2);
}

#[test]
fn damage_is_named() {
    let place = Place::new();
    place.write("archive/outbox.json", "{\"orderedItems\": [{\"id\": 1}, {\"id\" 2}]}");
    let said = place.blog(&["import", "mastodon", "archive"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("outbox.json: byte 35") && said.err.contains("\nhint: "),
        "{}",
        said.err
    );
    place.write("other/x", "");
    let said = place.blog(&["import", "mastodon", "other"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("no outbox.json") && said.err.contains("\nhint: "),
        "{}",
        said.err
    );
}
