//! The pages for people: their links lead somewhere, and the commands of `tedge-hsm` in them are there, with
//! their options. tests/pages.txt says which test runs which commands of the pages.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use support::{program, repository};

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#]*)(?:#([^)]*))?\)").unwrap();
    let mut dead = Vec::new();
    for page in pages() {
        for found in link.captures_iter(&read(&page)) {
            let [path, anchor] = [1, 2].map(|i| found.get(i).map_or("", |part| part.as_str()));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.with_file_name("").join(path)
            };
            let leads = target.exists()
                && (anchor.is_empty() || anchors(&target).iter().any(|known| known == anchor));
            if !leads {
                dead.push(format!("{}: {path}#{anchor}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// Of each threat: the files that stop it, and the tests that prove it.
#[test]
fn the_threat_model_names_what_there_is() {
    let quoted = Regex::new(r"`([^`]+)`").unwrap();
    let a_test = Regex::new(r"^[a-z0-9]+(_[a-z0-9]+){2,}$").unwrap();
    let threat = Regex::new(r"^\| T\d").unwrap();
    let threat_of_bridge = Regex::new(r"^\| B\d").unwrap();
    let braces = Regex::new(r"^(.*)\{(.*)\}(.*)$").unwrap();
    let sources = Command::new("grep")
        .args(["-rhoE", "fn [a-z0-9_]+", "--include=*.rs", "rust", "tests"])
        .current_dir(repository())
        .output()
        .unwrap();
    let sources = String::from_utf8(sources.stdout).unwrap();
    let tests: Vec<_> = sources
        .lines()
        .filter_map(|f| f.split(' ').next_back())
        .collect();
    let (mut missing, mut seen) = (Vec::new(), 0);
    for line in read(&repository().join("docs/threat-model.md")).lines() {
        let cells: Vec<_> = line.trim_end_matches(" |").split(" | ").collect();
        let (base, [.., files, proof]) = (
            match line.get(..4) {
                Some(start) if threat.is_match(start) => "tedge-p11-server",
                Some(start) if threat_of_bridge.is_match(start) => "tedge-hsm-bridge",
                _ => continue,
            },
            &cells[..],
        ) else {
            panic!("{line}");
        };
        for test in quoted.captures_iter(proof).map(|found| found[1].to_owned()) {
            seen += 1;
            if a_test.is_match(&test) && !tests.contains(&&*test) {
                missing.push(test);
            }
        }
        for file in quoted.captures_iter(files).map(|found| found[1].to_owned()) {
            let files: Vec<_> = match braces.captures(&file) {
                Some(parts) => parts[2]
                    .split(',')
                    .map(|name| format!("{}{name}{}", &parts[1], &parts[3]))
                    .collect(),
                None => vec![file],
            };
            let crates = repository().join("rust").join(base);
            let places = [repository(), crates.join("src"), crates];
            let is_missing = |file: &String| !places.iter().any(|place| place.join(file).exists());
            missing.extend(files.into_iter().filter(is_missing));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 100, "{seen}");
}

/// tests/README.md has a row for each script and each target, and the recording in README is of the demo that there is.
#[test]
fn the_lists_name_what_there_is() {
    let list = read(&repository().join("tests/README.md"));
    let named = Regex::new(r"`([a-z0-9_/-]+)[^`]*`").unwrap();
    let named: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| named.captures_iter(line.split(" | ").next().unwrap()))
        .map(|found| found[1].to_owned())
        .collect();
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(repository().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_target =
            path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
        let is_script = path.is_file() && path.extension().is_none();
        let is_program = ["bench", "attacks"].contains(&&*stem);
        if (is_target || is_script) && !is_program && !named.contains(&stem) {
            missing.push(stem);
        }
    }
    let recording = read(&repository().join("docs/diagrams/demo.svg"));
    let demo = read(&repository().join("tests/demo"));
    let heading = Regex::new(r">== ([^<]+)<").unwrap();
    for found in heading.captures_iter(&recording) {
        if !demo.contains(&format!("begin \"{}\"", &found[1])) {
            missing.push(found[1].to_owned());
        }
    }
    assert!(heading.captures_iter(&recording).count() > 2);
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Each block of commands has its row in tests/pages.txt, and a test that is named there knows the page.
#[test]
fn each_block_of_commands_is_run_or_says_why_not() {
    let list = read(&repository().join("tests/pages.txt"));
    let rows: Vec<Vec<_>> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" | ").collect())
        .collect();
    let mut wrong = Vec::new();
    let mut there = Vec::new();
    for page in pages() {
        let name = page.strip_prefix(repository()).unwrap().to_str().unwrap();
        for (heading, number, language) in blocks(&read(&page)) {
            let place = [name, &heading, &number.to_string()].join(" | ");
            let listed = rows.iter().filter(|row| row[..3].join(" | ") == place);
            match (listed.count(), &*language) {
                (1, _) => {}
                (0, other) if !["sh", "console"].contains(&other) => {}
                (count, _) => wrong.push(format!("{place}: {count} rows")),
            }
            there.push(place);
        }
    }
    for row in &rows {
        let (place, by) = (row[..3].join(" | "), row[3]);
        let knows_it = || {
            let page = row[0].trim_start_matches("docs/");
            read(&repository().join(by)).contains(page)
        };
        if !there.contains(&place) {
            wrong.push(format!("{place}: there is no such block"));
        } else if !by.starts_with("nobody: ") && !knows_it() {
            wrong.push(format!("{place}: {by} does not name the page"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows.len() > 80);
}

#[test]
fn commands_are_there_with_their_options() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for line in invocations(&read(&page)) {
            let mut words = line.split_whitespace();
            // With the cloud, for enroll.
            let mut command = Vec::new();
            let mut options = Vec::new();
            while let Some(word) = words.next() {
                if let Some(option) = word.strip_prefix("--") {
                    options.push(option.split('=').next().unwrap_or_default());
                    // Those that may come before the command all take a value, but for --help and --version.
                    if command.is_empty() && !["help", "version"].contains(&option) {
                        words.next();
                    }
                } else if command.is_empty() || (command == ["enroll"] && options.is_empty()) {
                    command.push(word);
                }
            }
            let help = help(&command);
            seen += 1;
            let missing = options.iter().find(|option| {
                let known = Regex::new(&format!(r"--{}\b", regex::escape(option))).unwrap();
                !help.as_deref().is_some_and(|help| known.is_match(help))
            });
            if help.is_none() || missing.is_some() {
                wrong.push(format!("{}: tedge-hsm {line}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 50, "only {seen} commands were found");
}

/// What `tedge-hsm` says to --help, for a command or without one; `None` if there is no such command.
fn help(command: &[&str]) -> Option<String> {
    let output = Command::new(program("tedge-hsm"))
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

/// What follows `tedge-hsm` in code, blocks and spans, up to the end of the command.
fn invocations(page: &str) -> Vec<String> {
    let code = Regex::new(r"(?s)```.*?```|`[^`]+`").unwrap();
    let invocation = Regex::new(r"\btedge-hsm ([a-z-][^|;&()<>`\n#]*)").unwrap();
    let mut found = Vec::new();
    for part in code.find_iter(page) {
        let mut text = part.as_str().replace("\\\n", " ");
        if !text.starts_with("```") {
            text = text.replace('\n', " ");
        }
        for invoked in invocation.captures_iter(&text) {
            // What is in quotes is no option.
            let line = invoked[1].split(['"', '\'']).step_by(2);
            found.push(line.collect::<Vec<_>>().join("VALUE"));
        }
    }
    found
}

/// The blocks of code that name a language: heading, number below it, language.
fn blocks(page: &str) -> Vec<(String, u32, String)> {
    let fence = Regex::new("^ *```([a-z]*)").unwrap();
    let (mut heading, mut number, mut within) = (String::new(), 0, false);
    let mut found = Vec::new();
    for line in page.lines() {
        if let Some(language) = fence.captures(line).map(|found| found[1].to_owned()) {
            within = !within;
            if within && !language.is_empty() {
                number += 1;
                found.push((heading.clone(), number, language));
            }
        } else if !within && line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
            number = 0;
        }
    }
    found
}

/// The anchors that a page's headings get.
fn anchors(page: &Path) -> Vec<String> {
    let headings = read(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            text.chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let root = repository();
    let mut pages: Vec<_> = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "tests/README.md",
        "meta-tedge-hsm/README.md",
    ]
    .map(|page| root.join(page))
    .into();
    for folder in ["docs", "docs/hsm", "docs/clouds"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|end| end == "md")));
    }
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap()
}
