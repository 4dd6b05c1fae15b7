//! The harmless settings of Postgres, by the reason.

use crate::settings::{Group, PLANS_WHY, RESOURCES_WHY, WRITES_WHY};

const PLANS: Group = Group {
    why: PLANS_WHY,
    names: &[
        "cpu_index_tuple_cost",
        "cpu_operator_cost",
        "cpu_tuple_cost",
        "cursor_tuple_fraction",
        "debug_parallel_query",
        "default_statistics_target",
        "effective_cache_size",
        "enable_async_append",
        "enable_bitmapscan",
        "enable_distinct_reordering",
        "enable_gathermerge",
        "enable_group_by_reordering",
        "enable_hashagg",
        "enable_hashjoin",
        "enable_incremental_sort",
        "enable_indexonlyscan",
        "enable_indexscan",
        "enable_material",
        "enable_memoize",
        "enable_mergejoin",
        "enable_nestloop",
        "enable_parallel_append",
        "enable_parallel_hash",
        "enable_partition_pruning",
        "enable_partitionwise_aggregate",
        "enable_partitionwise_join",
        "enable_presorted_aggregate",
        "enable_self_join_elimination",
        "enable_seqscan",
        "enable_sort",
        "enable_tidscan",
        "force_parallel_mode",
        "from_collapse_limit",
        "geqo",
        "geqo_effort",
        "geqo_generations",
        "geqo_pool_size",
        "geqo_seed",
        "geqo_selection_bias",
        "geqo_threshold",
        "ignore_system_indexes",
        "jit",
        "jit_above_cost",
        "jit_debugging_support",
        "jit_dump_bitcode",
        "jit_expressions",
        "jit_inline_above_cost",
        "jit_optimize_above_cost",
        "jit_profiling_support",
        "jit_tuple_deforming",
        "join_collapse_limit",
        "max_parallel_maintenance_workers",
        "max_parallel_workers",
        "max_parallel_workers_per_gather",
        "min_parallel_index_scan_size",
        "min_parallel_table_scan_size",
        "optimize_bounded_sort",
        "parallel_leader_participation",
        "parallel_setup_cost",
        "parallel_tuple_cost",
        "plan_cache_mode",
        "random_page_cost",
        "recursive_worktable_factor",
        "seq_page_cost",
        "stats_fetch_consistency",
    ],
};

const ORDER: Group = Group {
    why: "changes the order of the rows only; it is set for the transaction where that order matters",
    names: &["synchronize_seqscans"],
};

const RESOURCES: Group = Group {
    why: RESOURCES_WHY,
    names: &[
        "backend_flush_after",
        "debug_discard_caches",
        "effective_io_concurrency",
        "hash_mem_multiplier",
        "io_combine_limit",
        "logical_decoding_work_mem",
        "maintenance_io_concurrency",
        "maintenance_work_mem",
        "max_stack_depth",
        "temp_buffers",
        "temp_file_limit",
        "temp_tablespaces",
        "vacuum_buffer_usage_limit",
        "work_mem",
    ],
};

const LOGS: Group = Group {
    why: "changes what the server logs and counts",
    names: &[
        "backtrace_functions",
        "compute_query_id",
        "debug_pretty_print",
        "debug_print_parse",
        "debug_print_plan",
        "debug_print_rewritten",
        "escape_string_warning",
        "lc_messages",
        "log_connections",
        "log_disconnections",
        "log_duration",
        "log_error_verbosity",
        "log_executor_stats",
        "log_lock_failures",
        "log_lock_waits",
        "log_min_duration_sample",
        "log_min_duration_statement",
        "log_min_error_statement",
        "log_min_messages",
        "log_parameter_max_length",
        "log_parameter_max_length_on_error",
        "log_parser_stats",
        "log_planner_stats",
        "log_replication_commands",
        "log_statement",
        "log_statement_sample_rate",
        "log_statement_stats",
        "log_temp_files",
        "log_transaction_sample_rate",
        "md5_password_warnings",
        "trace_notify",
        "trace_sort",
        "track_cost_delay_timing",
        "track_counts",
        "track_functions",
        "track_io_timing",
        "track_wal_io_timing",
        "update_process_title",
    ],
};

const ACTIVITY: Group = Group {
    why: "a session that hides its activity counts as active, so the guard of a window is weaker",
    names: &["track_activities"],
};

const WRITES: Group = Group {
    why: WRITES_WHY,
    names: &[
        "allow_in_place_tablespaces",
        "allow_system_table_mods",
        "check_function_bodies",
        "commit_delay",
        "commit_siblings",
        "createrole_self_grant",
        "deadlock_timeout",
        "debug_logical_replication_streaming",
        "default_table_access_method",
        "default_tablespace",
        "default_toast_compression",
        "event_triggers",
        "file_copy_method",
        "gin_pending_list_limit",
        "icu_validation_level",
        "password_encryption",
        "scram_iterations",
        "session_replication_role",
        "synchronous_commit",
        "vacuum_cost_delay",
        "vacuum_cost_limit",
        "vacuum_cost_page_dirty",
        "vacuum_cost_page_hit",
        "vacuum_cost_page_miss",
        "vacuum_failsafe_age",
        "vacuum_freeze_min_age",
        "vacuum_freeze_table_age",
        "vacuum_max_eager_freeze_failure_rate",
        "vacuum_multixact_failsafe_age",
        "vacuum_multixact_freeze_min_age",
        "vacuum_multixact_freeze_table_age",
        "vacuum_truncate",
        "wal_compression",
        "wal_consistency_checking",
        "wal_init_zero",
        "wal_recycle",
        "wal_sender_timeout",
        "wal_skip_threshold",
    ],
};

const CONNECTION: Group = Group {
    why: "affects the connection; a lost connection is an error",
    names: &[
        "post_auth_delay",
        "tcp_keepalives_count",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_user_timeout",
    ],
};

const CLIENT_CHECK: Group = Group {
    why: "each transaction that reads sets it to 3 s if the server's platform supports it; it ends a statement only after its client is gone",
    names: &["client_connection_check_interval"],
};

const FUNCTIONS: Group = Group {
    why: "controls how PL/pgSQL functions run: the functions of a view run as in every other session of the database \
          user",
    names: &[
        "plpgsql.check_asserts",
        "plpgsql.extra_errors",
        "plpgsql.extra_warnings",
        "plpgsql.print_strict_params",
        "plpgsql.variable_conflict",
    ],
};

const NEAREST: Group = Group {
    why: "controls how a nearest-vector search runs: a view with LIMIT finds the same vectors as in every other \
          session of the database user",
    names: &[
        "hnsw.ef_search",
        "hnsw.iterative_scan",
        "hnsw.max_scan_tuples",
        "hnsw.scan_mem_multiplier",
        "ivfflat.iterative_scan",
        "ivfflat.max_probes",
        "ivfflat.probes",
    ],
};

const INSTALLED: Group = Group {
    why: "names libraries that the administrator of the server has installed; a missing library is an error",
    names: &[
        "dynamic_library_path",
        "extension_control_path",
        "extension_destdir",
        "local_preload_libraries",
        "session_preload_libraries",
    ],
};

const RIGHTS: Group = Group {
    why: "determines who the database user is or what it may read; a missing privilege is an error",
    names: &["lo_compat_privileges", "role"],
};

const NAME: Group = Group {
    why: "set by the start-up packet, to tidemark/<run>/<part>",
    names: &["application_name"],
};

/// The harmless ones, by the reason.
pub const HARMLESS: &[Group] = &[
    PLANS,
    ORDER,
    RESOURCES,
    LOGS,
    ACTIVITY,
    WRITES,
    CONNECTION,
    CLIENT_CHECK,
    FUNCTIONS,
    NEAREST,
    INSTALLED,
    RIGHTS,
    NAME,
];
