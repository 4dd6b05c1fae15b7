//! `model`: explores all configurations and planted mistakes, and prints what each took.
//! `model push` leaves the large ones out, `model write` prints the lines of `states.txt` too,
//! `model only TEXT` explores what has this text in its name, and `model beyond` what has no pinned
//! number yet.

use std::env::args;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use model::config::Config;
use model::counts::written;
use model::explore::{Found, dead_ends, explore};
use model::mistakes::planted;
use model::operator::{self, Operator, Scene};
use model::protocol::Protocol;
use model::{Alter, worlds};
use operator_core::decide;

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_mins(30);

struct Report {
    bad: usize,
    lines: Vec<String>,
    /// What a name must hold to be explored.
    only: String,
    began: Instant,
}

impl Report {
    fn say(line: &str) {
        // nobody reads on: nothing to tell
        let _ = writeln!(stdout(), "{line}");
    }

    /// Whether a name is wanted; says that it begins, since some take minutes.
    fn begins(&self, name: &str) -> Option<Instant> {
        if !name.contains(&self.only) {
            return None;
        }
        Self::say(&format!("..... at {:4} s: {name}", self.began.elapsed().as_secs()));
        Some(Instant::now())
    }

    fn world(&mut self, name: &str, found: &Found, began: Instant) {
        let pinned = written(name);
        let well = found.broken.is_empty() && found.unreached.is_empty() && found.whole;
        let same = pinned == found.states;
        let word = if well && same { "ok" } else { "WRONG" };
        self.bad += usize::from(!(well && same));
        let (states, made, took) = (found.states, found.made, began.elapsed().as_secs_f32());
        Self::say(&format!("{word:5} {states:10} states {made:11} steps {took:7.1} s  {name}"));
        for (promise, steps) in &found.broken {
            Self::say(&format!("      broke: {promise}\n      {}", steps.join(" ")));
        }
        for promise in &found.unreached {
            Self::say(&format!("      never reached: {promise}"));
        }
        if !found.whole {
            Self::say("      not explored to its end");
        }
        if !same {
            Self::say(&format!("      states.txt says {pinned}"));
        }
        self.lines.push(format!("{states} {name}"));
    }

    fn explore(&mut self, configs: Vec<Config>) {
        for config in configs {
            let name = config.name;
            let Some(began) = self.begins(name) else { continue };
            let found = explore(Protocol::new(config, Alter::default()), 2, LIMIT);
            self.world(name, &found, began);
        }
    }

    fn endings(&mut self, configs: Vec<Config>) {
        for config in configs {
            let name = config.name;
            let Some(began) = self.begins(name) else { continue };
            let model = Protocol::new(config, Alter::default());
            let (states, dead, steps) = dead_ends(&model, |state| worlds::is_done(&model, state));
            let broken = if dead == 0 { Vec::new() } else { vec![("no dead end", steps)] };
            let found = Found { states, made: states, broken, unreached: Vec::new(), whole: true };
            self.world(name, &found, began);
        }
    }

    fn scenes(&mut self, scenes: Vec<Scene>) {
        for scene in scenes {
            let name = scene.name;
            let Some(began) = self.begins(name) else { continue };
            let found = explore(Operator::new(scene, decide, Alter::default()), 2, LIMIT);
            self.world(name, &found, began);
        }
    }

    fn caught(
        &mut self,
        (name, source, by): (&str, &str, &str),
        caught: impl Fn(&Found) -> bool,
        look: impl Fn() -> Found,
    ) {
        if !name.contains(&self.only) {
            return;
        }
        let began = Instant::now();
        let found = look();
        let well = caught(&found);
        self.bad += usize::from(!well);
        let word = if well { "ok" } else { "WRONG" };
        let (states, took) = (found.states, began.elapsed().as_secs_f32());
        let steps = found.broken.first().map_or(0, |(_, steps)| steps.len());
        let by = if by.is_empty() { "another defence holds" } else { by };
        Self::say(&format!(
            "{word:5} {states:6} states {steps:3} steps {took:5.1} s  {name} ({source}): {by}"
        ));
        if !well {
            for (promise, steps) in &found.broken {
                Self::say(&format!("      broke: {promise}\n      {}", steps.join(" ")));
            }
        }
    }

    fn ends(&self) -> ExitCode {
        let took = self.began.elapsed().as_secs();
        Self::say(&format!("{} wrong, {took} s", self.bad));
        if self.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn mistakes(&mut self) {
        let began = Instant::now();
        for mistake in planted() {
            let of = (mistake.name, mistake.source, mistake.caught_by);
            self.caught(of, |found| mistake.is_as_expected(found), || mistake.look());
        }
        for mistake in operator::mistakes::planted() {
            let of = (mistake.name, mistake.source, mistake.caught_by);
            self.caught(of, |found| mistake.is_as_expected(found), || mistake.look());
        }
        let took = began.elapsed().as_secs();
        let count = planted().len() + operator::mistakes::planted().len();
        Self::say(&format!("{count} planted mistakes, {took} s"));
    }
}

fn main() -> ExitCode {
    let word = args().nth(1).unwrap_or_default();
    let only = if word == "only" { args().nth(2).unwrap_or_default() } else { String::new() };
    let mut report = Report { bad: 0, lines: Vec::new(), only, began: Instant::now() };
    if word == "beyond" {
        report.scenes(operator::worlds::beyond());
        report.explore(worlds::beyond());
        return report.ends();
    }
    report.explore(worlds::push());
    report.endings(worlds::ending());
    report.scenes(operator::worlds::push());
    report.mistakes();
    if word != "push" {
        report.scenes(operator::worlds::large());
        report.endings(worlds::ending_large());
        report.explore(worlds::large());
    }
    if word == "write" {
        for line in &report.lines {
            Report::say(line);
        }
    }
    report.ends()
}
