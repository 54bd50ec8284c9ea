//! Prepared statements, each prepared once for a connection.
//!
//! [`Statements::get`] gives the statement of a text. The set must be forgotten with its connection.

use crate::metrics::store::StoreError;
use postgres::{GenericClient, Statement};
use std::collections::HashMap;

/// The statements of one connection, by their text. The texts are the program's own, so their number is bounded.
#[derive(Default)]
pub(super) struct Statements(HashMap<String, Statement>);

impl Statements {
    /// The statement of a text.
    pub(super) fn get(&mut self, client: &mut impl GenericClient, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql)?;
        self.0.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Forgets all of them.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
