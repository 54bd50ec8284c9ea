//! The figures of a run as a Markdown table that reads as text too.
//!
//! A figure is the median of the rounds; counts of records are summed. `/proc` gives the machine's name.

use crate::Args;
use crate::scene::Figures;

/// One scene of one contender in one round.
pub struct Row {
    /// The scene.
    pub scene: &'static str,
    /// The contender's place in the table.
    pub place: usize,
    /// The contender.
    pub name: String,
    /// What was measured.
    pub figures: Figures,
}

impl Row {
    /// All of it, in a line.
    pub fn line(&self) -> String {
        let (f, c) = (&self.figures, &self.figures.count);
        format!(
            "{:<20} {:<24} {:>7.0}/s, CPU us {:.1} (mosquitto {:.1}, Kafka {:.1}), {} KiB, lag ms {:.1} / {:.1}, there {}, \
             twice {}, lost {}, damaged {}",
            self.scene,
            self.name,
            f.rate,
            f.cpu[0],
            f.cpu[1],
            f.cpu[2],
            f.peak_kib,
            f.lag_ms[0],
            f.lag_ms[1],
            c.there,
            c.duplicates,
            c.lost,
            c.damaged
        )
    }
}

fn median(rows: &[&Row], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut list: Vec<f64> = rows.iter().map(|r| of(&r.figures)).collect();
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(0.0)
}

/// The table.
pub fn markdown(scenes: &[&'static str], rows: &[Row], args: &Args) -> String {
    let mut lines = vec![
        "| scene | contender | messages/s | CPU, us a message | (mosquitto, Kafka) | peak MiB | lag p50 / p99, ms | in Kafka | \
         twice | lost |"
            .to_owned(),
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
    ];
    let mut ratios = Vec::new();
    for scene in scenes {
        let of = |place| rows.iter().filter(|r| r.scene == *scene && r.place == place).collect::<Vec<_>>();
        let telegraf = of(2);
        for place in 0..3 {
            let rows = of(place);
            let Some(first) = rows.first() else { continue };
            let sum = |get: fn(&Row) -> u64| rows.iter().map(|r| get(r)).sum::<u64>();
            let or = |value: f64, digits: usize| if value > 0.0 { format!("{value:.digits$}") } else { "-".to_owned() };
            let (rate, cpu) = (median(&rows, |f| f.rate), median(&rows, |f| f.cpu[0]));
            let kib = median(&rows, |f| f.peak_kib as f64);
            let lags = [0, 1].map(|i| or(median(&rows, |f| f.lag_ms[i]), 1));
            lines.push(format!(
                "| {scene} | {} | {} | {} | {}, {} | {:.1} | {} / {} | {} | {} | {} |",
                first.name,
                or(rate, 0),
                or(cpu, 1),
                or(median(&rows, |f| f.cpu[1]), 1),
                or(median(&rows, |f| f.cpu[2]), 1),
                kib / 1024.0,
                lags[0],
                lags[1],
                sum(|r| r.figures.count.there),
                sum(|r| r.figures.count.duplicates),
                sum(|r| r.figures.count.lost + r.figures.count.damaged),
            ));
            if place < 2 && !telegraf.is_empty() {
                let ratio = |of: fn(&Figures) -> f64| {
                    let (ours, theirs) = (median(&rows, of), median(&telegraf, of));
                    if ours > 0.0 && theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "-".to_owned() }
                };
                ratios.push(format!(
                    "| {scene} | {} | {} | {} | {} | {} |",
                    first.name,
                    ratio(|f| f.rate),
                    ratio(|f| f.cpu[0]),
                    ratio(|f| f.peak_kib as f64),
                    ratio(|f| f.lag_ms[1]),
                ));
            }
        }
    }
    if ratios.is_empty() {
        lines.push("\nTelegraf is not in this run: it is not there.".to_owned());
    } else {
        lines.push(
            "\n| to Telegraf in the same run | | messages/s | CPU a message | peak memory | lag p99 |".to_owned(),
        );
        lines.push("|---|---|--:|--:|--:|--:|".to_owned());
        lines.append(&mut ratios);
    }
    lines.push(format!(
        "\n{}; {} devices, reports of 17 colours, {} messages a backlog, median of {} round(s), records summed.",
        machine(),
        args.devices,
        args.messages,
        args.rounds
    ));
    lines.join("\n") + "\n"
}

/// Processor and cores.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("a processor", |m| m.1);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    format!("{model}, {} cores, load {load} at the end", std::thread::available_parallelism().map_or(1, |n| n.get()))
}
