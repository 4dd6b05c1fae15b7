//! The planted mistakes from the records on.

use crds::tracking::Mode::{FE, Reingest};
use worker_core::protocol::Step;

use super::super::{publishing as p, recovering as s};
use super::{NONE, alone, case, followed, lie, mistake, next_request, recovered, text};
use crate::alter::{Alter, Lie};
use crate::config::{Budget, Row, Seed, recover, start};
use crate::mistakes::Mistake;
use crate::rules::Rule;

pub(super) fn deciding() -> Vec<Mistake> {
    let before = || recovered().seeds(&[Seed::Before(0, Step::Decide)]);
    let twins = Budget { twins: 1, ..NONE };
    vec![
        lie(
            ("record overwrite", "8.4, 8.7"),
            Rule::Exclusive.text(),
            Alter::lie(Lie::RecordsOverwritten),
            alone().budget(twins),
        ),
        Mistake {
            note: "the uploads' own ids are a second defence: two uploads to one key never mix",
            ..lie(
                ("attempts share a file name", "8.4"),
                text::ONE_WRITER,
                Alter { token: |_| "t".to_owned(), ..Alter::default() },
                alone().budget(twins),
            )
        },
        lie(
            ("no session query before DECIDE", "8.8"),
            Rule::Session.text(),
            Alter::lie(Lie::NeverAssures),
            alone().budget(Budget { sessions: 1, ..NONE }),
        ),
        mistake(
            ("complete before DECIDE", "8.7"),
            Rule::Hidden.text(),
            p::complete_before_decide,
            alone(),
        ),
        mistake(
            ("DECIDE without condition", "8.7"),
            Rule::Fenced.text(),
            p::decide_without_condition,
            before(),
        ),
        mistake(("DECIDE by id only", "8.7"), Rule::Fenced.text(), p::decide_by_id_only, before()),
        mistake(
            ("DECIDE without L", "8.8"),
            Rule::Contiguous.text(),
            p::decide_without_mark,
            before().budget(Budget { legacy: 1, ..NONE }),
        ),
        mistake(
            ("DECIDE before the manifest", "new"),
            text::COMPLETABLE,
            p::decide_before_manifest,
            alone(),
        ),
        mistake(
            ("fenced, so it must be decided", "8.7"),
            Rule::Hidden.text(),
            p::fenced_taken_for_decided,
            before(),
        ),
        mistake(
            ("commit without run and revision (CommitNoCas)", "8.4"),
            Rule::Fenced.text(),
            p::commit_without_condition,
            followed().seeds(&[Seed::Before(0, Step::Decide)]),
        ),
        mistake(
            ("exit 0 on SIGTERM (ExitZeroOnTerm)", "8.4"),
            Rule::Exit.text(),
            p::exits_well,
            alone().budget(Budget { faults: 1, ..NONE }),
        ),
    ]
}

pub(super) fn publishing() -> Vec<Mistake> {
    let legacy = Budget { legacy: 1, ..NONE };
    let gap = vec![
        Row { mark: 3, begun: 0, observed: 0 },
        Row { mark: 8, begun: 0, observed: 1 },
        Row { mark: 9, begun: 0, observed: 0 },
    ];
    vec![
        mistake(
            ("Y without condition", "8.7"),
            Rule::Fenced.text(),
            p::yes_without_condition,
            next_request().seeds(&[Seed::Before(0, Step::Publish), Seed::Ends(1)]),
        ),
        mistake(
            ("two items without the lwm check", "8.7"),
            Rule::MaxSeen.text(),
            p::mark_unchecked,
            alone().seeds(&[Seed::Until(0, Step::Decide)]).budget(legacy),
        ),
        mistake(
            ("Y does not ask for L as read", "new"),
            Rule::Monotonic.text(),
            p::yes_without_mark_condition,
            alone().seeds(&[Seed::Before(0, Step::Publish)]).budget(legacy),
        ),
        mistake(
            ("Y and O not one transaction", "8.8"),
            Rule::Once.text(),
            p::outcome_apart,
            followed().seeds(&[Seed::Until(0, Step::Decide)]).budget(Budget { crashes: 1, ..NONE }),
        ),
        mistake(
            ("lwm = hi, and not the greatest seen below it", "new"),
            Rule::MaxSeen.text(),
            p::mark_is_high,
            alone().rows(gap),
        ),
        mistake(
            ("an empty window moves the watermark", "new"),
            Rule::MaxSeen.text(),
            p::empty_run_resets_mark,
            next_request().seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("todo forgotten at Y", "new"),
            Rule::PendingCleanup.text(),
            p::pending_cleanup_forgotten,
            alone(),
        ),
        lie(
            ("a complete that re-creates", "8.7"),
            Rule::Hidden.text(),
            Alter::lie(Lie::CompletesAgain),
            case(vec![
                start("a", 1).mode(FE),
                recover("a", 1).mode(FE),
                start("a", 2).request(1).mode(Reingest),
            ])
            .seeds(&[Seed::Until(0, Step::Decide), Seed::Ends(1)]),
        ),
    ]
}

pub(super) fn pointing() -> Vec<Mistake> {
    let pointer = Rule::Pointer.text();
    let two_full = || case(vec![start("a", 1).mode(FE), start("a", 2).request(1).mode(FE)]);
    vec![
        mistake(
            ("pointer before Y (PointerFirst)", "8.4, 8.7"),
            pointer,
            p::pointer_before_yes,
            alone(),
        ),
        mistake(
            ("pointer without upward check (PointerNoEpoch)", "8.4, 8.7"),
            pointer,
            p::pointer_moves_down,
            next_request().seeds(&[Seed::Until(0, Step::Publish)]),
        ),
        mistake(
            ("pointer without If-Match", "8.7"),
            pointer,
            p::pointer_without_condition,
            next_request().seeds(&[Seed::Until(0, Step::Publish)]),
        ),
        mistake(
            ("removal before pointer", "8.7"),
            Rule::Removal.text(),
            p::removal_before_pointer,
            two_full().seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("removal of everything not mine", "8.7"),
            Rule::Removal.text(),
            p::removal_of_all_others,
            case(vec![
                start("a", 1).mode(FE),
                start("a", 2).request(1).mode(FE),
                recover("a", 2).request(1).mode(FE),
                start("a", 3).request(2),
            ])
            .seeds(&[Seed::Ends(0), Seed::Until(1, Step::Publish)]),
        ),
        mistake(
            ("todo cleared before the pointer", "new"),
            Rule::PendingCleanup.text(),
            p::cleanup_before_pointer,
            alone(),
        ),
        mistake(
            ("CLEAR without condition", "new"),
            Rule::Fenced.text(),
            p::cleanup_without_condition,
            next_request().seeds(&[Seed::Before(0, Step::Cleanup), Seed::Ends(1)]),
        ),
    ]
}

pub(super) fn recovering() -> Vec<Mistake> {
    let decided = || recovered().seeds(&[Seed::Until(0, Step::Decide)]);
    let fenced = Rule::Fenced.text();
    vec![
        mistake(
            ("recovery fails a committing run", "8.7, 8.8"),
            fenced,
            s::recover_fails_committing,
            decided(),
        ),
        mistake(
            ("recovery aborts a committing run", "8.7"),
            Rule::Abort.text(),
            s::recover_aborts_committing,
            decided(),
        ),
        mistake(
            ("abort before the fence", "8.7"),
            Rule::Abort.text(),
            s::abort_before_fence,
            recovered().seeds(&[Seed::Until(0, Step::Pin)]),
        ),
        mistake(
            ("recovery without owner", "8.8"),
            fenced,
            s::recover_without_owner,
            case(vec![start("b", 1), recover("a", 1)]).seeds(&[Seed::Until(0, Step::Pin)]),
        ),
        mistake(
            ("recovery without attempt", "8.8"),
            fenced,
            s::recover_without_attempt,
            case(vec![start("a", 2), recover("a", 1)]).seeds(&[Seed::Until(0, Step::Pin)]),
        ),
        mistake(
            ("recovery reads, then lists", "8.8"),
            Rule::Abort.text(),
            s::recover_reads_then_lists,
            case(vec![start("a", 1), recover("a", 1), start("b", 1)])
                .seeds(&[Seed::Until(0, Step::Pin), Seed::Dies(0)]),
        ),
        mistake(("FAIL without condition", "new"), fenced, s::fail_without_condition, recovered()),
        mistake(
            ("recovery of an attempt that has not claimed fences nothing", "8.8 (wording)"),
            Rule::Attempt.text(),
            s::recover_raises_nothing,
            recovered(),
        ),
    ]
}
