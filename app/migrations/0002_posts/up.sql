-- The schema's number, for `blog check` and for whoever opens the file with another tool.
PRAGMA user_version = 2;

-- Sessions get a number of their own, so that a list of them can name one without telling its hash.
-- Whoever is signed in signs in again.
DROP TABLE sessions;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    label TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- The second factor (RFC 6238). `totp_step` is the last time step that was used: a code signs in once.
ALTER TABLE owner ADD COLUMN totp_secret BLOB CHECK (length(totp_secret) >= 16);
ALTER TABLE owner ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;

-- For a lost phone: each code signs in once, and only its hash is kept.
CREATE TABLE recovery_codes (
    code_hash BLOB PRIMARY KEY NOT NULL CHECK (length(code_hash) = 32),
    created_at INTEGER NOT NULL
) STRICT;

-- For programs that post. `scopes` is a list of words with single spaces between them.
CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    name TEXT NOT NULL CHECK (length(name) > 0),
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    expires_at INTEGER
) STRICT;

-- Dropping a table deletes its rows first, which would empty `compose_keys.post_id`: so both are made anew.
CREATE TEMPORARY TABLE old_posts AS SELECT * FROM posts;
CREATE TEMPORARY TABLE old_keys AS SELECT * FROM compose_keys;
DROP TABLE compose_keys;
DROP TABLE posts;

-- `state` and not the clock says what readers see: a Pi whose clock lags after a power cut must not hide what was
-- published. What is scheduled becomes published when its time has come.
-- `published_at` is the date that readers see; it may lie before `created_at` (back-dated, imported).
-- `thread` is the first post of a thread with oneself, `reply_to` the one before.
-- Readers see what is published and not deleted. Unlisted posts are reached by their uuid alone.
CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    uuid TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),
    kind TEXT NOT NULL DEFAULT 'note' CHECK (kind IN ('note', 'article', 'link', 'page')),
    state TEXT NOT NULL DEFAULT 'published' CHECK (state IN ('draft', 'scheduled', 'published')),
    visibility TEXT NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'unlisted', 'private')),
    title TEXT CHECK (length(title) > 0),
    slug TEXT UNIQUE CHECK (length(slug) > 0),
    link TEXT CHECK (length(link) > 0),
    lang TEXT CHECK (length(lang) > 0),
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    published_at INTEGER,
    edited_at INTEGER,
    deleted_at INTEGER,
    pinned_at INTEGER,
    reply_to INTEGER REFERENCES posts (id) ON DELETE SET NULL,
    thread INTEGER REFERENCES posts (id) ON DELETE SET NULL,
    CHECK (state = 'draft' OR published_at IS NOT NULL),
    CHECK (state = 'draft' OR kind <> 'page' OR slug IS NOT NULL),
    CHECK (state = 'draft' OR kind <> 'link' OR link IS NOT NULL),
    CHECK (state = 'draft' OR kind NOT IN ('article', 'page') OR title IS NOT NULL)
) STRICT;

-- The front page, the archive and the feeds: exactly the rows that anybody may list, from newest to oldest.
CREATE INDEX posts_listed ON posts (published_at DESC, id DESC)
    WHERE state = 'published' AND visibility = 'public' AND deleted_at IS NULL AND kind <> 'page';
CREATE INDEX posts_newest_first ON posts (published_at DESC, id DESC);
CREATE INDEX posts_scheduled ON posts (published_at) WHERE state = 'scheduled';
CREATE INDEX posts_thread ON posts (thread, id) WHERE thread IS NOT NULL;
CREATE INDEX posts_reply_to ON posts (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX posts_pinned ON posts (pinned_at) WHERE pinned_at IS NOT NULL;
CREATE INDEX posts_deleted ON posts (deleted_at) WHERE deleted_at IS NOT NULL;

INSERT INTO posts (id, uuid, body, created_at, published_at, edited_at)
    SELECT id, uuid, body, created_at, created_at, edited_at FROM old_posts;

CREATE TABLE compose_keys (
    key BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 16),
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 32),
    post_id INTEGER REFERENCES posts (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX compose_keys_post ON compose_keys (post_id);
INSERT INTO compose_keys SELECT key, body_hash, post_id, created_at FROM old_keys;
DROP TABLE old_posts;
DROP TABLE old_keys;

-- What a post was before an edit; `replaced_at` is the time of that edit.
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    post_id INTEGER NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    title TEXT,
    link TEXT,
    body TEXT NOT NULL,
    replaced_at INTEGER NOT NULL
) STRICT;
CREATE INDEX revisions_post ON revisions (post_id, id);

-- `folded` is the name as it is compared and as it stands in addresses (NFKC, lower case); `name` is how it is shown.
CREATE TABLE tags (
    id INTEGER PRIMARY KEY NOT NULL,
    folded TEXT NOT NULL UNIQUE CHECK (length(folded) > 0),
    name TEXT NOT NULL CHECK (length(name) > 0)
) STRICT;
CREATE TABLE post_tags (
    post_id INTEGER NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    tag_id INTEGER NOT NULL REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (post_id, tag_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX post_tags_tag ON post_tags (tag_id, post_id);

-- Images: the file lies in the media directory under its SHA-256, as it was stored (without metadata).
CREATE TABLE media (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    mime TEXT NOT NULL CHECK (mime IN ('image/jpeg', 'image/png', 'image/webp')),
    width INTEGER NOT NULL CHECK (width > 0),
    height INTEGER NOT NULL CHECK (height > 0),
    bytes INTEGER NOT NULL CHECK (bytes > 0),
    created_at INTEGER NOT NULL
) STRICT;
-- `alt` is never missing; '' says that the owner called the image a decoration.
CREATE TABLE post_media (
    post_id INTEGER NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position >= 0),
    media_id INTEGER NOT NULL REFERENCES media (id),
    alt TEXT NOT NULL,
    PRIMARY KEY (post_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX post_media_media ON post_media (media_id);

-- What a post was called where it was imported from: old links resolve, and an import that is run again adds nothing.
CREATE TABLE old_ids (
    source TEXT NOT NULL CHECK (length(source) > 0),
    old_id TEXT NOT NULL CHECK (length(old_id) > 0),
    post_id INTEGER NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    PRIMARY KEY (source, old_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX old_ids_post ON old_ids (post_id);
