//! What a post is, whether it is out, and who may see it: words in the database, types everywhere else.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteValue};

/// An enum whose variants are words: in the database, in forms and in exports alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl ToSql<Text, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.word());
                Ok(IsNull::No)
            }
        }

        impl FromSql<Text, Sqlite> for $name {
            fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
                let word = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
                Self::parse(&word).ok_or_else(|| format!(concat!("no ", stringify!($name), ": {}"), word).into())
            }
        }
    };
}

words! {
    /// What a post is.
    Kind {
        /// A few lines without a title.
        Note = "note",
        /// A longer text with a title.
        Article = "article",
        /// A bookmark: an address and what there is to say about it.
        Link = "link",
        /// A static page with an address of its own; it is in no list and no feed.
        Page = "page",
    }
}

words! {
    /// Whether it is out. Not the clock decides what readers see: it may lag after a power cut.
    State {
        Draft = "draft",
        /// Becomes `Published` when its time has come.
        Scheduled = "scheduled",
        Published = "published",
    }
}

words! {
    /// Who may see what is published.
    Visibility {
        Public = "public",
        /// Whoever has the address, which is made of the uuid and cannot be guessed.
        Unlisted = "unlisted",
        /// The owner.
        Private = "private",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.word()), Some(*kind));
        }
        assert_eq!(State::parse("scheduled"), Some(State::Scheduled));
        assert_eq!(Visibility::parse("Public"), None);
    }
}
