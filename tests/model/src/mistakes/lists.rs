//! In: nothing. Out: the lists of mistakes that the rules were first checked against, each with
//! the planted mistake that stands for it here. Bound: one row each. Fails: never; a test asks for
//! every row's mistake, so that none goes missing.

/// Where it was listed, as it was called there, the planted mistake's name.
pub type Listed = (&'static str, &'static str, &'static str);

/// The list of the first model: planners and committers.
const FIRST: [Listed; 12] = [
    ("8.4", "RecordOverwrite", "record overwrite"),
    ("8.4", "SameFileName", "attempts share a file name"),
    ("8.4", "CommitNoCas", "commit without run and revision (CommitNoCas)"),
    ("8.4", "PointerFirst", "pointer before Y (PointerFirst)"),
    ("8.4", "PlanNoCas", "pin without condition (PlanNoCas)"),
    ("8.4", "NewWindowOnRetry", "new window on retry"),
    ("8.4", "ReuseRunIdOnRetry", "resume the same run (ReuseRunIdOnRetry)"),
    ("8.4", "PointerNoEpoch", "pointer without upward check (PointerNoEpoch)"),
    ("8.4", "GcByPointer", "sweep by pointer only (GcByPointer)"),
    ("8.4", "StatusFromJob", "status from the Job (StatusFromJob)"),
    ("8.4", "ExitZeroOnTerm", "exit 0 on SIGTERM (ExitZeroOnTerm)"),
    (
        "8.4",
        "JobCompleteIsCommit",
        "Job Complete is a commit, and exit 0 on SIGTERM (JobCompleteIsCommit)",
    ),
];

/// The list of the second model: one object's runs.
const SECOND: [Listed; 34] = [
    ("8.7", "complete before DECIDE", "complete before DECIDE"),
    ("8.7", "recovery fails a committing run", "recovery fails a committing run"),
    ("8.7", "recovery aborts a committing run", "recovery aborts a committing run"),
    ("8.7", "abort before the fence", "abort before the fence"),
    ("8.7", "claim without condition", "claim without condition"),
    ("8.7", "claim by id only", "claim by id only"),
    ("8.7", "takeover in committing", "takeover in committing"),
    ("8.7", "pin at claim", "pin at claim"),
    ("8.7", "re-pin", "re-pin"),
    ("8.7", "pin without condition", "pin without condition (PlanNoCas)"),
    ("8.7", "hi from the clock", "hi from the clock"),
    ("8.7", "DECIDE without condition", "DECIDE without condition"),
    ("8.7", "DECIDE by id only", "DECIDE by id only"),
    ("8.7", "Y without condition", "Y without condition"),
    ("8.7", "record overwrite", "record overwrite"),
    ("8.7", "resume the same run", "resume the same run (ReuseRunIdOnRetry)"),
    ("8.7", "pointer before Y", "pointer before Y (PointerFirst)"),
    ("8.7", "pointer without upward check", "pointer without upward check (PointerNoEpoch)"),
    ("8.7", "pointer without If-Match", "pointer without If-Match"),
    ("8.7", "removal before pointer", "removal before pointer"),
    ("8.7", "removal of everything not mine", "removal of everything not mine"),
    ("8.7", "mode of the pending window forgotten", "mode of the pending window forgotten"),
    ("8.7", "fenced, so it must be Y", "fenced, so it must be Y"),
    ("8.7", "sweep by head only", "sweep by head only"),
    ("8.7", "sweep by pointer only", "sweep by pointer only (GcByPointer)"),
    ("8.7", "sweep reads before it lists", "sweep reads before it lists"),
    ("8.7", "sweep without a run item", "sweep without a run item"),
    ("8.7", "force without a state", "force without a state"),
    ("8.7", "force deletes before aborting", "force deletes before aborting"),
    ("8.7", "force cleans before the condition", "force cleans before the condition"),
    ("8.7", "two items without the lwm check", "two items without the lwm check"),
    ("8.7", "a complete that re-creates", "a complete that re-creates"),
    ("8.7", "claimant skips the pointer", "claimant skips the pointer"),
    (
        "8.7",
        "removal by head only where claimants skip it",
        "removal by head only where claimants skip it",
    ),
];

/// The list of the third model: two objects on one source, operators, outcomes.
const THIRD: [Listed; 21] = [
    ("8.8", "CLAIM ignores O", "CLAIM ignores O"),
    ("8.8", "CLAIM ignores owner and attempt", "CLAIM ignores owner and attempt"),
    ("8.8", "recovery without owner", "recovery without owner"),
    ("8.8", "due decided from R's owner", "due decided from R's owner"),
    ("8.8", "pending window kept after FE", "pending window kept after FE"),
    ("8.8", "R missing taken for a first run", "R missing taken for a first run"),
    ("8.8", "no session query before DECIDE", "no session query before DECIDE"),
    ("8.8", "attempt from tracking only", "attempt from tracking only"),
    ("8.8", "L missing = first run", "L missing = first run"),
    ("8.8", "recovery without attempt", "recovery without attempt"),
    ("8.8", "FE leaves a pending window", "FE leaves a pending window"),
    ("8.8", "pending window dropped on takeover", "pending window dropped on takeover"),
    ("8.8", "pending window dropped on FAIL", "pending window dropped on FAIL"),
    ("8.8", "pending window kept over a legacy write", "pending window kept over a legacy write"),
    ("8.8", "DECIDE without L", "DECIDE without L"),
    ("8.8", "Y and O not one transaction", "Y and O not one transaction"),
    ("8.8", "O's generation from now", "O's generation from now instead of the task's"),
    ("8.8", "suspend spends a retry", "suspend spends a retry"),
    ("8.8", "takeover in committing", "takeover in committing"),
    ("8.8", "recovery fails committing", "recovery fails a committing run"),
    ("8.8", "recovery reads, then lists", "recovery reads, then lists"),
];

/// What earlier wordings of the rules allowed.
const WORDINGS: [Listed; 5] = [
    ("8.8 (wording)", "attempts counted per request", "attempts counted per request"),
    (
        "8.8 (wording)",
        "an outcome Failed that refuses the edited object",
        "an outcome Failed refuses the edited object",
    ),
    ("8.8 (wording)", "a refused CLAIM that fails the object", "a refused CLAIM fails the object"),
    (
        "8.8 (wording)",
        "an FE that makes a lost L from the minimum",
        "FE makes a lost L from the minimum",
    ),
    (
        "8.8 (wording)",
        "recovery of an attempt that has not claimed yet",
        "recovery of an attempt that has not claimed fences nothing",
    ),
];

/// What those models left open.
const OPEN: [Listed; 19] = [
    ("new", "lwm = max seen below hi", "lwm = hi, and not the greatest seen below it"),
    ("new", "empty windows", "an empty window moves the watermark"),
    ("new", "late rows", "late rows: the guard is read after the snapshot"),
    ("new", "todo", "todo forgotten at Y"),
    ("new", "todo, cleared early", "todo cleared before the pointer"),
    ("new", "removal postponed, forgotten", "a removal that is postponed is forgotten"),
    ("new", "removal postponed, too early", "a removal that is postponed is done at once"),
    (
        "new",
        "removal postponed, forgotten by the next full run",
        "the next full run forgets what is still to be removed",
    ),
    (
        "new",
        "removal postponed, the source moves",
        "a full run at another URI forgets what is still to be removed",
    ),
    (
        "new",
        "removal postponed, the source moves and comes back",
        "a full run that comes back forgets what is still to be removed",
    ),
    (
        "new",
        "sweep, retention after a move",
        "sweep forgets what is retained where the head is not",
    ),
    ("new", "sweep, the present run", "sweep of the run in R"),
    ("new", "sweep, retention", "sweep forgets what is replaced and retained"),
    ("new", "watermark set, revision", "watermark set ignores the revision"),
    ("new", "watermark set, live run", "watermark set while a run is live"),
    ("new", "watermark set, pending window", "watermark set keeps a pending window"),
    ("new", "watermark set, failed window", "watermark set keeps the window of a failed run"),
    ("new", "watermark set, condition", "watermark set without a condition on R"),
    ("new", "suspend, open run", "suspend leaves a run open"),
];

/// All rows.
pub fn listed() -> Vec<Listed> {
    [&FIRST[..], &SECOND, &THIRD, &WORDINGS, &OPEN].concat()
}
