//! The page's files, which are part of the program: HTML, style and ES modules.
//!
//! Each has an entity tag, so a browser asks again at each load and gets the bytes only after an update.

use super::App;
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::hash::{DefaultHasher, Hash, Hasher};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($kind:ident $name:literal),* $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("../ui/", $name)))),*]
    };
}

/// Name, type and content.
const FILES: &[(&str, &str, &str)] = files![
    HTML "index.html",
    CSS "style.css",
    CSS "parts.css",
    JS "app.js",
    JS "api.js",
    JS "banner.js",
    JS "chart.js",
    JS "command.js",
    JS "device.js",
    JS "dom.js",
    JS "draw.js",
    JS "events.js",
    JS "fleet.js",
    JS "format.js",
    JS "frame.js",
    JS "history.js",
    JS "ledger.js",
    JS "link.js",
    JS "outage.js",
    JS "palette.js",
    JS "regions.js",
    JS "save.js",
    JS "silhouette.js",
    JS "whatif.js",
];

/// The routes of the files, and of the addresses that are views of the page.
pub fn routes() -> Router<App> {
    let index = || get(|headers: HeaderMap| async move { file("index.html", &headers) });
    Router::new()
        .route("/", index())
        .route("/device/{device}", index())
        .route("/ui/{name}", get(|Path(name): Path<String>, headers: HeaderMap| async move { file(&name, &headers) }))
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|f| f.0 == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes());
    let about = [
        (header::CONTENT_TYPE, (*kind).to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    if is_known { (StatusCode::NOT_MODIFIED, about).into_response() } else { (about, *text).into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_served_name_only_own_ones_and_have_no_inline_code() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/ui");
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "login.html" || FILES.iter().any(|f| f.0 == name), "{name} is not served");
        }
        for (name, kind, text) in FILES {
            assert!(text.lines().count() <= 400, "{name} is too long");
            let outside = ["http://", "https://"].iter().find(|s| text.replace("http://www.w3.org/", "").contains(*s));
            assert_eq!(outside, None, "{name} names another host");
            if *kind == JS {
                let imports = text.lines().filter_map(|l| l.split_once(" from \"./")?.1.split_once('"'));
                imports.for_each(|(file, _)| assert!(FILES.iter().any(|f| f.0 == file), "{name} imports {file}"));
            } else if *kind == HTML {
                assert!(!text.contains("style=") && !text.contains(" on") || !text.contains("onclick"), "{name}");
                assert!(
                    !text.contains("<style")
                        && text.matches("<script").count() == text.matches("<script type=\"module\" src=").count()
                );
            }
        }
    }
}
