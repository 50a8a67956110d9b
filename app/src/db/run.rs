//! How queries are run. Diesel makes code for running each query anew, several times what the query itself takes:
//! 224 kB for ARMv6 in all; what is left of it was not measured apart. Here a query is only walked over, and one piece of
//! code runs all of them.
//!
//! A module imports [`RunQueryDsl`] under the name that diesel's own has in `diesel::prelude::*`, and so takes its place.

use std::marker::PhantomData;

use diesel::prelude::QueryResult;
use diesel::query_builder::{AsQuery, AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::{LimitDsl, LoadQuery};
use diesel::sqlite::{Sqlite, SqliteConnection};

/// What is left of a query.
trait Walk {
    fn walk<'b>(&'b self, pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;
}

impl<T: QueryFragment<Sqlite>> Walk for T {
    fn walk<'b>(&'b self, pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.walk_ast(pass)
    }
}

/// Any query with rows of the SQL type `ST`. Its prepared statement is found by its text.
pub struct Any<'a, ST> {
    query: &'a dyn Walk,
    rows: PhantomData<ST>,
}

impl<'a, ST> Any<'a, ST> {
    fn of(query: &'a impl QueryFragment<Sqlite>) -> Self {
        let rows = PhantomData;
        Self { query, rows }
    }
}

impl<ST> std::fmt::Debug for Any<'_, ST> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Any")
    }
}

impl<ST> QueryFragment<Sqlite> for Any<'_, ST> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.query.walk(pass)
    }
}

impl<ST> QueryId for Any<'_, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Any<'_, ST> {
    type SqlType = ST;
}

impl<ST> diesel::RunQueryDsl<SqliteConnection> for Any<'_, ST> {}

fn execute(query: &Any<'_, ()>, connection: &mut SqliteConnection) -> QueryResult<usize> {
    diesel::connection::Connection::execute_returning_count(connection, query)
}

/// The methods of diesel's trait that are used here, with the same meaning.
pub trait RunQueryDsl: Sized {
    fn execute(self, connection: &mut SqliteConnection) -> QueryResult<usize>
    where
        Self: QueryFragment<Sqlite>,
    {
        execute(&Any::of(&self), connection)
    }

    fn load<U>(self, connection: &mut SqliteConnection) -> QueryResult<Vec<U>>
    where
        Self: AsQuery,
        Self::Query: QueryFragment<Sqlite>,
        for<'a> Any<'a, Self::SqlType>: LoadQuery<'a, SqliteConnection, U>,
    {
        diesel::RunQueryDsl::load(Any::of(&self.as_query()), connection)
    }

    fn get_result<U>(self, connection: &mut SqliteConnection) -> QueryResult<U>
    where
        Self: AsQuery,
        Self::Query: QueryFragment<Sqlite>,
        for<'a> Any<'a, Self::SqlType>: LoadQuery<'a, SqliteConnection, U>,
    {
        diesel::RunQueryDsl::get_result(Any::of(&self.as_query()), connection)
    }

    fn first<U>(self, connection: &mut SqliteConnection) -> QueryResult<U>
    where
        Self: LimitDsl,
        Self::Output: AsQuery + RunQueryDsl,
        <Self::Output as AsQuery>::Query: QueryFragment<Sqlite>,
        for<'a> Any<'a, <Self::Output as AsQuery>::SqlType>: LoadQuery<'a, SqliteConnection, U>,
    {
        RunQueryDsl::get_result(self.limit(1), connection)
    }
}

impl<T: diesel::RunQueryDsl<SqliteConnection>> RunQueryDsl for T {}
