//! Where the tests of the store stand: a SQLite file, or a PostgreSQL database of their own.
//!
//! [`Ground`] opens stores and readers, and looks at the database as anyone could. All tests of the program share one
//! PostgreSQL, which ends with the program; each has a schema of its own.

use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::Offsets;
use hueflow_bridge::metrics::store::reader::Reader;
use hueflow_bridge::metrics::store::url::StoreUrl;
use hueflow_bridge::metrics::store::{Store, open_reader};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

/// Where records of the tests lie in the journal.
pub const PLACE: (&str, i32) = ("local", 0);

/// A PostgreSQL that ends with this program: the other end of its standard input is held here.
pub struct Server {
    _process: Child,
    pub port: u16,
    password: String,
}

pub static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/start");
    let mut command = Command::new(start);
    command.args(["--temporary", "--port", &port.to_string()]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut printed = Vec::new();
    let ready = lines.by_ref().find_map(|line| {
        let dir = line.strip_prefix("PostgreSQL on ").and_then(|l| Some(l.split_once("data in ")?.1.to_owned()));
        printed.push(line);
        dir
    });
    let dir = PathBuf::from(ready.unwrap_or_else(|| panic!("PostgreSQL does not start:\n{}", printed.join("\n"))));
    std::thread::spawn(move || lines.for_each(drop));
    let password = std::fs::read_to_string(dir.join("password")).unwrap();
    Server { _process: process, port, password }
});

pub enum Ground {
    Sqlite { dir: TempDir },
    Postgres { schema: String },
}

impl Ground {
    pub fn sqlite() -> Ground {
        Ground::Sqlite { dir: tempfile::tempdir().unwrap() }
    }

    pub fn postgres() -> Ground {
        let schema = format!("t{:016x}", rand::random::<u64>());
        let ground = Ground::Postgres { schema: schema.clone() };
        ground.client().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
        ground
    }

    fn url(&self, port: u16) -> String {
        let Ground::Postgres { schema } = self else { panic!("no server") };
        let password = &SERVER.password;
        format!("postgres://hueflow:{password}@127.0.0.1:{port}/hueflow?options=-csearch_path%3D{schema}")
    }

    /// A connection of its own.
    pub fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.url(SERVER.port), postgres::NoTls).unwrap()
    }

    /// The configuration, with the server at another port.
    pub fn config_at(&self, port: u16) -> StoreConfig {
        let url: StoreUrl = self.url(port).parse().unwrap();
        StoreConfig { url, census_kept: 2, ..StoreConfig::of_file("") }
    }

    pub fn config(&self) -> StoreConfig {
        match self {
            Ground::Sqlite { .. } => StoreConfig { census_kept: 2, ..StoreConfig::of_file(self.file()) },
            Ground::Postgres { .. } => self.config_at(SERVER.port),
        }
    }

    /// The file of a SQLite store.
    pub fn file(&self) -> PathBuf {
        let Ground::Sqlite { dir } = self else { panic!("no file") };
        dir.path().join("store.db")
    }

    pub fn open(&self) -> Store {
        Store::open(&self.config()).unwrap()
    }

    pub fn reader(&self) -> Box<dyn Reader> {
        open_reader(&self.config()).unwrap()
    }

    /// Executes statements on a connection of its own.
    pub fn execute(&self, sql: &str) {
        match self {
            Ground::Sqlite { .. } => rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap(),
            Ground::Postgres { .. } => self.client().batch_execute(sql).unwrap(),
        }
    }

    /// The number that a query gives.
    pub fn number(&self, sql: &str) -> u64 {
        let number: i64 = match self {
            Ground::Sqlite { .. } => {
                rusqlite::Connection::open(self.file()).unwrap().query_row(sql, [], |r| r.get(0)).unwrap()
            }
            Ground::Postgres { .. } => {
                let sql = format!("SELECT n::BIGINT FROM ({sql}) x (n)");
                self.client().query_one(&sql, &[]).unwrap().get(0)
            }
        };
        number as u64
    }

    /// Bytes of the store's reports, and of all else in a file.
    pub fn used_bytes(&self) -> u64 {
        match self {
            Ground::Sqlite { .. } => self.number(
                "SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count p, pragma_freelist_count f, \
                 pragma_page_size s",
            ),
            Ground::Postgres { .. } => self.number(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = \
                 c.relnamespace WHERE n.nspname = current_schema() AND c.relname ~ '^report_rows_[0-9]+$'",
            ),
        }
    }
}

/// Begins in a journal, and claims what tests read of it.
pub fn begin(store: &mut Store, journal: &str) -> Offsets {
    let offsets = store.begin(journal).unwrap();
    match store.group() {
        Some(_) => store.claim(&[(PLACE.0.to_owned(), PLACE.1)]).unwrap().0,
        None => offsets,
    }
}
