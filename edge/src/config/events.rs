//! The events that the configuration's `[[event]]` tables describe.
//!
//! An event has a name, a condition, two waits, and perhaps tables `blink` and `gpio`. The condition is read here, with the names of the configured colours and
//! regions, so that a wrong one is refused at the start. Anything else in a table is refused, and so are two of one name.

use super::Raw;
use super::layers::{ConfigError, Word, show};
use super::tables::named_tables;
use crate::event::parse::{Names, parse};
use crate::event::timing::Waits;
use crate::event::{EventSpec, LineSpec};
use crate::spec::{Colour, Region};
use firmware::limits::EVENTS_MAX;
use toml::{Table, Value};

/// Longest wait: a day.
const WAIT_MS_MAX: u64 = 86_400_000;
const WAIT: &str = "a whole number of milliseconds from 0 to 86400000";

/// The kernel's names of lines have at most 31 bytes.
const LINE_BYTES_MAX: usize = 31;
const GPIO: &str = "a table of line = \"GPIO17\" (the kernel's name) and, if the line is low while the event is active, \
                    active_low = true";

impl Raw {
    pub(super) fn events(&self, colours: &[Colour], regions: &[Region]) -> Result<Vec<EventSpec>, ConfigError> {
        let word = self.look("event");
        let known = ["name", "when", "for_ms", "clear_ms", "blink", "gpio"];
        let tables = named_tables(&word, EVENTS_MAX, "event.name", &known)?;
        let colours: Vec<&str> = colours.iter().map(|colour| colour.name.as_str()).collect();
        let regions: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        let (mut events, mut lines) = (Vec::new(), Vec::new());
        for (name, table) in &tables {
            let when = table.get("when").and_then(Value::as_str).unwrap_or("");
            let condition = parse(when, Names { colours: &colours, regions: &regions })
                .map_err(|e| word.refuse_part("event.when", show(&when.into()), format!("a condition: {e}")))?;
            let waits =
                Waits { for_us: wait_us(&word, "for_ms", table)?, clear_us: wait_us(&word, "clear_ms", table)? };
            let (with_blink, line) = (with_blink(&word, table)?, line(&word, table)?);
            if line.as_ref().is_some_and(|line| lines.contains(&line.name)) {
                return Err(word.refuse_part("event.gpio", show(&table["gpio"]), "a line of its own for each event"));
            }
            lines.extend(line.as_ref().map(|line| line.name.clone()));
            // A name that is allowed fits.
            let fitting = name.as_str().try_into().unwrap_or_default();
            events.push(EventSpec { name: fitting, condition, waits, with_blink, line });
        }
        Ok(events)
    }
}

/// Whether there is a table `blink`. It has no keys.
fn with_blink(word: &Word, table: &Table) -> Result<bool, ConfigError> {
    match table.get("blink") {
        None => Ok(false),
        Some(Value::Table(keys)) if keys.is_empty() => Ok(true),
        Some(other) => Err(word.refuse_part("event.blink", show(other), "a table without keys, or left out")),
    }
}

/// The line of a table `gpio`.
fn line(word: &Word, table: &Table) -> Result<Option<LineSpec>, ConfigError> {
    let Some(value) = table.get("gpio") else { return Ok(None) };
    let read = |gpio: &Table| {
        let name = gpio.get("line")?.as_str().filter(|name| (1..=LINE_BYTES_MAX).contains(&name.len()))?.to_owned();
        let active_low = gpio.get("active_low").map_or(Some(false), Value::as_bool)?;
        let is_known = |key: &String| ["line", "active_low"].contains(&key.as_str());
        gpio.keys().all(is_known).then_some(LineSpec { name, active_low })
    };
    let line = value.as_table().and_then(read).ok_or_else(|| word.refuse_part("event.gpio", show(value), GPIO))?;
    if cfg!(feature = "spi") {
        Ok(Some(line))
    } else {
        Err(word.refuse_part("event.gpio", show(value), "left out: this build has no GPIO (feature spi)"))
    }
}

/// A wait in microseconds; 0 where there is none.
fn wait_us(word: &Word, key: &str, table: &Table) -> Result<u64, ConfigError> {
    let Some(value) = table.get(key) else { return Ok(0) };
    let wait_ms = value.as_integer().and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms <= WAIT_MS_MAX);
    let key = if key == "for_ms" { "event.for_ms" } else { "event.clear_ms" };
    wait_ms.map(|ms| ms * 1000).ok_or_else(|| word.refuse_part(key, show(value), WAIT))
}

#[cfg(test)]
mod tests {
    use super::super::check_text::{assert_refused, config};
    use crate::event::LineSpec;

    const SOUND: &str = "
        [[region]]
        name = \"stack-1\"
        rect = [0, 0, 1, 1]
        [[colour]]
        name = \"red-lamp\"
        rgb = \"#e02020\"
        tolerance = 15
        [[event]]
        name = \"line-stopped\"
        when = \"share(red-lamp, stack-1) > 0.02\"
        for_ms = 500
        clear_ms = 2000
        gpio = { line = \"GPIO17\", active_low = true }
        [[event]]
        name = \"many\"
        when = \"clusters >= 9\"
        [event.blink]";

    #[test]
    fn events_are_read_and_printed_so_that_they_read_back() {
        let sound = config(SOUND).unwrap();
        let of =
            |n: usize| (sound.events[n].name.as_str(), sound.events[n].waits.for_us, sound.events[n].waits.clear_us);
        assert_eq!((of(0), of(1)), (("line-stopped", 500_000, 2_000_000), ("many", 0, 0)));
        assert_eq!((sound.events[0].with_blink, sound.events[1].with_blink), (false, true));
        let line = LineSpec { name: "GPIO17".into(), active_low: true };
        assert_eq!((sound.events[0].line.as_ref(), sound.events[1].line.as_ref()), (Some(&line), None));
        assert_eq!(config(&sound.print_all()).unwrap().events, sound.events);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_its_place() {
        let cases = [
            ("\"many\"", "\"line-stopped\"", ["event.name", "\"line-stopped\"", "another"]),
            ("(red-lamp,", "(green,", ["event.when", "at character 7", "red-lamp"]),
            ("when = \"clusters >= 9\"", "", ["event.when", "at character 1", "silhouette"]),
            ("for_ms = 500", "for_ms = -1", ["event.for_ms", "-1", "86400000"]),
            ("clear_ms = 2000", "clear_ms = 0.5", ["event.clear_ms", "0.5", "whole"]),
            ("for_ms = 500", "every = 3", ["event", "every = 3", "clear_ms"]),
            ("[event.blink]", "[event.gpio]\nline = \"GPIO17\"", ["event.gpio", "GPIO17", "its own"]),
            ("line = \"GPIO17\",", "", ["event.gpio", "active_low", "the kernel's name"]),
            ("active_low = true", "pull = 1", ["event.gpio", "pull = 1", "the kernel's name"]),
            ("[event.blink]", "[event.blink]\nhz = 2", ["event.blink", "hz = 2", "without keys"]),
        ];
        assert_refused(SOUND, &cases);
        let many: String = (0..17).map(|n| format!("[[event]]\nname = \"n{n}\"\nwhen = \"missed > 0\"\n")).collect();
        assert!(config(&many).unwrap_err().contains("at most 16"));
    }
}
