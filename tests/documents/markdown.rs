//! What the rules need of a Markdown file: its fenced blocks, its code spans, its links and its headings.
//!
//! A small reader of the Markdown that this project writes: fences of three backticks, spans of one backtick on one line,
//! inline links. Indented blocks are text.

/// A fenced block.
#[derive(Debug)]
pub struct Fence {
    /// The word behind the opening backticks.
    pub language: String,
    /// The line of the opening backticks, from 1.
    pub line: usize,
    /// The lines between the backticks.
    pub text: String,
}

/// A file, taken apart.
#[derive(Debug)]
pub struct Document {
    /// Its path in the repository.
    pub path: String,
    /// Its fenced blocks, in order.
    pub fences: Vec<Fence>,
    /// The line and the text of each code span.
    pub spans: Vec<(usize, String)>,
    /// The line and the target of each link.
    pub links: Vec<(usize, String)>,
    /// The anchors of its headings.
    pub anchors: Vec<String>,
}

impl Document {
    /// Takes the text of the file at `path` apart.
    pub fn new(path: &str, text: &str) -> Document {
        let (fences, spans, links, anchors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut document = Document { path: path.to_owned(), fences, spans, links, anchors };
        let mut open: Option<Fence> = None;
        for (line, text) in text.lines().enumerate().map(|(i, text)| (i + 1, text)) {
            match (&mut open, text.trim_start().strip_prefix("```")) {
                (None, Some(language)) => {
                    open = Some(Fence { language: language.trim().to_owned(), line, text: String::new() });
                }
                (Some(_), Some(_)) => document.fences.extend(open.take()),
                (Some(fence), None) => {
                    fence.text.push_str(text);
                    fence.text.push('\n');
                }
                (None, None) => document.read_line(line, text),
            }
        }
        document.fences.extend(open);
        document
    }

    fn read_line(&mut self, line: usize, text: &str) {
        if let Some(heading) = text.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            self.anchors.push(kept.collect::<String>().replace(' ', "-"));
        }
        let mut prose = String::new();
        for (i, part) in text.split('`').enumerate() {
            if i % 2 == 1 {
                self.spans.push((line, part.to_owned()));
            } else {
                prose.push_str(part);
            }
        }
        for part in prose.split("](").skip(1) {
            self.links.extend(part.split_once(')').map(|(target, _)| (line, target.to_owned())));
        }
    }
}
