//! `model`: explores all configurations and planted mistakes, and prints what each took.
//! `model push` leaves the large ones out; `model write` prints the lines of `states.txt`.

use std::env::args;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use model::config::Config;
use model::counts::written;
use model::explore::{Found, dead_ends, explore};
use model::mistakes::{pending, planted};
use model::operator::{self, Operator, Scene};
use model::protocol::Protocol;
use model::{Alter, worlds};
use operator_core::decide;

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_mins(30);

struct Report {
    bad: usize,
    lines: Vec<String>,
}

impl Report {
    fn say(line: &str) {
        // nobody reads on: nothing to tell
        let _ = writeln!(stdout(), "{line}");
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
        if !same {
            Self::say(&format!("      states.txt says {pinned}"));
        }
        self.lines.push(format!("{states} {name}"));
    }

    fn explore(&mut self, config: Config) {
        let (name, began) = (config.name, Instant::now());
        let found = explore(Protocol::new(config, Alter::default()), 2, LIMIT);
        self.world(name, &found, began);
    }

    fn endings(&mut self, configs: Vec<Config>) {
        for config in configs {
            let (name, began) = (config.name, Instant::now());
            let model = Protocol::new(config, Alter::default());
            let (states, dead, steps) = dead_ends(&model, |state| worlds::is_done(&model, state));
            let broken = if dead == 0 { Vec::new() } else { vec![("no dead end", steps)] };
            let found = Found { states, made: states, broken, unreached: Vec::new(), whole: true };
            self.world(name, &found, began);
        }
    }

    fn scenes(&mut self, scenes: Vec<Scene>) {
        for scene in scenes {
            let (name, began) = (scene.name, Instant::now());
            let found = explore(Operator::new(scene, decide, Alter::default()), 2, LIMIT);
            self.world(name, &found, began);
        }
    }

    fn caught(&mut self, found: &Found, (name, caught): (&str, bool), (source, by): (&str, &str)) {
        self.bad += usize::from(!caught);
        let word = if caught { "ok" } else { "WRONG" };
        let states = found.states;
        let steps = found.broken.first().map_or(0, |(_, steps)| steps.len());
        Self::say(&format!("{word:5} {states:6} states {steps:3} steps  {name} ({source}): {by}"));
    }

    fn operator_mistakes(&mut self) {
        for mistake in operator::mistakes::planted() {
            let found = mistake.look();
            let caught = mistake.is_as_expected(&found);
            self.caught(&found, (mistake.name, caught), (mistake.source, mistake.caught_by));
        }
    }

    fn mistakes(&mut self) {
        for mistake in planted() {
            let found = mistake.look();
            let caught = mistake.is_as_expected(&found);
            self.caught(&found, (mistake.name, caught), (mistake.source, mistake.caught_by));
        }
        for waiting in pending() {
            let (name, source, reason) = (waiting.name, waiting.source, waiting.waits_for);
            Self::say(&format!("later                                {name} ({source}): {reason}"));
        }
    }
}

fn main() -> ExitCode {
    let word = args().nth(1).unwrap_or_default();
    let mut report = Report { bad: 0, lines: Vec::new() };
    let began = Instant::now();
    for config in worlds::push() {
        report.explore(config);
    }
    report.endings(worlds::ending());
    report.scenes(operator::worlds::push());
    if word != "push" {
        for config in worlds::large() {
            report.explore(config);
        }
        report.endings(worlds::ending_large());
        report.scenes(operator::worlds::large());
    }
    report.mistakes();
    report.operator_mistakes();
    if word == "write" {
        for line in &report.lines {
            Report::say(line);
        }
    }
    let took = began.elapsed().as_secs();
    Report::say(&format!("{} wrong, {took} s", report.bad));
    if report.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
