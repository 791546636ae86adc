//! Stories of the manual: a page for every command, which the programs that show manuals accept.
//!
//! mandoc and groff look at the pages where they are installed (`TREEHAND_REQUIRE` makes that a must).

use crate::support;

use support::World;

/// The commands that `--help` names, with the subcommands of each.
fn verbs(world: &World, path: &[&str]) -> Vec<String> {
    let help = world.treehand(&[path, &["--help"]].concat()).expect(0).stdout;
    let block = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let named = block.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let mut found = Vec::new();
    for verb in named.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        let inner = [path, &[verb]].concat();
        found.push(inner.join("-"));
        found.extend(verbs(world, &inner));
    }
    found
}

#[test]
fn every_command_has_a_page_that_manual_readers_accept() {
    let world = World::new();
    let written = world.treehand(&["__man", "../man", "--json"]).expect(0).json();
    let verbs = verbs(&world, &[]);
    assert!(verbs.len() > 20 && verbs.contains(&"config-show".to_owned()), "{verbs:?}");
    assert_eq!(written["pages"].as_array().map(Vec::len), Some(verbs.len() + 1));
    let page = |name: &str| std::fs::read_to_string(world.path().join("man").join(name)).expect(name);
    for verb in &verbs {
        let text = page(&format!("treehand-{verb}.1"));
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{verb}: {text}");
    }
    assert!(page("treehand.1").contains("treehand\\-shell\\-init(1)"));
    for (program, check) in [("mandoc", "mandoc -Tlint -Werror"), ("groff", "groff -man -Tutf8 -ww")] {
        if world.has(program) {
            let answer =
                world.shell(&format!("for page in ../man/*.1; do {check} \"$page\" || exit 1; done")).expect(0);
            assert_eq!(answer.stderr, "", "{program}");
        }
    }
}
