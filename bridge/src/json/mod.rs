//! Records as JSON, for anyone with kcat, a stream processor or a spreadsheet.
//!
//! [`ReportJson`] is the object of `deploy/schema/metrics.schema.json`, made from a report and its envelope and read back
//! from any version of it; [`write_report`] writes the same text without it. [`EventJson`] is the object of `event.schema.json`. [`WindowJson`] and [`LossJson`] are what custody keeps in the topic `status`.

mod columns;
mod custody;
mod event;
mod report;
mod write;

pub use columns::{NamedJson, PaletteJson, RegionsJson};
pub use custody::{LossJson, StreamJson, WindowJson};
pub use event::{EVENT_JSON_VERSION, EventJson};
pub use report::{JSON_VERSION, MicrosJson, ReportJson};
pub use write::write_report;
