//! Oids of `pg_type`. They are fixed for all time (`pg_type.dat`).

/// `boolean`
pub const BOOL: u32 = 16;
/// `bytea`
pub const BYTEA: u32 = 17;
/// `"char"`
pub const CHAR: u32 = 18;
/// `name`
pub const NAME: u32 = 19;
/// `bigint`
pub const INT8: u32 = 20;
/// `smallint`
pub const INT2: u32 = 21;
/// `integer`
pub const INT4: u32 = 23;
/// `text`
pub const TEXT: u32 = 25;
/// `oid`
pub const OID: u32 = 26;
/// `tid`
pub const TID: u32 = 27;
/// `xid`
pub const XID: u32 = 28;
/// `cid`
pub const CID: u32 = 29;
/// `json`
pub const JSON: u32 = 114;
/// `xml`
pub const XML: u32 = 142;
/// `cidr`
pub const CIDR: u32 = 650;
/// `real`
pub const FLOAT4: u32 = 700;
/// `double precision`
pub const FLOAT8: u32 = 701;
/// `macaddr8`
pub const MACADDR8: u32 = 774;
/// `money`
pub const MONEY: u32 = 790;
/// `macaddr`
pub const MACADDR: u32 = 829;
/// `inet`
pub const INET: u32 = 869;
/// `character(n)`
pub const BPCHAR: u32 = 1042;
/// `character varying(n)`
pub const VARCHAR: u32 = 1043;
/// `date`
pub const DATE: u32 = 1082;
/// `time without time zone`
pub const TIME: u32 = 1083;
/// `timestamp without time zone`
pub const TIMESTAMP: u32 = 1114;
/// `timestamp with time zone`
pub const TIMESTAMPTZ: u32 = 1184;
/// `interval`
pub const INTERVAL: u32 = 1186;
/// `time with time zone`
pub const TIMETZ: u32 = 1266;
/// `bit(n)`
pub const BIT: u32 = 1560;
/// `bit varying(n)`
pub const VARBIT: u32 = 1562;
/// `numeric(p,s)`
pub const NUMERIC: u32 = 1700;
/// `uuid`
pub const UUID: u32 = 2950;
/// `pg_lsn`
pub const PG_LSN: u32 = 3220;
/// `tsvector`
pub const TSVECTOR: u32 = 3614;
/// `tsquery`
pub const TSQUERY: u32 = 3615;
/// `jsonb`
pub const JSONB: u32 = 3802;
/// `jsonpath`
pub const JSONPATH: u32 = 4072;
/// `xid8`
pub const XID8: u32 = 5069;
/// `point`, `lseg`, `path`, `box`, `polygon`, `line`, `circle`
pub const GEOMETRIC: [u32; 7] = [600, 601, 602, 603, 604, 628, 718];
/// `regproc`, `regprocedure`, `regoper`, `regoperator`, `regclass`, `regtype`, `regconfig`,
/// `regdictionary`, `regnamespace`, `regrole`, `regcollation`
pub const REG: [u32; 11] = [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191];
/// `txid_snapshot`, `pg_snapshot`
pub const SNAPSHOTS: [u32; 2] = [2970, 5038];
/// The first that an object of a user gets, or one of an extension.
pub const FIRST_OF_USERS: u32 = 16_384;
