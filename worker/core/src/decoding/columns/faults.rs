//! What can be wrong with a stream, a row or a value, and what to do about it.

/// What is wrong with a value. Never says the value.
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
    /// The end of a day, which is no time of day.
    #[error("end of the day instead of a time of day")]
    EndOfDay,
    /// A zero or incomplete date of MySQL.
    #[error("zero or incomplete date")]
    ZeroDate,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Not JSON, or such that a reader refuses it.
    #[error("not JSON that every reader accepts")]
    Json,
}

/// Why a stream cannot be decoded. Names column, type and row (from 1), never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The stream is not COPY BINARY as this release knows it.
    #[error("read header of the copy stream")]
    ReadHeader,
    /// A packet of MySQL that is neither a row nor the end, or a row that is not whole.
    #[error("read packet of row {row}")]
    ReadPacket {
        /// The row.
        row: u64,
    },
    /// A row has another number of fields than there are columns.
    #[error("count fields of row {row}: {found} instead of {expected}")]
    CountFields {
        /// The row.
        row: u64,
        /// Columns of the plan.
        expected: usize,
        /// Fields of the row.
        found: i16,
    },
    /// A length below -1.
    #[error("measure column {column} ({type_name}) in row {row}")]
    MeasureValue {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
        /// The row.
        row: u64,
    },
    /// A value that cannot be read.
    #[error("decode column {column} ({type_name}) in row {row}: {fault}")]
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
    #[error("track watermark column {column}")]
    TrackWatermark {
        /// The column.
        column: String,
    },
    /// The least or greatest watermark has no text.
    #[error("write watermark of column {column}: {fault}")]
    WriteWatermark {
        /// The column.
        column: String,
        /// Why.
        fault: Fault,
    },
    /// One row is too large for a batch.
    #[error("hold row {row}: too large")]
    HoldRow {
        /// The row.
        row: u64,
    },
    /// The stream ended without its trailer.
    #[error("reach end of the copy stream after row {row}")]
    ReachEnd {
        /// The last whole row.
        row: u64,
    },
    /// Bytes after the trailer.
    #[error("stop at the trailer after row {row}")]
    StopAtTrailer {
        /// The last row.
        row: u64,
    },
}

impl DecodeError {
    /// What a human does about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::DecodeValue { fault: Fault::NotFinite, .. } => {
                "replace the NaN or infinity in the table, set extract.types to string for the column, or exclude it"
            }
            Self::WriteWatermark { .. } => "correct the value in the table, or exclude the column",
            Self::DecodeValue { fault: Fault::Year | Fault::Json, .. } => {
                "correct the value in the table, set extract.types to string for the column, or exclude it"
            }
            Self::DecodeValue { fault: Fault::EndOfDay, .. } => {
                "write the time before or after it into the table, set extract.types to string for the column, or \
                 exclude it"
            }
            Self::DecodeValue { fault: Fault::ZeroDate, .. } => {
                "set extract.zeroDates: null or string, or correct the value in the table"
            }
            Self::DecodeValue { fault: Fault::Utf8, .. } => {
                "convert the database from SQL_ASCII to UTF8, or exclude the column"
            }
            Self::DecodeValue { .. } | Self::CountFields { .. } => {
                "was the table altered while it was read? run again, else exclude the column"
            }
            Self::TrackWatermark { .. } => {
                "use a watermark column of an integer, numeric, float, date or timestamp type"
            }
            Self::HoldRow { .. } => "exclude the column with the largest values",
            Self::ReadHeader
            | Self::ReadPacket { .. }
            | Self::MeasureValue { .. }
            | Self::ReachEnd { .. }
            | Self::StopAtTrailer { .. } => {
                "run again; if it comes back, look for a proxy between worker and database"
            }
        }
    }

    /// Whether a value was NaN or an infinity.
    pub const fn is_not_finite(&self) -> bool {
        matches!(self, Self::DecodeValue { fault: Fault::NotFinite, .. })
    }

    /// Whether the next try may fare better: the stream was broken, not a value.
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
