//! The steps of a history, as PostgreSQL sums them.
//!
//! [`sums_sql`] is the query. Its parameters: 1 stream, 2 first and 3 last sequence number, 4 and 5 the range of capture times,
//! 6 the length of a step, times in microseconds. A row has the step's number, the columns of a roll-up, and the times of the three
//! stages.

use crate::metrics::store::rollup::RMS_MAX;

/// The query.
pub(super) fn sums_sql() -> String {
    // A count of 32 bits is kept in a signed number.
    let bits = |column: &str| format!("({column}::BIGINT & 4294967295)");
    let sum = |column: &str| format!("coalesce(sum({}), 0)::BIGINT", bits(column));
    let [clusters, micros] = ["clusters", "micros_total"].map(bits);
    // A sum that overflows is an error.
    let rms = format!("CASE WHEN rms BETWEEN 0 AND {RMS_MAX} THEN rms ELSE 0 END");
    let silhouette = "CASE WHEN silhouette_estimate BETWEEN -1 AND 1 THEN silhouette_estimate END";
    format!(
        "SELECT (captured_at_us - $4) / $6 AS step, count(*), {}, min({clusters}), max({clusters}), sum({rms}), max({rms}), \
         {}, {}, {}, max({micros}), coalesce(sum({silhouette}), 0), count({silhouette}), {}, {}, {} FROM report_rows \
         WHERE sid = $1 AND seq BETWEEN $2 AND $3 AND captured_at_us >= $4 AND captured_at_us < $5 GROUP BY step",
        sum("clusters"),
        sum("missed"),
        sum("beyond_px"),
        sum("micros_total"),
        sum("micros_coreset"),
        sum("micros_cluster"),
        sum("micros_label"),
    )
}
