-- Keeps what the older schema can hold: notes that are published and listed.
DROP TABLE old_ids;
DROP TABLE post_media;
DROP TABLE media;
DROP TABLE post_tags;
DROP TABLE tags;
DROP TABLE revisions;

CREATE TEMPORARY TABLE new_posts AS SELECT * FROM posts;
CREATE TEMPORARY TABLE new_keys AS SELECT * FROM compose_keys;
DROP TABLE compose_keys;
DROP TABLE posts;

CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    uuid TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),
    body TEXT NOT NULL CHECK (length(body) > 0),
    created_at INTEGER NOT NULL,
    edited_at INTEGER CHECK (edited_at >= created_at)
) STRICT;

CREATE INDEX posts_newest_first ON posts (created_at DESC, id DESC);

INSERT INTO posts (id, uuid, body, created_at, edited_at)
    SELECT id, uuid, body, published_at, max(edited_at, published_at) FROM new_posts
    WHERE state = 'published' AND visibility = 'public' AND deleted_at IS NULL AND kind <> 'page' AND length(body) > 0;

CREATE TABLE compose_keys (
    key BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 16),
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 32),
    post_id INTEGER REFERENCES posts (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX compose_keys_post ON compose_keys (post_id);
INSERT INTO compose_keys
    SELECT key, body_hash, (SELECT id FROM posts WHERE posts.id = post_id), created_at FROM new_keys;
DROP TABLE new_posts;
DROP TABLE new_keys;

DROP TABLE api_tokens;
DROP TABLE recovery_codes;
ALTER TABLE owner DROP COLUMN totp_step;
ALTER TABLE owner DROP COLUMN totp_secret;

DROP TABLE sessions;
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 0;
