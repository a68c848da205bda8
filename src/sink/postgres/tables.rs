//! The tables of a sink: what is known of each, and which do not fit.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::{
    connection::Connection, error::PostgresError, options::PostgresOptions, schema, sql::TableSql, write_error::Fault,
};
use crate::{record::Table, text::ErrorChain};

/// So many records that a trigger refuses are its word on each of them, while none is stored between. The next one is
/// taken for the word of a trigger that refuses everything.
const MOST_RAISED: u32 = 100;

/// What is wrong with the tables that do not fit, by their names.
pub(super) type Unfit = BTreeMap<&'static str, Arc<str>>;

/// Tells it to those who wait for it.
pub(super) type UnfitSender = watch::Sender<Unfit>;

/// A table, and where it is.
pub(super) struct KnownTable {
    table: Table,
    /// Held while it is looked at.
    look: Mutex<()>,
    /// None until it is known to be there, and again when a statement says that it is another one.
    sql: RefCell<Option<Arc<TableSql>>>,
    was_there: Cell<bool>,
    /// How many records triggers have refused since one was stored.
    raised: Cell<u32>,
}

impl KnownTable {
    /// Notes that the table is another one by now, as far as a statement tells.
    pub(super) fn forget(&self) {
        *self.sql.borrow_mut() = None;
    }

    /// Notes that rows were stored.
    pub(super) fn stored(&self) {
        self.raised.set(0);
    }

    /// Returns what is to blame for an error that a write of so many rows met.
    pub(super) fn fault(&self, fault: Fault, rows: usize) -> Fault {
        // Of several rows it is not known which. They are narrowed down.
        if fault != Fault::Raised || rows > 1 {
            return fault;
        }
        let raised = self.raised.get().saturating_add(1);
        self.raised.set(raised);
        if raised > MOST_RAISED { Fault::Store } else { Fault::Records }
    }
}

/// The tables that were asked for.
pub(super) struct Tables {
    database: Arc<str>,
    options: PostgresOptions,
    /// How long a look may take.
    within: Duration,
    known: RefCell<Vec<Rc<KnownTable>>>,
    unfit: UnfitSender,
}

impl Tables {
    pub(super) fn new(database: &Arc<str>, options: &PostgresOptions, within: Duration, unfit: UnfitSender) -> Self {
        Self { database: Arc::clone(database), options: options.clone(), within, known: RefCell::default(), unfit }
    }

    pub(super) fn known(&self, table: &Table) -> Rc<KnownTable> {
        let mut tables = self.known.borrow_mut();
        if let Some(known) = tables.iter().find(|known| known.table == *table) {
            return Rc::clone(known);
        }
        let known = Rc::new(KnownTable {
            table: *table,
            look: Mutex::default(),
            sql: RefCell::default(),
            was_there: Cell::default(),
            raised: Cell::default(),
        });
        tables.push(Rc::clone(&known));
        known
    }

    /// Returns the statements of a table, once it is known to be there as it should.
    pub(super) async fn sql(
        &self,
        connection: &Connection,
        known: &KnownTable,
    ) -> Result<Arc<TableSql>, PostgresError> {
        let _look = known.look.lock().await;
        if let Some(sql) = &*known.sql.borrow() {
            return Ok(Arc::clone(sql));
        }
        let may_make = !known.was_there.get();
        let look = schema::make_ready(connection.client(), &self.database, &self.options, &known.table, may_make);
        let schema = timeout(self.within, look).await.map_err(|_| PostgresError::Server {
            database: self.database.to_string(),
            step: "read the schema",
            source: format!("no answer within {} s", self.within.as_secs_f64()).into(),
        })??;
        known.was_there.set(true);
        let sql = Arc::new(TableSql::new(known.table, &schema));
        *known.sql.borrow_mut() = Some(Arc::clone(&sql));
        self.begin_anew(&known.table);
        Ok(sql)
    }

    /// Returns the statements of a table for a write. If it is the first to find a table that does not fit, as the server
    /// was away at the start, that is told: to the log once, and to the store. A table that was as it should before is an
    /// outage until it is so again.
    pub(super) async fn sql_for_write(
        &self,
        connection: &Connection,
        known: &KnownTable,
    ) -> Result<Arc<TableSql>, PostgresError> {
        let found = self.sql(connection, known).await;
        if let Err(error) = &found
            && !error.is_outage()
            && !known.was_there.get()
        {
            let (table, error) = (known.table.name(), ErrorChain(error).to_string());
            let is_news = self.unfit.send_if_modified(|unfit| unfit.insert(table, error.as_str().into()).is_none());
            if is_news {
                tracing::error!(table, error, "the database cannot be the store, its records wait until it can");
            }
        }
        found
    }

    /// Forgets what was wrong with a table: it is as it should, or a store starts that has to find out for itself.
    pub(super) fn begin_anew(&self, table: &Table) {
        self.unfit.send_if_modified(|unfit| unfit.remove(table.name()).is_some());
    }
}
