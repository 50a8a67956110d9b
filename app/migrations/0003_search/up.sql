PRAGMA user_version = 3;

-- The pages of the menu, in its order.
CREATE INDEX posts_menu ON posts (title)
    WHERE kind = 'page' AND state = 'published' AND visibility = 'public' AND deleted_at IS NULL;

-- What is searched: title, text without marks, alternative texts, tags and link of every post, folded (domain/fold.rs).
CREATE TABLE search_texts (
    post_id INTEGER PRIMARY KEY NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;

-- Every three characters in a row, so that parts of words are found, and words of languages without spaces.
-- The text itself stays in `search_texts`; it is folded already.
CREATE VIRTUAL TABLE search_index USING fts5 (
    text, content = 'search_texts', content_rowid = 'post_id', tokenize = 'trigram case_sensitive 1'
);
CREATE TRIGGER search_texts_insert AFTER INSERT ON search_texts BEGIN
    INSERT INTO search_index (rowid, text) VALUES (new.post_id, new.text);
END;
CREATE TRIGGER search_texts_delete AFTER DELETE ON search_texts BEGIN
    INSERT INTO search_index (search_index, rowid, text) VALUES ('delete', old.post_id, old.text);
END;
CREATE TRIGGER search_texts_update AFTER UPDATE ON search_texts BEGIN
    INSERT INTO search_index (search_index, rowid, text) VALUES ('delete', old.post_id, old.text);
    INSERT INTO search_index (rowid, text) VALUES (new.post_id, new.text);
END;

-- Folding needs the program. So whatever changes a post only notes its number here, and the program brings the text up
-- to date in the same transaction (db/queries/search.rs). What another program changed is caught up at the next start.
CREATE TABLE search_stale (
    post_id INTEGER PRIMARY KEY NOT NULL
) STRICT;
CREATE TRIGGER search_stale_post_insert AFTER INSERT ON posts BEGIN
    INSERT INTO search_stale VALUES (new.id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_post_update AFTER UPDATE OF title, link, body ON posts BEGIN
    INSERT INTO search_stale VALUES (new.id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_media_insert AFTER INSERT ON post_media BEGIN
    INSERT INTO search_stale VALUES (new.post_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_media_update AFTER UPDATE ON post_media BEGIN
    INSERT INTO search_stale VALUES (new.post_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_media_delete AFTER DELETE ON post_media BEGIN
    INSERT INTO search_stale VALUES (old.post_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_tags_insert AFTER INSERT ON post_tags BEGIN
    INSERT INTO search_stale VALUES (new.post_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER search_stale_tags_delete AFTER DELETE ON post_tags BEGIN
    INSERT INTO search_stale VALUES (old.post_id) ON CONFLICT DO NOTHING;
END;
INSERT INTO search_stale SELECT id FROM posts;
