//! Rows, as the rest of the program reads them.

use diesel::prelude::*;

use super::schema::{posts, site};
use crate::domain::{Cursor, Stamp};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = posts, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Post {
    pub id: i64,
    pub uuid: String,
    pub body: String,
    created_at: i64,
    edited_at: Option<i64>,
}

impl Post {
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }

    pub fn edited_at(&self) -> Option<Stamp> {
        self.edited_at.map(Stamp)
    }

    pub fn updated_at(&self) -> Stamp {
        Stamp(self.edited_at.unwrap_or(self.created_at))
    }

    pub fn cursor(&self) -> Cursor {
        Cursor {
            created_at: self.created_at(),
            id: self.id,
        }
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = site, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Site {
    pub uuid: String,
    created_at: i64,
}

impl Site {
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }
}
