//! The validation rules that are too long to stand at their field, in CEL. `self` is the struct
//! that names the rule; a rule that does not concern the object is true.

/// Those that are given of a window's two ends, `-1` (no bound) left out.
macro_rules! window_ends {
    () => {
        "((has(self.low) ? [self.low] : []) + (has(self.high) && self.high != '-1' ? [self.high] : []))"
    };
}

/// Those that are given of a partition column's two bounds.
macro_rules! bounds {
    () => {
        "((has(self.lowerBound) ? [self.lowerBound] : []) + (has(self.upperBound) ? [self.upperBound] : []))"
    };
}

/// `text` is a whole number.
macro_rules! is_whole {
    () => {
        "text.matches('^-?[0-9]{1,19}$')"
    };
}

/// `text` is a number, with or without a fraction and an exponent.
macro_rules! is_number {
    () => {
        "text.matches('^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,3})?$')"
    };
}

/// `text` is a date.
macro_rules! is_date {
    () => {
        "text.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$')"
    };
}

/// `text` is a date with a time of day, with or without a fraction and a zone.
macro_rules! is_timestamp {
    () => {
        "text.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?$')"
    };
}

/// The instant of the date or timestamp `text`; UTC where it names no zone.
macro_rules! instant {
    () => {
        "timestamp((size(text) == 10 ? text + 'T00:00:00' : text.replace(' ', 'T')) + (text.matches('(Z|[+-][0-9]{2}:[0-9]{2})$') ? '' : 'Z'))"
    };
}

/// Those that are given of the names of added columns.
macro_rules! added {
    ($columns:literal) => {
        concat!(
            "((has(",
            $columns,
            ".extractTime) ? [",
            $columns,
            ".extractTime] : []) + ",
            "(has(",
            $columns,
            ".rowHash) ? [",
            $columns,
            ".rowHash] : []) + ",
            "(has(",
            $columns,
            ".runId) ? [",
            $columns,
            ".runId] : []))"
        )
    };
}

/// A field of the tracking table, which may be absent, is what it was.
macro_rules! is_same {
    ($field:literal) => {
        concat!(
            "(has(self.tracking.",
            $field,
            ") ? self.tracking.",
            $field,
            " : '') == ",
            "(has(oldSelf.tracking.",
            $field,
            ") ? oldSelf.tracking.",
            $field,
            " : '')"
        )
    };
}

/// The tracking table and the key are what they were; credentials can change.
pub(crate) const TRACKING_IS_SAME: &str = concat!(
    "has(self.tracking) == has(oldSelf.tracking) && (!has(self.tracking) || ",
    is_same!("table"),
    " && ",
    is_same!("region"),
    " && ",
    is_same!("endpoint"),
    " && ",
    is_same!("key"),
    ")"
);

/// Of added columns: no two have one name. Readers ignore the case of names.
pub(crate) const COLUMNS_DIFFER: &str = concat!(
    added!("self"),
    ".all(name, ",
    added!("self"),
    ".exists_one(other, other.lowerAscii() == name.lowerAscii()))"
);

/// Of an output: no added column has the name that the run's folder gives to its rows.
pub(crate) const FOLDER_IS_NO_COLUMN: &str = concat!(
    "!has(self.columns) || !",
    added!("self.columns"),
    ".exists(name, name.lowerAscii() == (has(self.runFolder) && self.runFolder == 'time' ? 'jdbc_extract_time' : 'extract_run'))"
);

/// Of a watermark: type `int` comes with whole numbers.
pub(crate) const INT_ENDS: &str =
    concat!("self.type != 'int' || ", window_ends!(), ".all(text, ", is_whole!(), ")");

/// Of a watermark: types `decimal` and `double` come with numbers.
pub(crate) const NUMBER_ENDS: &str = concat!(
    "!(self.type in ['decimal', 'double']) || ",
    window_ends!(),
    ".all(text, ",
    is_number!(),
    ")"
);

/// Of a watermark: type `date` comes with dates.
pub(crate) const DATE_ENDS: &str =
    concat!("self.type != 'date' || ", window_ends!(), ".all(text, ", is_date!(), ")");

/// Of a watermark: type `timestamp` comes with timestamps, a date being its midnight.
pub(crate) const TIMESTAMP_ENDS: &str = concat!(
    "self.type != 'timestamp' || ",
    window_ends!(),
    ".all(text, ",
    is_date!(),
    " || ",
    is_timestamp!(),
    ")"
);

/// Of a watermark: seconds come with times.
pub(crate) const SECONDS_OF_TIMES: &str =
    "self.type in ['timestamp', 'date'] || (!has(self.lagSeconds) && !has(self.lookbackSeconds))";

/// Of a watermark: units of the column come with numbers.
pub(crate) const UNITS_OF_NUMBERS: &str =
    "!(self.type in ['timestamp', 'date']) || (!has(self.lagUnits) && !has(self.lookbackUnits))";

/// Of a watermark: low is not above high. What is not even of the right kind has a rule above.
/// Numbers are compared as floating point, which never puts two in the wrong order.
pub(crate) const ENDS_ASCEND: &str = concat!(
    window_ends!(),
    ".all(text, ",
    is_number!(),
    ") ? ",
    window_ends!(),
    ".map(text, double(text)).isSorted() : ",
    "!",
    window_ends!(),
    ".all(text, ",
    is_date!(),
    " || ",
    is_timestamp!(),
    ") || ",
    window_ends!(),
    ".map(text, ",
    instant!(),
    ").isSorted()"
);

/// Of a partition: both bounds are of one kind.
pub(crate) const BOUNDS_ALIKE: &str = concat!(
    bounds!(),
    ".all(text, ",
    is_whole!(),
    ") || ",
    bounds!(),
    ".all(text, ",
    is_date!(),
    ") || ",
    bounds!(),
    ".all(text, ",
    is_timestamp!(),
    ")"
);

/// Of a partition: the lower bound is not above the upper one.
pub(crate) const BOUNDS_ASCEND: &str = concat!(
    bounds!(),
    ".all(text, ",
    is_whole!(),
    ") ? ",
    bounds!(),
    ".map(text, double(text)).isSorted() : ",
    "!",
    bounds!(),
    ".all(text, ",
    is_date!(),
    " || ",
    is_timestamp!(),
    ") || ",
    bounds!(),
    ".map(text, ",
    instant!(),
    ").isSorted()"
);

/// Of a partition: bounds come with strides alone. `none` took them from the start.
pub(crate) const BOUNDS_OF_STRIDES: &str = concat!(
    "size(",
    bounds!(),
    ") == 0 || ((!has(self.strategy) || self.strategy in ['range', 'none']) && (!has(self.rebalance) || !self.rebalance))"
);

/// Of a table: one or two identifiers, each plain or in double quotes.
pub(crate) const TABLE_FORM: &str = r#"self.matches('^([^".[:cntrl:]]+|"([^"[:cntrl:]]|"")+")([.]([^".[:cntrl:]]+|"([^"[:cntrl:]]|"")+"))?$')"#;

/// Of a spec: each identifier of the table, without its quotes, has at most 63 bytes in Postgres and
/// 64 characters in MySQL.
pub(crate) const TABLE_FITS: &str = r#"self.extract.table.findAll('"([^"]|"")+"|[^".]+').map(part, part.startsWith('"') ? part.substring(1, size(part) - 1).replace('""', '"') : part).all(name, self.source.engine == 'postgres' ? size(bytes(name)) <= 63 : size(name) <= 64)"#;

/// Of a spec: the source's key in the tracking table is not one of Tidemark's own.
pub(crate) const KEY_IS_FREE: &str = "(has(self.tracking) && has(self.tracking.key)) || !(self.source.database + '.' + self.extract.table).contains('#tidemark')";

/// Of labels: no key that the operator or the Job controller sets.
pub(crate) const LABELS_ARE_FREE: &str = "self.all(key, !key.matches('^([a-z0-9.-]+[.])?(tidemark[.]dev|batch[.]kubernetes[.]io)/') && !(key in ['job-name', 'controller-uid']))";
