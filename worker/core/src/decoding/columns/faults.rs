//! Faults of a stream, a row or a value, and their remedies.

/// What is wrong with a value. Never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The type has another length on the wire.
    #[error("unexpected length")]
    Length,
    /// The bytes are not of the type.
    #[error("malformed bytes")]
    Malformed,
    /// NaN or an infinity.
    #[error("NaN or infinity")]
    NotFinite,
    /// More digits than the column's precision and scale.
    #[error("more digits than the type allows")]
    Precision,
    /// A year that the target cannot hold, or the watermark's text cannot name.
    #[error("year out of range")]
    Year,
    /// The end of a day, which is not a time of day.
    #[error("the end of the day, which Parquet does not have as a time")]
    EndOfDay,
    /// A zero or incomplete date of MySQL.
    #[error("zero or incomplete date")]
    ZeroDate,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Not JSON, or such that a reader refuses it.
    #[error("invalid JSON")]
    Json,
}

/// Why a stream cannot be decoded. Names column, type and row (from 1), never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The stream is not COPY BINARY as this release knows it.
    #[error("cannot read the header of the COPY stream")]
    ReadHeader,
    /// A packet of MySQL that is neither a row nor the end, or a row that is not whole.
    #[error("cannot read the packet of row {row}")]
    ReadPacket {
        /// The row.
        row: u64,
    },
    /// A row has another number of fields than there are columns.
    #[error("row {row} has {found} fields instead of {expected}")]
    CountFields {
        /// The row.
        row: u64,
        /// Columns of the plan.
        expected: usize,
        /// Fields of the row.
        found: i16,
    },
    /// A length below -1.
    #[error("column {column} ({type_name}) has an invalid length in row {row}")]
    MeasureValue {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
        /// The row.
        row: u64,
    },
    /// A value that cannot be read.
    #[error("cannot decode column {column} ({type_name}) in row {row}: {fault}")]
    DecodeValue {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
        /// The row.
        row: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The watermark column is not among the columns, or its type has no order we keep.
    #[error("cannot compare the values of watermark column {column}")]
    TrackWatermark {
        /// The column.
        column: String,
    },
    /// The least or greatest watermark has no text.
    #[error("cannot write the watermark of column {column}: {fault}")]
    WriteWatermark {
        /// The column.
        column: String,
        /// Why.
        fault: Fault,
    },
    /// One row is too large for a batch.
    #[error("row {row} is too large for one batch")]
    HoldRow {
        /// The row.
        row: u64,
    },
    /// The stream ended without its trailer.
    #[error("the stream ended after row {row} without its trailer")]
    ReachEnd {
        /// The last whole row.
        row: u64,
    },
    /// Bytes after the trailer.
    #[error("the stream continues after its trailer, which followed row {row}")]
    StopAtTrailer {
        /// The last row.
        row: u64,
    },
}

impl DecodeError {
    /// The remedy for the user.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::DecodeValue { fault: Fault::NotFinite, .. } => {
                "Replace the NaN or infinity in the table, set extract.types to string for the column, or \
                 exclude the column."
            }
            Self::WriteWatermark { .. } => "Correct the value in the table, or exclude the column.",
            Self::DecodeValue { fault: Fault::Year | Fault::Json, .. } => {
                "Correct the value in the table, set extract.types to string for the column, or exclude the \
                 column."
            }
            Self::DecodeValue { fault: Fault::EndOfDay, .. } => {
                "Write 23:59:59.999999 or 00:00:00 into the table, set extract.types to string for the \
                 column, or exclude the column."
            }
            Self::DecodeValue { fault: Fault::ZeroDate, .. } => {
                "Set extract.zeroDates: null or string, or correct the value in the table."
            }
            Self::DecodeValue { fault: Fault::Utf8, .. } => {
                "Convert the database from SQL_ASCII to UTF8, or exclude the column."
            }
            Self::DecodeValue { .. } | Self::CountFields { .. } => {
                "Check whether the table was altered during the run, and run the extract again. If the \
                 error returns, exclude the column."
            }
            Self::TrackWatermark { .. } => {
                "Choose a watermark column of an integer, numeric, float, date or timestamp type."
            }
            Self::HoldRow { .. } => {
                "Exclude the column with the largest values with extract.excludeColumns."
            }
            Self::ReadHeader
            | Self::ReadPacket { .. }
            | Self::MeasureValue { .. }
            | Self::ReachEnd { .. }
            | Self::StopAtTrailer { .. } => {
                "Run the extract again. If the error returns, check whether a proxy between the pods and \
                 the database changes the data."
            }
        }
    }

    /// Whether a value was NaN or an infinity.
    pub const fn is_not_finite(&self) -> bool {
        matches!(self, Self::DecodeValue { fault: Fault::NotFinite, .. })
    }

    /// Whether the next attempt may succeed: the stream was broken, not a value.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::ReadHeader
            | Self::ReadPacket { .. }
            | Self::MeasureValue { .. }
            | Self::ReachEnd { .. }
            | Self::StopAtTrailer { .. } => true,
            Self::CountFields { .. }
            | Self::DecodeValue { .. }
            | Self::TrackWatermark { .. }
            | Self::WriteWatermark { .. }
            | Self::HoldRow { .. } => false,
        }
    }
}
