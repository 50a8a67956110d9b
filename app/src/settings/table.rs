//! The one list of settings.

use super::value::{bytes, cost, hosts, lang, listen, log, mode, number, seconds, span, title, url, yes_or_no, zone};
use super::{OwnerPassword, Setting};

/// Every setting, in the order in which people read of them.
pub const TABLE: &[Setting] = &[
    Setting {
        default: "127.0.0.1:8080",
        image: "0.0.0.0:8080",
        set: |settings, text| listen(text).map(|value| settings.listen = value),
        ..flag(
            "listen",
            "PLACE",
            "where readers come: `ADDR:PORT`, `unix:PATH` or `off`",
        )
    },
    Setting {
        default: "127.0.0.1:8081",
        image: "0.0.0.0:8081",
        set: |settings, text| listen(text).map(|value| settings.admin_listen = value),
        ..flag(
            "admin-listen",
            "PLACE",
            "where the owner comes, to everything; the same place as `listen` for both",
        )
    },
    Setting {
        default: "660",
        set: |settings, text| mode(text).map(|value| settings.socket_mode = value),
        ..flag("socket-mode", "MODE", "permissions of `unix:` sockets, in octal")
    },
    Setting {
        set: |settings, text| hosts(text).map(|value| settings.hosts = value),
        ..flag(
            "hosts",
            "NAME,...",
            "more names that the blog answers to; IP addresses and `localhost` always",
        )
    },
    Setting {
        default: "./blog.db",
        image: "/data/blog.db",
        set: |settings, text| {
            text.clone_into(&mut settings.database);
            Ok(())
        },
        ..flag("database", "FILE", "the file with all posts")
    },
    Setting {
        set: |settings, text| {
            settings.media.directory = text.into();
            Ok(())
        },
        ..flag("media", "DIR", "directory of the images; FILE.media when not set")
    },
    Setting {
        default: "10M",
        set: |settings, text| bytes(text, 16 << 10, 256 << 20).map(|value| settings.media.limits.bytes = value as u64),
        ..flag("image-bytes", "BYTES", "largest image, also with K or M")
    },
    Setting {
        default: "50",
        set: |settings, text| {
            number(text, 1, 1000).map(|value| settings.media.limits.pixels = value as u64 * 1_000_000)
        },
        ..flag("image-megapixels", "NUMBER", "largest image, in millions of pixels")
    },
    Setting {
        default: "Blog",
        set: |settings, text| title(text).map(|value| settings.title = value),
        ..flag("title", "TEXT", "name of the blog")
    },
    Setting {
        set: |settings, text| url(text).map(|value| settings.base_url = value),
        ..flag("base-url", "URL", "the blog's address, for links in feeds")
    },
    Setting {
        set: |settings, text| url(text).map(|value| settings.admin_url = value),
        ..flag("admin-url", "URL", "the owner's address, where it is another one")
    },
    Setting {
        default: "0",
        is_switch: true,
        set: |settings, text| yes_or_no(text).map(|value| settings.secure_cookie = !value),
        ..flag("insecure-cookie", "0|1", "sign in over plain http")
    },
    Setting {
        default: "auto",
        set: |settings, text| lang(text).map(|value| settings.lang = value),
        ..flag(
            "lang",
            "auto|en|ja",
            "language of the pages; `auto` is what the browser asks for",
        )
    },
    Setting {
        default: "UTC",
        set: |settings, text| zone(text).map(|value| settings.zone = value),
        ..flag("utc-offset", "UTC|+HH:MM", "what times are shown in, as in `+09:00`")
    },
    Setting {
        is_flag: false,
        set: |settings, text| {
            settings.owner_password = (!text.is_empty()).then(|| OwnerPassword(text.to_owned()));
            Ok(())
        },
        ..flag(
            "owner-password",
            "TEXT",
            "password of the owner, for the first start and for `owner set`",
        )
    },
    Setting {
        default: "19M:2",
        set: |settings, text| cost(text).map(|value| settings.password_cost = value),
        ..flag(
            "password-cost",
            "MEMORY:PASSES",
            "what checking a password costs; the next sign-in applies it",
        )
    },
    Setting {
        default: "1",
        set: |settings, text| number(text, 1, 16).map(|value| settings.limits.workers = value),
        ..flag("workers", "NUMBER", "threads that answer requests, for each listener")
    },
    Setting {
        default: "64",
        set: |settings, text| number(text, 2, 10_000).map(|value| settings.limits.connections = value),
        ..flag("connections", "NUMBER", "connections at once, for each listener")
    },
    Setting {
        default: "4",
        set: |settings, text| number(text, 1, 64).map(|value| settings.limits.blocking_threads = value),
        ..flag(
            "blocking-threads",
            "NUMBER",
            "threads for database and passwords, for each listener",
        )
    },
    Setting {
        default: "20",
        set: |settings, text| seconds(text).map(|value| settings.limits.header_time = value),
        ..flag("header-time", "SECONDS", "time for the head of a request to arrive")
    },
    Setting {
        default: "60",
        set: |settings, text| seconds(text).map(|value| settings.limits.body_time = value),
        ..flag(
            "body-time",
            "SECONDS",
            "time for a form to arrive, or an answer to move on",
        )
    },
    Setting {
        default: "15",
        set: |settings, text| seconds(text).map(|value| settings.limits.keep_alive = value),
        ..flag("keep-alive", "SECONDS", "time until an idle connection is closed")
    },
    Setting {
        // Less than the ten seconds a container gets.
        default: "8",
        set: |settings, text| seconds(text).map(|value| settings.limits.stop_time = value),
        ..flag(
            "stop-time",
            "SECONDS",
            "time for running requests when it is asked to stop",
        )
    },
    Setting {
        // A post of 64 KiB in Japanese fits: every byte of it may become three.
        default: "256K",
        set: |settings, text| bytes(text, 16 << 10, 16 << 20).map(|value| settings.limits.form_bytes = value),
        ..flag("form-bytes", "BYTES", "largest form, also with K or M")
    },
    Setting {
        default: "requests",
        set: |settings, text| log(text).map(|value| settings.log_requests = value),
        ..flag(
            "log",
            "requests|events",
            "a line in the log for each answer, or only for what happens besides",
        )
    },
    Setting {
        set: |settings, text| {
            settings.backup.to = (!text.is_empty()).then(|| text.into());
            Ok(())
        },
        ..flag(
            "backup-dir",
            "DIRECTORY",
            "where the running blog puts backups of itself",
        )
    },
    Setting {
        default: "24h",
        set: |settings, text| span(text).map(|value| settings.backup.every = value),
        ..flag("backup-every", "TIME", "time between two backups, in m, h or d")
    },
    Setting {
        default: "14",
        set: |settings, text| number(text, 1, 10_000).map(|value| settings.backup.keep = value),
        ..flag("backup-keep", "NUMBER", "how many backups are kept")
    },
];

const fn flag(key: &'static str, value: &'static str, meaning: &'static str) -> Setting {
    Setting {
        key,
        value,
        default: "",
        image: "",
        meaning,
        is_switch: false,
        is_flag: true,
        set: |_, _| Ok(()),
    }
}
