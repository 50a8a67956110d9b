DROP TABLE compose_keys;
DROP TABLE posts;
DROP TABLE sessions;
DROP TABLE owner;
DROP TABLE site;
PRAGMA application_id = 0;
