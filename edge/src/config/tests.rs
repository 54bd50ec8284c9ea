//! Tests of the layers, of checking and of printing.
//!
//! Files are made in temporary directories; the environment is an argument.

use super::mqtt::parse_url;
use super::*;
use host::tls::Tls;

fn check(toml: &str, vars: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    std::fs::write(&file, toml).unwrap();
    let vars = vars.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    let mut raw = Raw::gather(Some(&file), vars)?;
    for (key, value) in flags {
        raw.put(key, Value::String((*value).into()), Origin::Flag("--flag".into()))?;
    }
    Config::check(raw)
}

#[test]
fn the_later_layer_wins_and_is_named() {
    let toml = "[clustering]\nlambda = 40\nseed = 9";
    let config = check(toml, &[("HUEFLOW_EDGE__CLUSTERING__LAMBDA", "30.5"), ("HOME", "/")], &[]).unwrap();
    assert_eq!((config.settings.lambda_q6, config.settings.seed), (1952, 9));
    let printed = config.print_all();
    assert!(printed.contains("lambda = \"30.5\"  # HUEFLOW_EDGE__CLUSTERING__LAMBDA"), "{printed}");
    assert!(printed.contains("method = \"octree\"  # default"), "{printed}");
    let flags = check(toml, &[], &[("clustering.lambda", "7")]).unwrap();
    assert_eq!(flags.settings.lambda_q6, 448);
}

#[test]
fn an_unknown_key_or_a_bad_value_names_key_value_and_range() {
    let error = |toml: &str| check(toml, &[], &[]).unwrap_err().to_string();
    let unknown = error("[clustering]\nlamda = 3");
    assert!(unknown.contains("clustering.lamda = 3") && unknown.contains("clustering.lambda"), "{unknown}");
    assert!(error("source = 3").contains("unknown key source"));
    for bad in ["0", "-1", "nan", "inf", "443", "\"x\"", "[]", "0.001"] {
        let message = error(&format!("[clustering]\nlambda = {bad}"));
        assert!(message.contains("clustering.lambda") && message.contains("442"), "{message}");
    }
    for bad in ["0", "131073", "-5", "1.5"] {
        let message = error(&format!("[clustering]\ncoreset_size = {bad}"));
        assert!(message.contains("coreset_size") && message.contains("131072"), "{message}");
    }
    for lone in ["cert_file = \"/c\"", "key_file = \"/k\""] {
        let message = error(&format!("[mqtt]\nurl = \"mqtts://h\"\n{lone}"));
        assert!(message.contains("mqtt.cert_file") && message.contains("mqtt.key_file"), "{message}");
    }
    let plain = error("[mqtt]\nurl = \"mqtt://h\"\nca_file = \"/ca\"");
    assert!(plain.contains("mqtt.url") && plain.contains("mqtts://"), "{plain}");
    assert!(error("[mqtt]\nurl = \"http://h:1\"").contains("mqtt://"));
    assert!(error("[mqtt]\nsite = \"a/b\"").contains("mqtt.site"));
    assert!(error("[mqtt]\ndevice = \"bridge\"").contains("but not bridge"));
}

#[test]
fn in_cielab_lambda_is_18_unless_set() {
    let of = |toml: &str, flags: &[(&str, &str)]| {
        let config = check(toml, &[], flags).unwrap();
        (config.settings.space, config.settings.lambda_q6)
    };
    assert_eq!(of("", &[]), (Space::Rgb, 50 * 64));
    assert_eq!(of("[clustering]\nspace = \"cielab\"", &[]), (Space::Cielab, 18 * 64));
    assert_eq!(of("[clustering]\nlambda = 12", &[("clustering.space", "cielab")]), (Space::Cielab, 12 * 64));
    assert_eq!(of("[clustering]\nspace = \"cielab\"", &[("clustering.space", "rgb")]), (Space::Rgb, 50 * 64));
    assert!(check("", &[], &[("clustering.space", "oklab")]).unwrap_err().to_string().contains("rgb or cielab"));
}

#[test]
fn a_preset_beats_earlier_layers_and_yields_to_its_own() {
    let toml = "[clustering]\ncoreset_size = 77\nlambda = 33";
    let config = check(toml, &[], &[("clustering.preset", "tutorial")]).unwrap();
    assert_eq!((config.settings.coreset_size, config.settings.lambda_q6), (1000, 33 * 64));
    assert!(config.settings.cold && config.settings.method == Method::Uniform);
    assert_eq!(config.settings.w_open, Some(1));
    let flags = [("clustering.preset", "tutorial"), ("clustering.coreset_size", "500")];
    assert_eq!(check(toml, &[], &flags).unwrap().settings.coreset_size, 500);
}

#[test]
fn addresses_are_taken_apart() {
    assert_eq!(parse_url("mqtt://h"), Some((false, None, "h".into(), 1883)));
    assert_eq!(parse_url("mqtts://h"), Some((true, None, "h".into(), 8883)));
    assert_eq!(parse_url("mqtts://me@10.0.0.1:99"), Some((true, Some("me".into()), "10.0.0.1".into(), 99)));
    assert_eq!(parse_url("mqtt://[::1]:99"), Some((false, None, "::1".into(), 99)));
    for bad in ["mqtt://", "mqtts://", "tls://h", "mqtt://h:0", "mqtt://h:x", "mqtt://u:p@h", "h:1", "mqtt://h/x"] {
        assert_eq!(parse_url(bad), None, "{bad}");
    }
}

#[test]
fn tls_is_asked_for_by_the_url_and_a_build_without_it_says_so() {
    let toml = "[mqtt]\nurl = \"mqtts://h\"\ndevice = \"d\"\nca_file = \"/ca\"\ncert_file = \"/c\"\nkey_file = \"/k\"";
    match check(toml, &[], &[]) {
        Ok(config) => {
            let tls = Tls { ca_file: Some("/ca".into()), own: Some(("/c".into(), "/k".into())) };
            assert_eq!(config.mqtt.unwrap().tls, Some(tls));
        }
        Err(error) => {
            assert!(cfg!(not(feature = "tls")) && error.to_string().contains("built without TLS"), "{error}");
        }
    }
}

#[test]
fn the_file_that_the_package_brings_is_sound() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/etc/edge.toml");
    let config = Config::check(Raw::gather(Some(file.as_ref()), []).unwrap()).unwrap();
    assert_eq!((config.panels, config.mqtt, config.spi), (vec![DisplaySpec::Auto], None, None));
}

#[test]
fn what_is_printed_reads_back_whatever_is_in_it() {
    // Found by fuzzing: Rust writes ESC as \u{1b}, which TOML does not read.
    for dir in ["/a\u{1b}b", "a\nb", "'\"\\", "\u{ad}"] {
        let config = check("", &[("HUEFLOW_EDGE__SPOOL__DIR", dir)], &[]).unwrap();
        let again = check(&config.print_all(), &[], &[]).unwrap();
        assert_eq!(again.spool_dir.unwrap(), PathBuf::from(dir));
    }
}

#[test]
fn tables_from_the_environment_are_told_as_tables() {
    // The page draws the outlines that the status has.
    let region = "{ name = \"lamp\", rect = [0.25, 0.5, 0.25, 0.25] }";
    let config = check("", &[("HUEFLOW_EDGE__REGION", &format!("[{region}]"))], &[]).unwrap();
    let reported = &config.origins["region"].0;
    assert_eq!(reported.to_string(), format!("[{region}]"));
    assert!(reported.as_array().is_some_and(|tables| tables[0].is_table()), "{reported}");
    let again = check(&config.print_all(), &[], &[]).unwrap();
    assert_eq!(again.regions, config.regions);
    let panels = check("", &[("HUEFLOW_EDGE__DISPLAY__PANELS", "none")], &[]).unwrap();
    assert!(panels.origins["display.panels"].0.is_str(), "a text stays as it is");
}

#[test]
fn what_a_new_user_sees_fits_one_screen_and_shows_what_was_changed() {
    let fresh = check("", &[], &[]).unwrap().print();
    assert!(fresh.lines().count() <= 24, "{fresh}");
    assert!(fresh.contains("lambda = 50  # default") && fresh.contains("print-config --all"), "{fresh}");
    assert!(!fresh.contains("sync_ms"), "{fresh}");
    let toml = "[spool]\nsync_ms = 100";
    let changed = check(toml, &[], &[("clustering.seed", "7")]).unwrap().print();
    assert!(changed.contains("seed = \"7\"  # --flag") && changed.contains("sync_ms = 100  # /"), "{changed}");
    assert!(changed.parse::<toml::Table>().is_ok(), "{changed}");
}

#[test]
fn records_are_kept_where_a_broker_or_a_directory_is_named() {
    let keeps = |toml: &str| check(toml, &[], &[]).unwrap().keeps_records();
    assert!(!keeps("") && !keeps("[spool]\nbytes_max = 1048576"));
    assert!(keeps("[mqtt]\nurl = \"mqtt://h\"\ndevice = \"d\"") && keeps("[spool]\ndir = \"/s\""));
}

#[test]
fn a_variable_that_is_not_utf_8_is_named_and_a_foreign_one_is_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let bad = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
    let foreign = [("LANG_X".into(), bad.clone()), (bad.clone(), "x".into())];
    assert!(Raw::gather(Some("/dev/null".as_ref()), foreign).is_ok());
    let own = [("HUEFLOW_EDGE__SPOOL__DIR".into(), bad)];
    let error = Raw::gather(Some("/dev/null".as_ref()), own).unwrap_err().to_string();
    assert!(error.contains("HUEFLOW_EDGE__SPOOL__DIR") && error.contains("UTF-8"), "{error}");
}

#[test]
fn a_source_that_may_be_meant_is_named() {
    let error = check("", &[], &[("camera.source", "/dev/video0")]).unwrap_err().to_string();
    assert!(error.contains("did you mean v4l2:/dev/video0?"), "{error}");
    let error = check("", &[], &[("camera.source", "v4l2:0?width=0")]).unwrap_err().to_string();
    assert!(error.contains("camera.source") && error.contains("width=0"), "{error}");
}

#[test]
fn every_key_is_read() {
    // A bad value for any key must be noticed: none is only decoration.
    for key in KEYS {
        let mut raw = Raw::default();
        raw.put(key.name, Value::Datetime("1979-05-27".parse().unwrap()), Origin::Default).unwrap();
        assert!(Config::check(raw).is_err(), "{} is never read", key.name);
    }
    assert!(Config::check(Raw::default()).is_ok());
}
