//! In: a state. Out: the state after an operator action or a write of the legacy job.
//! Bound: one read or one write. Fails: never; what the product refuses changes nothing.

use crds::tracking::{RunState, WatermarkItem};
use worker_core::protocol::Item;
use worker_core::protocol::watermark::WatermarkRequest;

use crate::inputs::seconds;
use crate::pool::NONE;
use crate::protocol::{Action, Protocol};
use crate::rules;
use crate::state::{Person, State, set};

/// Where a person moves the watermark to: below every row, so that it shows.
const TO: &str = "3";

impl Protocol {
    pub(crate) fn person_actions(state: &State, actions: &mut Vec<Action>) {
        match state.person {
            Person::Away if state.left.sets > 0 => actions.push(Action::ReadsRevision),
            Person::Away => {}
            Person::ReadRevision(_) => actions.push(Action::ReadsItems),
            Person::Read(..) => actions.push(Action::Sets),
        }
    }

    fn rev(&self, state: &State) -> u64 {
        self.shop.run_item(state.item(self.shop.run_key)).map_or(0, |run| run.revision)
    }

    /// `watermark get`, and later `watermark set` with the revision that it printed.
    pub(crate) fn person(&self, state: &mut State) {
        state.person = match state.person {
            Person::Away => {
                state.left.sets -= 1;
                Person::ReadRevision(self.rev(state))
            }
            Person::ReadRevision(revision) => {
                let items = [state.item(self.shop.run_key), state.item(self.shop.watermark_key)];
                Person::Read(revision, items)
            }
            Person::Read(revision, items) => {
                self.sets(state, revision, items);
                Person::Away
            }
        };
    }

    fn sets(&self, state: &mut State, revision: u64, [run, legacy]: [u32; 2]) {
        let shop = &self.shop;
        let request =
            WatermarkRequest { revision, to: TO.to_owned(), by: "ann".to_owned(), rewind: false };
        let (run, legacy) = (shop.run_item(run), shop.watermark_item(legacy));
        let now = seconds(state.clock);
        let Ok(moved) = (shop.alter.set)(run.as_ref(), legacy.as_ref(), &request, now) else {
            return;
        };
        let before = state.clone();
        if shop.transact(state, &moved) {
            rules::moved(shop, &before, state, revision);
        }
    }

    /// The legacy job reads the watermark item and puts it whole, its watermark moved up.
    pub(crate) fn legacy(&self, state: &mut State) {
        let Some(item) = self.shop.watermark_item(state.item(self.shop.watermark_key)) else {
            return;
        };
        let low = item.lwm_value.as_deref().and_then(|low| low.parse::<i64>().ok());
        let low = low.filter(|low| *low > i64::MIN).unwrap_or(0) + 10;
        let item = WatermarkItem {
            lwm_value: Some(low.to_string()),
            updated_at: Some("by the legacy job".to_owned()),
            ..item
        };
        let id = self.shop.items.put(Item::Watermark(Box::new(item)));
        set(&mut state.items, self.shop.watermark_key, id);
        state.past.tampered = true;
        state.past.pending_window = NONE;
    }

    /// An upload of the decided run, if one is open.
    pub(crate) fn lapsing(&self, state: &State) -> Option<u32> {
        let run = self.shop.run_item(state.item(self.shop.run_key))?;
        let decided = run.state == RunState::Committing;
        let of =
            |upload: &&u32| self.shop.uploads.get(**upload).run == crate::shop::number(run.run);
        state.uploads.iter().find(of).copied().filter(|_| decided)
    }
}
