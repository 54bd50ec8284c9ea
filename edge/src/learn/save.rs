//! A learned colour as a `[[colour]]` table, and in a configuration file.
//!
//! The file keeps its comments and its order. A colour of the same name is replaced. What is written must be a sound
//! configuration; the new file takes the old one's place in one step.

use super::colour::Learned;
use crate::config::{Config, Raw};
use crate::exit::{Failure, Reason};
use std::io::Write;
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

/// The table as TOML.
pub fn table(name: &str, learned: &Learned) -> String {
    let mut document = DocumentMut::new();
    put(&mut document, name, learned);
    document.to_string()
}

/// Puts the colour into the file at `path`, which need not exist.
///
/// # Errors
/// [`Failure`] if the file cannot be read or written, or if it were no sound configuration.
pub fn save(path: &Path, name: &str, learned: &Learned) -> Result<(), Failure> {
    let failure = |what: &str, error| Failure::io(format!("{what} {}", path.display()), error);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failure("reading", error)),
    };
    let refused = |why: String| {
        let why = format!("{name} cannot be added to {}: {why}", path.display());
        Failure::new(Reason::Config, anyhow::anyhow!(why))
    };
    let mut document: DocumentMut = text.parse().map_err(|error| refused(format!("{error}")))?;
    if !put(&mut document, name, learned) {
        return Err(refused("its colours are not written as [[colour]] tables".into()));
    }
    let text = document.to_string();
    Config::check(Raw::of_toml(&text, path)?).map_err(|error| refused(error.to_string()))?;
    replace(path, &text).map_err(|error| failure("writing", error))
}

/// Adds or replaces the colour; false if the document has `colour` in another form.
fn put(document: &mut DocumentMut, name: &str, learned: &Learned) -> bool {
    let colours = document.entry("colour").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(colours) = colours.as_array_of_tables_mut() else { return false };
    let is_named = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
    let found = colours.iter().position(is_named);
    let at = found.unwrap_or(colours.len());
    if found.is_none() {
        colours.push(Table::new());
    }
    let Some(table) = colours.get_mut(at) else { return false };
    table.remove("rgb");
    for (key, new) in
        [("name", value(name)), ("lab", value(Array::from_iter(learned.lab))), ("tolerance", value(learned.tolerance))]
    {
        table.insert(key, new);
    }
    true
}

/// Writes a new file beside the old one, with its permissions, and renames it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // A link stays one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let new = path.with_extension("toml.new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    if let Ok(old) = std::fs::metadata(&path) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    std::fs::rename(&new, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(tolerance: f64) -> Learned {
        Learned { lab: [46.25, 68.0, -1.5], tolerance, inside: 1.0, elsewhere: 0.0 }
    }

    #[test]
    fn a_colour_is_added_or_replaced_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.toml");
        let text = "# mine\n[camera]\nfps = 10 # slow\n\n# the lamp\n[[colour]]\nname = \"red\"\nrgb = \"#ff0000\"\ntolerance = 3\n";
        std::fs::write(&path, text).unwrap();
        save(&path, "red", &learned(7.5)).unwrap();
        save(&path, "blue", &learned(4.0)).unwrap();
        let now = std::fs::read_to_string(&path).unwrap();
        for kept in ["# mine", "fps = 10 # slow", "# the lamp", "tolerance = 7.5", "lab = [46.25, 68.0, -1.5]"] {
            assert!(now.contains(kept), "{now}");
        }
        let config = Config::check(Raw::of_toml(&now, &path).unwrap()).unwrap();
        let names: Vec<_> = config.colours.iter().map(|c| (c.name.as_str(), c.named.tolerance_q6)).collect();
        assert_eq!(names, [("red", 480), ("blue", 256)]);
        assert!(!now.contains("#ff0000"), "{now}");
        let fresh = dir.path().join("new.toml");
        save(&fresh, "blue", &learned(4.0)).unwrap();
        assert_eq!(std::fs::read_to_string(&fresh).unwrap(), table("blue", &learned(4.0)));
    }

    #[test]
    fn a_file_that_would_not_be_sound_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.toml");
        for bad in ["[camera]\nfsp = 3\n", "colour = 3\n", "[camera\n"] {
            std::fs::write(&path, bad).unwrap();
            let failure = save(&path, "red", &learned(7.5)).unwrap_err();
            assert_eq!(failure.code(), 78, "{failure}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        }
    }
}
