PRAGMA user_version = 2;

DROP TRIGGER search_stale_tags_delete;
DROP TRIGGER search_stale_tags_insert;
DROP TRIGGER search_stale_media_delete;
DROP TRIGGER search_stale_media_update;
DROP TRIGGER search_stale_media_insert;
DROP TRIGGER search_stale_post_update;
DROP TRIGGER search_stale_post_insert;
DROP TABLE search_stale;
DROP TABLE search_index;
DROP TABLE search_texts;
DROP INDEX posts_menu;
