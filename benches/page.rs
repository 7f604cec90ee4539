//! `docs/performance.md`: figures written by the program, and an explanation of them that people write.

use std::path::Path;
use std::{fs, io};

use crate::environment;

/// From this heading on, the page is written by people.
const EXPLANATION: &str = "## Where the time goes";

/// Replaces the figures of the page at `path`, and keeps the explanation.
pub fn write(path: &Path, sections: &[String]) -> io::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    fs::write(path, page(&environment::heading(), sections, &before))
}

fn page(heading: &str, sections: &[String], before: &str) -> String {
    let mut page = heading.to_owned();
    for section in sections {
        page.push('\n');
        page.push_str(section);
    }
    if let Some(start) = before.find(EXPLANATION) {
        page.push('\n');
        page.push_str(&before[start..]);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn an_explanation_outlives_the_figures() {
        let before = "# Performance\n\nold figures\n\n## Where the time goes\n\nIn the cache.\n";

        let after = page("# Performance\n", &["new figures\n".to_owned()], before);

        assert_eq!(after, "# Performance\n\nnew figures\n\n## Where the time goes\n\nIn the cache.\n");
    }
}
