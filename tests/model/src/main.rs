//! `model`: explores all configurations and planted mistakes, and prints what each took.
//! `model push` leaves the large ones out, `model write` prints the lines of `states.txt` too,
//! `model only TEXT` explores what has this text in its name, and `model beyond [TEXT]` what may have no
//! end within the bound: `--states N` and `--memory MIB`, for each of them.

use std::env::{args, current_exe};
use std::io::{Write, stdout};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use model::bounded::{Bound, Reached, Stop, explore_within};
use model::config::Config;
use model::counts::written;
use model::explore::{Found, dead_ends, explore};
use model::mistakes::planted;
use model::operator::{self, Operator, Scene};
use model::protocol::Protocol;
use model::{Alter, cases};
use operator_core::decide;

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_mins(30);
/// The bound of an exploration that may have no end within it.
const BOUND: Bound = Bound { states: 3_000_000, memory_mib: 2048 };
/// What a process is called with that explores one of them: its memory is then its own.
const ONE: &str = "beyond-one";

struct Report {
    bad: usize,
    lines: Vec<String>,
    /// What a name must hold to be explored.
    only: String,
    began: Instant,
}

impl Report {
    fn say(line: &str) {
        // nobody reads on: nothing to print
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

    fn case(&mut self, name: &str, found: &Found, began: Instant) {
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
            self.case(name, &found, began);
        }
    }

    fn endings(&mut self, configs: Vec<Config>) {
        for config in configs {
            let name = config.name;
            let Some(began) = self.begins(name) else { continue };
            let model = Protocol::new(config, Alter::default());
            let (states, dead, steps) = dead_ends(&model, |state| cases::is_done(&model, state));
            let broken = if dead == 0 { Vec::new() } else { vec![("no dead end", steps)] };
            let found = Found { states, made: states, broken, unreached: Vec::new(), whole: true };
            self.case(name, &found, began);
        }
    }

    fn scenes(&mut self, scenes: Vec<Scene>) {
        for scene in scenes {
            let name = scene.name;
            let Some(began) = self.begins(name) else { continue };
            let found = explore(Operator::new(scene, decide, Alter::default()), 2, LIMIT);
            self.case(name, &found, began);
        }
    }

    /// Each in a process of its own, so that its memory is not what others left.
    fn beyond(&mut self, bound: Bound) {
        let scenes = operator::cases::beyond().into_iter().map(|scene| scene.name);
        for name in scenes.chain(cases::beyond().into_iter().map(|config| config.name)) {
            if self.begins(name).is_none() {
                continue;
            }
            let ended = current_exe().and_then(|program| {
                let mut one = Command::new(program);
                let (states, memory) = (bound.states.to_string(), bound.memory_mib.to_string());
                one.args([ONE, name, "--states", &states, "--memory", &memory]).status()
            });
            let well = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
            self.bad += usize::from(!well);
            if ended.as_ref().map_or(true, |ended| ended.code().is_none()) {
                Self::say(&format!("WRONG its process ended so: {ended:?}  {name}"));
            }
        }
    }

    /// One of them, which may be of either model.
    fn one(&mut self, name: &str, bound: Bound) {
        let began = Instant::now();
        for config in cases::beyond().into_iter().filter(|config| config.name == name) {
            let found = explore_within(&Protocol::new(config, Alter::default()), bound);
            self.reached(name, &found, bound, began);
        }
        for scene in operator::cases::beyond().into_iter().filter(|scene| scene.name == name) {
            let found = explore_within(&Operator::new(scene, decide, Alter::default()), bound);
            self.reached(name, &found, bound, began);
        }
    }

    fn reached(&mut self, name: &str, found: &Reached, bound: Bound, began: Instant) {
        let pinned = written(name);
        // a smaller bound than the usual one may stop what comes to its end within that
        let same =
            pinned == found.states || (found.stop.is_some() && (pinned == 0 || bound != BOUND));
        let met = found.stop.is_some() || found.unreached.is_empty();
        let well = found.broken.is_empty() && met && same;
        self.bad += usize::from(!well);
        let word = if well { "ok" } else { "WRONG" };
        let Reached { states, made, depth, within, memory_mib, .. } = found;
        let took = began.elapsed().as_secs_f32();
        Self::say(&format!("{word:5} {states:10} states {made:11} steps {took:7.1} s  {name}"));
        let kept = if found.broken.is_empty() { "each promise held" } else { "a promise broke" };
        match found.stop {
            None => Self::say(&format!("      finished: {kept} in all states, {memory_mib} MiB")),
            Some(stop) => {
                let of = match stop {
                    Stop::States => {
                        format!("of {} states (it held {memory_mib} MiB)", bound.states)
                    }
                    Stop::Memory => format!("of {} MiB of memory", bound.memory_mib),
                };
                Self::say(&format!(
                    "      stopped at the bound {of}: {kept} in these states, among them all {within} \
                     within {depth} steps; what takes more steps is not proved"
                ));
            }
        }
        for promise in &found.broken {
            Self::say(&format!("      broke within {} steps: {promise}", depth + 1));
        }
        for promise in found.unreached.iter().filter(|_| found.stop.is_none()) {
            Self::say(&format!("      never reached: {promise}"));
        }
        if !same {
            Self::say(&format!("      states.txt says {pinned}"));
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

/// The bound that the flags set, and the other words.
fn bounded() -> Option<(Bound, Vec<String>)> {
    let (mut bound, mut words) = (BOUND, Vec::new());
    let mut given = args().skip(1);
    while let Some(word) = given.next() {
        match word.as_str() {
            "--states" => bound.states = given.next()?.parse().ok()?,
            "--memory" => bound.memory_mib = given.next()?.parse().ok()?,
            flag if flag.starts_with("--") => return None,
            _ => words.push(word),
        }
    }
    Some((bound, words))
}

fn main() -> ExitCode {
    let Some((bound, words)) = bounded() else {
        Report::say(
            "usage: model [push|write|only TEXT|beyond [TEXT]] [--states N] [--memory MIB]",
        );
        return ExitCode::FAILURE;
    };
    let mut words = words.into_iter();
    let word = words.next().unwrap_or_default();
    let only = words.next().unwrap_or_default();
    let mut report = Report { bad: 0, lines: Vec::new(), only, began: Instant::now() };
    if word == ONE {
        let name = report.only.clone();
        report.one(&name, bound);
        return if report.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if word == "beyond" {
        report.beyond(bound);
        return report.ends();
    }
    report.explore(cases::push());
    report.endings(cases::ending());
    report.scenes(operator::cases::push());
    report.mistakes();
    if word != "push" {
        report.scenes(operator::cases::large());
        report.endings(cases::ending_large());
        report.explore(cases::large());
        report.beyond(bound);
    }
    if word == "write" {
        for line in &report.lines {
            Report::say(line);
        }
    }
    report.ends()
}
