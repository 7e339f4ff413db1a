//! The completions that are installed, run by their shells: after each command, all of its options are offered.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use support::{program, repository, succeed};

#[test]
fn bash_completes_every_command() {
    let script = r#"
        source "$1"
        # What `complete -F FUNCTION tedge-hsm` said.
        read -ra spec < <(complete -p tedge-hsm)
        for ((i = 0; i < ${#spec[@]}; i++)); do
            [ "${spec[i]}" != -F ] || function=${spec[i + 1]}
        done
        COMP_WORDS=(tedge-hsm ${2:+"$2"} "$3")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        "$function" tedge-hsm "$3" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    every_command_is_completed("bash", |command, word| {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]);
        bash.arg(dist("bash/tedge-hsm")).args([command, word]);
        bash
    });
}

#[test]
fn fish_completes_every_command() {
    every_command_is_completed("fish", |command, word| {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]);
        fish.arg(dist("fish/tedge-hsm.fish"));
        fish.arg(format!("tedge-hsm {command} {word}").replace("  ", " "));
        fish
    });
}

/// A shell in a terminal of zsh's own, in which the tab key is pressed. What the completion system is given by the script is
/// written to a file.
#[test]
fn zsh_completes_every_command() {
    let init = r#"
        PROMPT=
        fpath=($ZSH_SCRIPTS $fpath)
        autoload -Uz compinit
        compinit -u -D
        bindkey '^I' complete-word
        unsetopt always_to_end list_beep
        setopt no_always_last_prompt
        compadd() {
            local -a offered
            if [[ $* != *-[OAD]* ]]; then
                builtin compadd -A offered "$@"
                print -rl -- $offered >>$ZSH_OFFERED
            fi
            builtin compadd "$@"
        }
        ended() { print -r -- END >>$ZSH_OFFERED }
        comppostfuncs=(ended)
        print -r -- END >>$ZSH_OFFERED
    "#;
    let script = r#"
        zmodload zsh/zpty
        zpty -b shell zsh -f -i
        # Reads on, so that the other side never blocks, until END was written.
        await() {
            while [[ $(tail -n 1 $ZSH_OFFERED) != END ]]; do
                zpty -r -t shell said || zselect -t 1
                zpty -t shell || exit 1
            done
        }
        zmodload zsh/zselect
        zpty -w shell "source $ZSH_INIT"
        await
        : >$ZSH_OFFERED
        zpty -w -n shell "tedge-hsm $1 $2"$'\t'
        await
        grep -v '^END$' $ZSH_OFFERED
    "#;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("init"), init).unwrap();
    every_command_is_completed("zsh", |command, word| {
        std::fs::write(path("offered"), "").unwrap();
        let mut zsh = Command::new("zsh");
        zsh.args(["-f", "-c", script, "zsh", command, word]);
        zsh.env("ZSH_INIT", path("init"));
        zsh.env("ZSH_OFFERED", path("offered"));
        zsh.env("ZSH_SCRIPTS", dist("zsh")).env("TERM", "dumb");
        zsh
    });
}

/// `complete` is given a command and the word before the cursor.
fn every_command_is_completed(shell: &str, complete: impl Fn(&str, &str) -> Command) {
    if Command::new(shell).arg("--version").output().is_err() {
        println!("skipped: {shell} is not installed (tests/install-packages shells)");
        return;
    }
    let offered = |command: &str, word: &str| {
        let said = succeed(&mut complete(command, word));
        let words = said
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    let first = offered("", "");
    for command in &commands {
        assert!(
            first.contains(command),
            "{shell}: no {command} in {first:?}"
        );
        let options = options(command);
        let found = offered(command, "--");
        let missing: Vec<_> = options.difference(&found).collect();
        assert!(
            missing.is_empty(),
            "{shell}: {command}: no {missing:?} in {found:?}"
        );
    }
    let types = offered("create-key", "--ty");
    assert!(types.contains("--type"), "{shell}: {types:?}");
}

fn commands() -> BTreeSet<String> {
    let help = succeed(Command::new(program("tedge-hsm")).arg("--help"));
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let (listed, _) = listed.split_once("\n\n").unwrap();
    let lines = listed.lines().filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The long options that its help has.
fn options(command: &str) -> BTreeSet<String> {
    let help = succeed(Command::new(program("tedge-hsm")).args([command, "--help"]));
    let lines = help.lines().take_while(|line| *line != "Examples:");
    let lines = lines.map(str::trim_start);
    let names = lines.filter_map(|line| line.trim_start_matches("-h, ").strip_prefix("--"));
    let names = names.filter_map(|line| line.split([' ', '=']).next());
    names.map(|name| format!("--{name}")).collect()
}

fn dist(file: &str) -> PathBuf {
    repository().join("dist/tedge-hsm").join(file)
}
