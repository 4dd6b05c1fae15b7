//! Statement texts that ask Postgres' catalog which relations a table is made of, and what its columns
//! promise. What varies is bound as a parameter.

/// Whether function `p` (language `l`) returns the same result in all sessions that share a snapshot and
/// Tidemark's settings. A server function (oid below 16384) does if it is immutable or in the given list.
/// Any other function does if it is immutable and its language is `c` or `internal`. The functions of a
/// user-defined aggregate are checked separately.
macro_rules! is_certain {
    ($stable:literal) => {
        concat!(
            "CASE p.provolatile \
                WHEN 'i' THEN p.oid < 16384 OR l.lanname IN ('c', 'internal') \
                WHEN 's' THEN p.oid < 16384 AND p.proname::pg_catalog.text = ANY (",
            $stable,
            ") ELSE false END"
        )
    };
}

/// The server's stable functions whose results depend on their arguments, the snapshot, and settings that are
/// the same in all our sessions. Functions that read the time, the connection, the transaction, other
/// settings, or names of the catalog (which is not part of the snapshot) are not in the list.
/// Source: `pg_proc` of Postgres 15 where `provolatile = 's'`, and the functions of the same kind that the
/// manuals of 16 to 18 add.
pub const STABLE_FUNCTIONS: &[&str] = &[
    "anyarray_out",
    "anycompatiblearray_out",
    "anycompatiblemultirange_out",
    "anycompatiblerange_out",
    "anyenum_out",
    "anymultirange_out",
    "anyrange_out",
    "anytextcat",
    "array_in",
    "array_out",
    "array_to_json",
    "array_to_string",
    "cash_in",
    "cash_out",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "current_database",
    "current_user",
    "date",
    "date_add",
    "date_cmp_timestamptz",
    "date_eq_timestamptz",
    "date_ge_timestamptz",
    "date_gt_timestamptz",
    "date_in",
    "date_le_timestamptz",
    "date_lt_timestamptz",
    "date_ne_timestamptz",
    "date_out",
    "date_part",
    "date_subtract",
    "date_trunc",
    "domain_in",
    "enum_in",
    "enum_out",
    "extract",
    "format",
    "get_current_ts_config",
    "getdatabaseencoding",
    "getpgusername",
    "in_range",
    "interval_in",
    "interval_out",
    "interval_pl_timestamptz",
    "json_agg",
    "json_agg_strict",
    "json_agg_strict_transfn",
    "json_agg_transfn",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_strict_transfn",
    "json_object_agg_transfn",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_object_agg_unique_strict_transfn",
    "json_object_agg_unique_transfn",
    "json_populate_record",
    "json_to_record",
    "json_to_tsvector",
    "jsonb_agg",
    "jsonb_agg_finalfn",
    "jsonb_agg_strict",
    "jsonb_agg_strict_transfn",
    "jsonb_agg_transfn",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_finalfn",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_strict_transfn",
    "jsonb_object_agg_transfn",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_object_agg_unique_strict_transfn",
    "jsonb_object_agg_unique_transfn",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_populate_record",
    "jsonb_to_record",
    "jsonb_to_tsvector",
    "length",
    "make_timestamptz",
    "money",
    "multirange_in",
    "multirange_out",
    "numeric",
    "overlaps",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "range_in",
    "range_out",
    "record_in",
    "record_out",
    "row_to_json",
    "session_user",
    "textanycat",
    "time",
    "time_in",
    "timestamp",
    "timestamp_cmp_timestamptz",
    "timestamp_eq_timestamptz",
    "timestamp_ge_timestamptz",
    "timestamp_gt_timestamptz",
    "timestamp_in",
    "timestamp_le_timestamptz",
    "timestamp_lt_timestamptz",
    "timestamp_ne_timestamptz",
    "timestamp_out",
    "timestamptz",
    "timestamptz_cmp_date",
    "timestamptz_cmp_timestamp",
    "timestamptz_eq_date",
    "timestamptz_eq_timestamp",
    "timestamptz_ge_date",
    "timestamptz_ge_timestamp",
    "timestamptz_gt_date",
    "timestamptz_gt_timestamp",
    "timestamptz_in",
    "timestamptz_le_date",
    "timestamptz_le_timestamp",
    "timestamptz_lt_date",
    "timestamptz_lt_timestamp",
    "timestamptz_mi_interval",
    "timestamptz_ne_date",
    "timestamptz_ne_timestamp",
    "timestamptz_out",
    "timestamptz_pl_interval",
    "timetz",
    "timetz_in",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "ts_match_tq",
    "ts_match_tt",
    "version",
    "websearch_to_tsquery",
    "xml",
    "xml_in",
    "xml_is_well_formed",
];

/// Every relation that a query of relation `$1` reads, also indirectly: children of tables
/// (inheritance, table partitions), and the relations of a view's query. Of each its oid, schema, name,
/// `relkind`, and whether it is a heap; whether a subscription writes it or a partitioned table above
/// it; whether each row of a view is a row of one relation (no other relation, subquery or rule);
/// whether it selects rows in no fixed order; and a function of its query that is not known to give the
/// same in all sessions that share a snapshot.
///
/// A view's query is in `pg_rewrite`, with the oid of each function in it. The functions of its
/// operators and aggregates, and the input and output functions of its types, are added. A constant text that
/// becomes a date or time when the view is read counts as the current time: older releases stored
/// `CURRENT_DATE` as `('now'::text)::date`, and dumps keep that. `$2` is
/// [`STABLE_FUNCTIONS`].
pub const READ_RELATIONS: &str = concat!(
    "WITH RECURSIVE tree (oid) AS (\
        SELECT $1::pg_catalog.oid \
        UNION \
        SELECT below.oid FROM tree t CROSS JOIN LATERAL (\
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = t.oid \
            UNION ALL \
            SELECT d.refobjid FROM pg_catalog.pg_class v \
            JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid AND r.ev_type = '1' \
            JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
                AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                AND d.refobjid <> v.oid \
            WHERE v.oid = t.oid AND v.relkind = 'v') below (oid)), \
    above (oid, node) AS (\
        SELECT oid, oid FROM tree \
        UNION \
        SELECT i.inhparent, a.node FROM above a \
        JOIN pg_catalog.pg_class c ON c.oid = a.oid AND c.relispartition \
        JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid), \
    subscribed (node) AS (\
        SELECT DISTINCT a.node FROM above a \
        JOIN pg_catalog.pg_subscription_rel s ON s.srrelid = a.oid) \
    SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text, \
        coalesce(m.amname = 'heap', false), s.node IS NOT NULL, \
        c.relkind <> 'v' OR coalesce(v.passes, false), \
        coalesce(v.unordered, false), v.function \
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam \
    LEFT JOIN subscribed s ON s.node = c.oid \
    LEFT JOIN LATERAL (\
        SELECT (SELECT pg_catalog.count(DISTINCT d.refobjid) = 1 FROM pg_catalog.pg_depend d \
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid) \
            AND (SELECT pg_catalog.count(*) = 1 FROM pg_catalog.pg_rewrite o WHERE o.ev_class = c.oid) \
            AND r.ev_action::pg_catalog.text NOT LIKE '%:hasSubLinks true%' AS passes, \
            r.ev_action::pg_catalog.text ~ (':limit(Count|Offset) \\{|:hasDistinctOn true|' \
                || ':hasWindowFuncs true|\\{TABLESAMPLECLAUSE ') AS unordered, \
            CASE WHEN r.ev_action::pg_catalog.text ~ '\\{SQLVALUEFUNCTION :op [0-8] ' \
                OR r.ev_action::pg_catalog.text ~ '\\{COERCEVIAIO :arg \\{CONST ' \
                    AND r.ev_action::pg_catalog.text ~ ':resulttype (1082|1083|1114|1184|1266) ' \
                THEN 'CURRENT_TIMESTAMP' \
            ELSE (SELECT pg_catalog.min(p.oid::pg_catalog.regprocedure::pg_catalog.text) FROM (\
                SELECT f[1]::pg_catalog.oid FROM pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, \
                    ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') f \
                UNION \
                SELECT CASE WHEN o.oid IS NULL THEN d.refobjid ELSE o.oprcode END \
                FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid \
                    AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass \
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
                AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, \
                    'pg_catalog.pg_operator'::pg_catalog.regclass) \
                UNION \
                SELECT a.part::pg_catalog.oid FROM pg_catalog.pg_depend d \
                JOIN pg_catalog.pg_aggregate g ON g.aggfnoid::pg_catalog.oid = d.refobjid \
                CROSS JOIN LATERAL (VALUES (g.aggtransfn), (g.aggfinalfn), (g.aggcombinefn), \
                    (g.aggserialfn), (g.aggdeserialfn), (g.aggmtransfn), (g.aggminvtransfn), \
                    (g.aggmfinalfn)) a (part) \
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
                AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
                UNION \
                SELECT i.part::pg_catalog.oid FROM pg_catalog.pg_depend d \
                JOIN pg_catalog.pg_type y ON y.oid = d.refobjid \
                CROSS JOIN LATERAL (VALUES (y.typinput), (y.typoutput)) i (part) \
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
                AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass) u (oid) \
                JOIN pg_catalog.pg_proc p ON p.oid = u.oid \
                JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
                WHERE NOT ",
    is_certain!("$2"),
    ") END AS function \
        FROM pg_catalog.pg_rewrite r \
        WHERE r.ev_class = c.oid AND r.ev_type = '1' AND c.relkind = 'v') v ON true \
    ORDER BY c.oid <> $1, n.nspname, c.relname"
);

/// A function that a condition may call, and that is not known to give the same in all sessions which share
/// a snapshot, by the rule of [`READ_RELATIONS`]: one of the names `$1`, of an operator of the names `$2`,
/// of the input of a type or a cast of the names `$1`, or of a user-defined cast that is made without being named. No
/// row where there is none. `$3` is [`STABLE_FUNCTIONS`].
pub const DOUBTFUL_FUNCTION: &str = concat!(
    "SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text \
    FROM (SELECT f.oid FROM pg_catalog.pg_proc f \
            WHERE f.proname::pg_catalog.text = ANY ($1) AND f.prokind = 'f' \
        UNION SELECT o.oprcode FROM pg_catalog.pg_operator o WHERE o.oprname::pg_catalog.text = ANY ($2) \
        UNION SELECT t.typinput FROM pg_catalog.pg_type t WHERE t.typname::pg_catalog.text = ANY ($1) \
        UNION SELECT c.castfunc FROM pg_catalog.pg_cast c \
            JOIN pg_catalog.pg_type t ON t.oid = c.casttarget \
            WHERE c.castcontext = 'i' AND c.castfunc >= 16384 \
                OR t.typname::pg_catalog.text = ANY ($1)) u (oid) \
    JOIN pg_catalog.pg_proc p ON p.oid = u.oid \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    WHERE NOT ",
    is_certain!("$3"),
    " ORDER BY 1 LIMIT 1"
);

/// Columns of a relation (`$1`) in their order; a domain is shown as the type below it, since
/// that is what arrives on the wire. Of that type also its own name, the word of
/// [`crate::decoding::columns::postgres::Family::of`], and the extension that it comes with.
///
/// A column must not be NULL where the server enforces that for each row of the relation and of all its
/// children: a foreign table's NOT NULL is a remark, that of a `NOT VALID` constraint (Postgres 18) says
/// nothing of older rows, a child may lack its parent's, and a domain's is not enforced where the value
/// comes from an empty subquery.
pub const COLUMNS: &str = "WITH RECURSIVE family (oid) AS (\
        SELECT $1::pg_catalog.oid \
        UNION \
        SELECT i.inhrelid FROM family f \
        JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid), \
    lacking (name) AS (\
        SELECT DISTINCT a.attname FROM family f \
        JOIN pg_catalog.pg_class c ON c.oid = f.oid \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.oid AND a.attnum > 0 AND NOT a.attisdropped \
        LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = f.oid AND k.contype = 'n' \
            AND k.conkey[1] = a.attnum AND NOT k.convalidated \
        WHERE c.relkind NOT IN ('r', 'p') OR NOT a.attnotnull OR k.oid IS NOT NULL), \
    base AS (\
    SELECT a.attnum, a.attname::pg_catalog.text AS name, a.atttypid AS type, a.atttypmod AS modifier, \
        a.attname NOT IN (SELECT l.name FROM lacking l) AS required, \
        pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name \
    FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL \
    SELECT b.attnum, b.name, t.typbasetype, t.typtypmod, b.required, b.type_name \
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd') \
    SELECT b.name, b.type, b.modifier, b.required, b.type_name, t.typname::pg_catalog.text, \
        CASE WHEN t.typcategory = 'A' THEN 'array' ELSE CASE t.typtype WHEN 'e' THEN 'enum' \
            WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range' WHEN 'm' THEN 'multirange' \
            ELSE '' END END, \
        (SELECT pg_catalog.min(e.extname::pg_catalog.text) FROM pg_catalog.pg_depend d \
            JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
            WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid \
            AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e') \
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype <> 'd' \
    ORDER BY b.attnum";

/// Whether column `$2` of relation `$1` is, as it is, a column of a table: of a view one that an update
/// of the view would pass on.
pub const IS_PLAIN_COLUMN: &str = "SELECT c.relkind <> 'v' \
        OR coalesce(pg_catalog.pg_column_is_updatable(c.oid::pg_catalog.regclass, a.attnum, false), false) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE c.oid = $1 AND a.attname::pg_catalog.text = $2";

/// The sequence that gives column `$2` of relation `$1` all its numbers, one by one: owned by that
/// column or by the same column of a partitioned table above, with CACHE 1 and INCREMENT 1, and no
/// relation above or below draws from another. No row where there is none.
pub const OWN_SEQUENCE: &str = "WITH RECURSIVE line (oid) AS (\
        SELECT $1::pg_catalog.oid \
        UNION \
        SELECT i.inhparent FROM line l JOIN pg_catalog.pg_class c ON c.oid = l.oid AND c.relispartition \
        JOIN pg_catalog.pg_inherits i ON i.inhrelid = l.oid), \
    family (oid) AS (\
        SELECT $1::pg_catalog.oid \
        UNION \
        SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid), \
    owned (sequence, relation, attnum, draw) AS (\
        SELECT s.seqrelid, d.refobjid, d.refobjsubid, \
            'nextval(' || pg_catalog.quote_literal(s.seqrelid::pg_catalog.regclass::pg_catalog.text) || '::regclass)' \
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid \
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') \
        AND (d.refobjid IN (SELECT oid FROM line) OR d.refobjid IN (SELECT oid FROM family))) \
    SELECT o.sequence FROM owned o \
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = o.sequence \
    JOIN line l ON l.oid = o.relation \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = o.relation AND a.attnum = o.attnum \
    LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum \
    WHERE a.attname::pg_catalog.text = $2 AND s.seqcache = 1 AND s.seqincrement = 1 AND NOT s.seqcycle \
    AND (a.attidentity <> '' OR pg_catalog.pg_get_expr(f.adbin, f.adrelid) = o.draw) \
    AND NOT EXISTS (SELECT 1 FROM (SELECT oid FROM family UNION SELECT oid FROM line) m \
        JOIN pg_catalog.pg_attribute b ON b.attrelid = m.oid AND b.attname::pg_catalog.text = $2 \
        LEFT JOIN pg_catalog.pg_attrdef g ON g.adrelid = b.attrelid AND g.adnum = b.attnum \
        LEFT JOIN owned e ON e.relation = b.attrelid AND e.attnum = b.attnum AND b.attidentity <> '' \
        WHERE pg_catalog.pg_get_expr(g.adbin, g.adrelid) <> o.draw OR e.sequence <> o.sequence) \
    LIMIT 1";

/// The last number that sequence `$1` gave, or the one before its first where it gave none; NULL where
/// the user may not see it.
pub const LAST_NUMBER: &str = "SELECT CASE \
    WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') \
    THEN coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid::pg_catalog.regclass), \
        s.seqstart - 1) END::pg_catalog.text FROM pg_catalog.pg_sequence s WHERE s.seqrelid = $1";

/// Prepared transactions of this database that hold a lock by which rows of a relation of `$1` are
/// written: each by its number. They are in no list of open transactions, and their start is nowhere to
/// be had. A plain user sees all of it.
pub const PREPARED: &str = "SELECT DISTINCT p.transaction::pg_catalog.text::pg_catalog.int8 \
    FROM pg_catalog.pg_prepared_xacts p \
    JOIN pg_catalog.pg_locks t ON t.locktype = 'transactionid' AND t.transactionid = p.transaction \
        AND t.pid IS NULL \
    JOIN pg_catalog.pg_locks l ON l.locktype = 'relation' AND l.pid IS NULL \
        AND l.virtualtransaction = t.virtualtransaction \
    WHERE p.database = pg_catalog.current_database() AND l.relation::pg_catalog.int8 = ANY ($1) \
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')";
