//! The batch that is being built, for all wire formats: builders, what is added, the watermark.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use crds::RunId;
use crds::output::OutputColumns;

use super::added::Added;
use super::block::{BadValue, Block, Fields};
use super::builder::{ColumnBuilder, row_bytes};
use super::extremes::Extremes;
use super::faults::{DecodeError, Fault};
use crate::decoding::columns::column::Column;
use crate::decoding::columns::schema::arrow_schema;

/// Text offsets of Arrow are 31 bits; a batch stays below that.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// Rows that are decoded and not taken yet.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    pub(super) columns: Vec<Column>,
    pub(super) schema: SchemaRef,
    builders: Vec<ColumnBuilder>,
    watermark: Option<(usize, Extremes)>,
    added: Added,
    /// Bytes of a row without its text.
    row_bytes: usize,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) rows: u64,
}

impl BatchBuilder {
    /// Nothing yet, for rows of these columns.
    ///
    /// # Errors
    /// [`DecodeError::TrackWatermark`].
    pub(super) fn new(columns: &[Column], watermark: Option<&str>) -> Result<Self, DecodeError> {
        let watermark = match watermark {
            None => None,
            Some(name) => {
                let unknown = || DecodeError::TrackWatermark { column: name.to_owned() };
                let index = columns.iter().position(|column| column.name == name);
                let index = index.ok_or_else(unknown)?;
                Some((index, Extremes::of(&columns[index]).ok_or_else(unknown)?))
            }
        };
        Ok(Self {
            schema: arrow_schema(columns),
            builders: columns.iter().map(|column| ColumnBuilder::new(column, 0, 0)).collect(),
            added: Added::new(OutputColumns::default(), None),
            watermark,
            row_bytes: columns.iter().map(|column| row_bytes(column.target)).sum(),
            batch_rows: 0,
            batch_bytes: 0,
            rows: 0,
            columns: columns.to_vec(),
        })
    }

    pub(super) fn add(&mut self, columns: &OutputColumns, run: RunId) {
        let added = Added::new(columns.clone(), Some(run));
        let fields = self.schema.fields().iter().cloned();
        let fields = fields.chain(added.fields().into_iter().map(Arc::new));
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.row_bytes += added.row_bytes();
        self.added = added;
    }

    /// Decodes a block of whole rows, column by column.
    ///
    /// # Errors
    /// [`DecodeError::HoldRow`], [`DecodeError::DecodeValue`] for the first row with a value that cannot be decoded.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        block: &Block,
        append: impl Fn(usize, &mut ColumnBuilder, Fields<'_>) -> Result<(), BadValue>,
    ) -> Result<(), DecodeError> {
        let rows = block.rows.len();
        if rows == 0 {
            return Ok(());
        }
        let held = self.batch_bytes + self.row_bytes * rows + block.text_bytes;
        if held > BATCH_BYTES_MAX {
            return Err(DecodeError::HoldRow { row: self.rows + 1 });
        }
        let (columns, first) = (self.columns.len(), self.batch_rows);
        let mut bad: Option<(usize, BadValue)> = None;
        for (index, builder) in self.builders.iter_mut().enumerate() {
            // of two rows with a bad value, the first one is reported
            let good = bad.map_or(rows, |(_, (row, _))| row);
            let fields = block.column(bytes, (index, columns), good);
            let appended = append(index, builder, fields);
            // the values before a bad one are there, and one of them may have no order
            let compared = match &mut self.watermark {
                Some((watermark, extremes)) if *watermark == index => extremes.take(builder, first),
                _ => Ok(()),
            };
            if let Err(found) = compared.and(appended) {
                bad = Some((index, found));
            }
        }
        if let Some((index, (row, fault))) = bad {
            let error = self.value_error(index, row, fault);
            self.rows += row as u64;
            return Err(error);
        }
        for (start, end) in &block.rows {
            self.added.see(&bytes[*start..*end]);
        }
        self.batch_bytes = held;
        self.batch_rows += rows;
        self.rows += rows as u64;
        Ok(())
    }

    /// The rows held, as a batch; the next one begins empty.
    pub(super) fn take(&mut self) -> Result<RecordBatch, DecodeError> {
        let rows = self.batch_rows;
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for (builder, column) in self.builders.iter_mut().zip(&self.columns) {
            let text_bytes = builder.text_bytes();
            // batches are cut by the same budget, so the next one needs about as much
            let next = ColumnBuilder::new(column, rows, text_bytes);
            let array = std::mem::replace(builder, next).finish(column.target);
            arrays.push(array.map_err(|_| DecodeError::HoldRow { row: self.rows })?);
        }
        arrays.extend(self.added.arrays(rows));
        self.batch_rows = 0;
        self.batch_bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|_| DecodeError::HoldRow { row: self.rows })
    }

    pub(super) fn watermarks(&self) -> Result<Option<(String, String)>, DecodeError> {
        match &self.watermark {
            None => Ok(None),
            Some((index, extremes)) => extremes.text().map_err(|fault| {
                let column = self.columns[*index].name.clone();
                DecodeError::WriteWatermark { column, fault }
            }),
        }
    }

    #[cold]
    pub(super) fn value_error(&self, index: usize, row: usize, fault: Fault) -> DecodeError {
        let Column { name, type_name, .. } = &self.columns[index];
        let (column, type_name) = (name.clone(), type_name.clone());
        let row = self.rows + 1 + row as u64;
        DecodeError::DecodeValue { column, type_name, row, fault }
    }

    #[cold]
    pub(super) fn measure_error(&self, index: usize) -> DecodeError {
        let Column { name, type_name, .. } = &self.columns[index];
        let (column, type_name) = (name.clone(), type_name.clone());
        DecodeError::MeasureValue { column, type_name, row: self.rows + 1 }
    }
}
