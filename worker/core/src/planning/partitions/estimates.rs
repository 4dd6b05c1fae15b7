//! What a server's index tells of where the rows lie, where it is asked span by span: no row is read.

use super::keys::KeyType;
use super::sample::{Point, Sample};
use super::spans::{PlannedPartition, strides};
use crate::planning::watermark::Value;

/// Spans that are asked about first.
const FIRST: u32 = 64;
/// Spans for each partition in the end, so that one more or less in a partition is little.
const SPANS_PER_PARTITION: u64 = 16;
/// Most spans, each of which is a question.
const SPANS_MAX: usize = 4096;

/// Spans of keys, with the server's estimate of their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimates {
    key_type: KeyType,
    spans: Vec<Span>,
    greatest: Value,
}

/// From a key up to the next span.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    from: Value,
    /// Absent: not asked yet.
    rows: Option<u64>,
}

impl Estimates {
    /// Of a column with these ends, both included.
    pub fn new(key_type: KeyType, least: Value, greatest: Value) -> Self {
        let cuts = strides(key_type, Some((least, greatest)), FIRST);
        let spans = [least].into_iter().chain(cuts).map(|from| Span { from, rows: None });
        Self { key_type, spans: spans.collect(), greatest }
    }

    /// A span that is to be asked about, and its place.
    pub fn question(&self) -> Option<(usize, PlannedPartition)> {
        let place = self.spans.iter().position(|span| span.rows.is_none())?;
        let from = Some(self.spans[place].from.to_text());
        let to = self.spans.get(place + 1).map(|next| next.from.to_text());
        Some((place, PlannedPartition { from, to, nulls: false, part: None }))
    }

    /// Keeps the answer.
    pub fn answer(&mut self, place: usize, rows: u64) {
        self.spans[place].rows = Some(rows);
    }

    /// Parts the spans that have too many rows for `count` even partitions. Whether there were any.
    pub fn refine(&mut self, count: u32) -> bool {
        let all: u64 = self.spans.iter().filter_map(|span| span.rows).sum();
        let fair = all / (SPANS_PER_PARTITION * u64::from(count.max(1)));
        let fair = fair.max(all / (SPANS_MAX as u64 / 2)).max(1);
        let mut spans: Vec<Span> = Vec::with_capacity(self.spans.len());
        let mut left = SPANS_MAX.saturating_sub(self.spans.len());
        for (place, span) in self.spans.iter().enumerate() {
            let parts = span.rows.unwrap_or_default() / fair * 2;
            let parts = usize::try_from(parts).unwrap_or(usize::MAX).min(left).min(FIRST as usize);
            let next = self.spans.get(place + 1).map(|next| next.from);
            let ends = Some((span.from, next.unwrap_or(self.greatest)));
            let inner = strides(self.key_type, ends, u32::try_from(parts).unwrap_or(FIRST));
            let inner = inner
                .into_iter()
                .filter(|cut| *cut > span.from && next.is_none_or(|next| *cut < next));
            let before = spans.len();
            spans.push(span.clone());
            spans.extend(inner.map(|from| Span { from, rows: None }));
            let added = spans.len() - before - 1;
            if added > 0 {
                spans[before].rows = None;
                left = left.saturating_sub(added);
            }
        }
        let parted = spans.len() > self.spans.len();
        self.spans = spans;
        parted
    }

    /// What is known in the end.
    pub fn sample(&self, nulls: u64) -> Sample {
        let mut rows = 0;
        let mut points: Vec<Point> = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            if points.last().is_none_or(|last| last.below < rows) {
                points.push(Point { key: span.from.to_text(), below: rows });
            }
            rows += span.rows.unwrap_or_default();
        }
        Sample { points, rows, nulls }
    }
}
