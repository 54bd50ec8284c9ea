//! Tests of the parser and of conditions: against a plain evaluator, and the errors for wrong texts.
//!
//! Drawn trees are written as text, read back and evaluated for drawn reports; the tree itself gives the wanted truth.

use super::*;
use crate::slot::empty_report;
use firmware::wire::{NamedShare, RegionShare, Report, Swatch};
use proptest::prelude::*;

const COLOURS: [&str; 2] = ["red-lamp", "or"];
const REGIONS: [&str; 3] = ["stack-1", "not", "7"];

fn names() -> Names<'static> {
    Names { colours: &COLOURS, regions: &REGIONS }
}

#[derive(Debug, Clone)]
enum Tree {
    Test(&'static str, usize, usize, &'static str, i32),
    Not(Box<Tree>),
    Two(bool, Box<Tree>, Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let word = prop::sample::select(vec!["share", "de00", "clusters", "missed", "silhouette"]);
    let relation = prop::sample::select(vec!["<", "<=", ">", ">="]);
    let test =
        (word, 0..2usize, 0..3usize, relation, -4..12i32).prop_map(|(w, c, r, rel, n)| Tree::Test(w, c, r, rel, n));
    test.prop_recursive(5, 32, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|t| Tree::Not(Box::new(t))),
            (any::<bool>(), inner.clone(), inner).prop_map(|(and, a, b)| Tree::Two(and, Box::new(a), Box::new(b))),
        ]
    })
}

impl Tree {
    /// As text, with parentheses only where they are needed. `outer`: 0 or, 1 and, 2 not.
    fn text(&self, outer: u8, space: &str) -> String {
        match self {
            Tree::Test(word, c, r, relation, n) => {
                let call = match *word {
                    "share" | "de00" => format!("{word}{space}({space}{},{}{space})", COLOURS[*c], REGIONS[*r]),
                    _ => (*word).to_owned(),
                };
                format!("{call}{space}{relation}{space}{}", f64::from(*n) / 4.0)
            }
            Tree::Not(inner) => format!("not {space}{}", inner.text(2, space)),
            Tree::Two(is_and, a, b) => {
                let level = u8::from(*is_and);
                let word = if *is_and { "and" } else { "or" };
                let text = format!("{} {word}{space} {}", a.text(level, space), b.text(level, space));
                if level < outer { format!("({space}{text})") } else { text }
            }
        }
    }

    fn holds(&self, report: &Report) -> bool {
        match self {
            Tree::Test(word, c, r, relation, n) => {
                let region = report.regions.iter().find(|s| usize::from(s.region) == *r);
                let named = region.and_then(|s| s.named.iter().find(|x| usize::from(x.colour) == *c));
                let value = match *word {
                    "share" => region.map(|s| f64::from(named.map_or(0, |x| x.pixels)) / f64::from(s.pixels)),
                    "de00" => named.map(|x| f64::from(x.de00_q6) / 64.0),
                    "clusters" => Some(report.palette.len() as f64),
                    "missed" => report.missed.map(f64::from),
                    _ => report.silhouette_ppm.map(|ppm| f64::from(ppm) / 1e6),
                };
                let limit = f64::from(*n) / 4.0;
                value.is_some_and(|value| match *relation {
                    "<" => value < limit,
                    "<=" => value <= limit,
                    ">" => value > limit,
                    _ => value >= limit,
                })
            }
            Tree::Not(inner) => !inner.holds(report),
            Tree::Two(true, a, b) => a.holds(report) && b.holds(report),
            Tree::Two(false, a, b) => a.holds(report) || b.holds(report),
        }
    }
}

fn report() -> impl Strategy<Value = Report> {
    let named = |colour| {
        prop::option::of((0..5u32, 0..200u16))
            .prop_map(move |found| found.map(|(pixels, de00_q6)| NamedShare { colour, pixels, de00_q6 }))
    };
    let region = (named(0), named(1)).prop_map(|(a, b)| a.into_iter().chain(b).collect::<heapless::Vec<_, 16>>());
    let regions = prop::collection::vec(region, 0..4);
    let silhouette = prop::option::of(prop::sample::select(vec![-1_000_000, -250_000, 0, 500_000]));
    (regions, 0..4usize, prop::option::of(0..3u32), silhouette).prop_map(
        |(regions, clusters, missed, silhouette_ppm)| {
            let share = |(region, named)| RegionShare { region, pixels: 8, named };
            let swatch = Swatch { id: 0, rgb_q6: [0; 3], pixels: 1 };
            let palette = std::iter::repeat_n(swatch, clusters).collect();
            let regions = (0u8..).zip(regions).map(share).collect();
            Report { palette, missed, silhouette_ppm, regions, ..empty_report() }
        },
    )
}

proptest! {
    #[test]
    fn a_condition_holds_when_the_tree_that_it_was_written_from_does(
        tree in tree(), reports in prop::collection::vec(report(), 8), space in prop::sample::select(vec!["", " ", "\t\n"]),
    ) {
        let text = tree.text(0, space);
        prop_assume!(text.len() <= WHEN_BYTES_MAX);
        let condition = parse(&text, names()).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        for report in &reports {
            prop_assert_eq!(condition.holds(report), tree.holds(report), "{} for {:?}", text, report.regions);
        }
    }

    #[test]
    fn any_text_is_a_condition_or_an_error_within_it(text in "[a-z0-9(),<>=. é-]{0,60}") {
        if let Err(e) = parse(&text, names()) {
            prop_assert!((1..=text.chars().count() + 1).contains(&e.at), "{text}: {e}");
        }
    }
}

#[test]
fn an_error_says_where_what_was_expected_and_what_is_there() {
    let deep = format!("{}clusters > 1", "not ".repeat(40));
    for (text, at, expected, found) in [
        ("", 1, "share(colour, region)", "the end"),
        ("share(red-lamp, stack-1)", 25, "<, <=, > or >=", "the end"),
        ("share(red-lamp stack-1) > 1", 16, "`,`", "`stack-1`"),
        ("share(red, stack-1) > 1", 7, "the name of a colour (red-lamp, or)", "`red`"),
        ("share(or, é) > 1", 11, "the name of a region (stack-1, not, 7)", "`é`"),
        ("clusters > many", 12, "a number", "`many`"),
        ("clusters = 3", 10, "<, <=, > or >=", "`=`"),
        ("clusters > 3 clusters < 4", 14, "and, or, or the end", "`clusters`"),
        ("clusters > 3 and", 17, "not, `(` or one of", "the end"),
        ("(clusters > 3", 14, "`)`", "the end"),
        ("colour > 3", 1, "clusters, missed", "`colour`"),
        ("clusters > 1.2.3", 12, "a number", "`1`"),
        (&deep, 65, "at most 16 levels", "`not`"),
    ] {
        let error = parse(text, names()).expect_err(text);
        assert!(error.at == at && error.expected.contains(expected) && error.found == found, "{text}: {error}");
    }
    let none = parse("share(red, all) > 0", Names::default()).unwrap_err().to_string();
    assert_eq!(none, "at character 7: expected the name of a colour, but there is no [[colour]], found `red`");
    assert!(parse(&format!("clusters > 1{}", " ".repeat(WHEN_BYTES_MAX)), names()).is_err());
}
