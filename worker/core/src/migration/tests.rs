use std::collections::BTreeMap;

use crds::Reason;
use crds::extract_job::{ExtractType, NullPolicy, Strategy, WatermarkType};
use crds::output::RunFolder;
use crds::source::TlsMode;
use serde_json::json;

use super::*;

/// A password that must not be seen anywhere.
const CANARY: &str = "canary-5d1";

/// What a call needs at least, in lower case.
const NEEDED: [(&str, &str); 9] = [
    ("db_engine", "postgres"),
    ("db_secret", "postgres/shop"),
    ("db_name", "shop"),
    ("extract_table", "public.orders"),
    ("extract_type", "PE"),
    ("hwm_col_name", "updated_at"),
    ("hwm_column_type", "TimestampType"),
    ("extract_s3_uri", "s3://lake/shop/orders/"),
    ("tracking_table_name", "tracking"),
];

/// [`NEEDED`] with some arguments changed or added; an empty value takes one away.
fn needed<'a>(changes: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, &'a str> {
    let mut all: BTreeMap<_, _> = NEEDED.into_iter().chain(changes.iter().copied()).collect();
    all.retain(|_, value| !value.is_empty());
    all
}

fn by_environment(arguments: &BTreeMap<&str, &str>) -> LegacyJob {
    let variables =
        arguments.iter().map(|(name, value)| (name.to_uppercase(), (*value).to_owned()));
    let variables = variables.chain([("EDL_TYPE".to_owned(), "extract".to_owned())]).collect();
    call(&[], &variables).expect("a good call").expect("a call of the legacy job")
}

fn by_words(words: &[String]) -> LegacyJob {
    call(words, &BTreeMap::new()).expect("a good call").expect("a call of the legacy job")
}

fn moved(changes: &[(&str, &str)]) -> Moved {
    by_environment(&needed(changes)).into_moved().expect("a good call")
}

fn refused(changes: &[(&str, &str)]) -> String {
    let failure = by_environment(&needed(changes)).into_moved().expect_err("a bad call");
    assert_eq!(failure.report.reason, Reason::InvalidSpec);
    assert!(!failure.report.remedy.is_empty(), "{failure}");
    failure.report.message
}

fn warns(changes: &[(&str, &str)], part: &str) -> bool {
    moved(changes).warnings.iter().any(|warning| warning.contains(part))
}

#[test]
fn the_job_had_23_arguments() {
    assert_eq!(Argument::ALL.len(), 23 + 2, "and two of ours");
}

#[test]
fn three_forms_of_one_call_are_one_job() {
    let arguments =
        needed(&[("hwm_value", "-1"), ("reingest", "true"), ("lwm_value", "2023-01-31")]);
    let environment = by_environment(&arguments);
    let glue = arguments
        .iter()
        .flat_map(|(name, value)| [format!("--{}", name.to_uppercase()), (*value).to_owned()]);
    let script = arguments.iter().map(|(name, value)| format!("--{name}={value}"));
    assert_eq!(by_words(&glue.collect::<Vec<_>>()), environment);
    assert_eq!(by_words(&script.collect::<Vec<_>>()), environment);
    let moved = environment.into_moved().expect("a good call");
    assert_eq!(moved.spec.output.uri, "s3://lake/shop/orders");
    assert_eq!(moved.spec.extract.reingest, Some(true));
}

#[test]
fn own_commands_are_not_parsed_as_legacy_calls() {
    let none = BTreeMap::new();
    for line in ["run -f job.yaml", "--lease-seconds 3 run -f job.yaml", "--help", "coordinate"] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(call(&words, &none), Ok(None), "{line}");
    }
    assert_eq!(call(&[], &none), Ok(None));
    // a pod's environment may hold anything, but it always has a sub-command
    let stray = BTreeMap::from([("EXTRACT_TABLE".to_owned(), "t".to_owned())]);
    assert_eq!(call(&["extract".to_owned()], &stray), Ok(None));
}

#[test]
fn arguments_of_glue_are_ignored_and_unknown_ones_are_named() {
    let words =
        "--JOB_NAME x --enable-metrics --TempDir s3://a/b --hwm_colum_name id --DB_ENGINE postgres";
    let job = by_words(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(job.warnings.len(), 1, "{:?}", job.warnings);
    assert!(job.warnings[0].contains("--hwm_colum_name"), "{:?}", job.warnings);
}

#[test]
fn the_environment_may_name_the_script_but_not_another_pipeline() {
    let with = |name: &str, value: &str| {
        let mut all = BTreeMap::from([("EXTRACT_TABLE".to_owned(), "t".to_owned())]);
        all.insert(name.to_owned(), value.to_owned());
        call(&[], &all)
    };
    let job = with("SCRIPT_NAME", "jdbc_extract_job.py").expect("good").expect("old");
    assert!(job.warnings[0].contains("SCRIPT_NAME"));
    assert!(
        with("EDL_TYPE", "transform").expect_err("another").report.message.contains("EDL_TYPE")
    );
}

#[test]
fn all_missing_arguments_are_reported_together() {
    let job = call(&["--DB_ENGINE".to_owned(), "postgres".to_owned()], &BTreeMap::new());
    let job = job.expect("good").expect("old");
    let failure = job.into_moved().expect_err("nearly all is missing");
    for name in ["--db_name", "--extract_table", "--tracking_table_name", "--db_password"] {
        assert!(failure.report.message.contains(name), "{failure}");
    }
    assert!(failure.report.remedy.contains("--db_secret"), "{failure}");
    assert!(refused(&[("hwm_col_name", "None")]).contains("--hwm_col_name"));
}

#[test]
fn invalid_arguments_are_named_without_their_values() {
    for (argument, value) in [
        ("db_engine", CANARY),
        ("extract_type", CANARY),
        ("hwm_column_type", "StringType"),
        ("hwm_value", CANARY),
        ("lwm_value", CANARY),
        ("db_port", "99999"),
        ("num_partitions", "many"),
        ("extract_table", "db.public.orders"),
        ("extract_s3_uri", "s3://lake"),
        ("tls_mode", CANARY),
        ("null_policy", CANARY),
    ] {
        let message = refused(&[(argument, value)]);
        assert!(message.contains(argument), "{argument}: {message}");
        assert!(!message.contains(CANARY), "{message}");
    }
    assert!(refused(&[("db_engine", "oracle")]).contains("postgres nor mysql"));
}

#[test]
fn minus_one_none_and_nothing_are_no_bound() {
    for nothing in ["-1", "None", "null", " "] {
        let watermark =
            moved(&[("hwm_value", nothing), ("lwm_value", nothing)]).spec.extract.watermark;
        let watermark = watermark.expect("a watermark");
        assert_eq!((watermark.low, watermark.high), (None, None), "{nothing:?}");
    }
    let int = [("hwm_column_type", "LongType"), ("lwm_value", "-1"), ("hwm_value", "-1")];
    let watermark = moved(&int).spec.extract.watermark.expect("a watermark");
    assert_eq!(
        (watermark.low.as_deref(), watermark.high),
        (Some("-1"), None),
        "a number to start above"
    );
    let full = [("extract_type", "FE"), int[0], int[1], int[2]];
    let watermark = moved(&full).spec.extract.watermark.expect("a watermark");
    assert_eq!((watermark.low, watermark.high), (None, None), "an FE has no bound at -1");
}

/// The legacy job reads what a first run without rows leaves, and an `integer` column of its database
/// refuses the least number of 64 bits.
#[test]
fn a_narrow_type_begins_where_the_legacy_job_did() {
    let low = |spelling| {
        moved(&[("hwm_column_type", spelling)]).spec.extract.watermark.expect("a watermark").low
    };
    assert_eq!(low("IntegerType").as_deref(), Some("-2147483648"));
    assert_eq!(low("FloatType").as_deref(), Some("-3.4028234663852886e+38"));
    assert_eq!(low("LongType"), None);
    for (value_type, text) in [
        (WatermarkType::Int, "-2147483648"),
        (WatermarkType::Int, "-9223372036854775808"),
        (WatermarkType::Timestamp, "0001-01-01 00:00:00"),
        (WatermarkType::Date, "None"),
        (WatermarkType::Date, "-1"),
    ] {
        assert!(value_type.is_beginning(text), "{value_type:?} {text}");
    }
    assert!(!WatermarkType::Int.is_beginning("-1"));
}

#[test]
fn the_legacy_names_of_types_are_read() {
    for (spelling, value_type) in [
        ("int", WatermarkType::Int),
        ("IntegerType", WatermarkType::Int),
        ("LongType", WatermarkType::Int),
        ("DecimalType", WatermarkType::Decimal),
        ("FloatType", WatermarkType::Double),
        ("DoubleType", WatermarkType::Double),
        ("timestamp", WatermarkType::Timestamp),
        ("TimestampType", WatermarkType::Timestamp),
        ("DateType", WatermarkType::Date),
    ] {
        let watermark = moved(&[("hwm_column_type", spelling)]).spec.extract.watermark;
        assert_eq!(watermark.expect("a watermark").value_type, value_type, "{spelling}");
    }
}

#[test]
fn a_bounded_full_extract_is_converted_with_a_warning() {
    let bounded =
        [("extract_type", "FE"), ("lwm_value", "2023-01-01"), ("hwm_value", "2023-01-31 10:00:00")];
    let watermark = moved(&bounded).spec.extract.watermark.expect("a watermark");
    assert_eq!(watermark.low.as_deref(), Some("2023-01-01 00:00:00"));
    assert!(warns(&bounded, "limit the full extract"));
    let swapped =
        [("extract_type", "FE"), ("lwm_value", "2023-02-01"), ("hwm_value", "2023-01-31")];
    assert!(refused(&swapped).contains("lwm_value is above hwm_value"));
    let no_column = [("hwm_col_name", ""), ("hwm_column_type", ""), bounded[0], bounded[1]];
    assert!(warns(&no_column, "are ignored"));
    assert_eq!(moved(&no_column).spec.extract.watermark, None);
}

#[test]
fn reingest_accepts_the_values_that_the_legacy_job_accepted() {
    for (text, meant) in
        [("true", true), ("Y", true), ("1", true), ("false", false), ("yes", false)]
    {
        let extract = moved(&[("reingest", text)]).spec.extract;
        assert_eq!(extract.reingest, meant.then_some(true), "{text}");
    }
    let full = [
        ("extract_type", "FE"),
        ("reingest", "true"),
        ("hwm_col_name", ""),
        ("hwm_column_type", ""),
    ];
    let extract = moved(&full).spec.extract;
    assert_eq!((extract.extract_type, extract.reingest), (ExtractType::FE, None));
}

#[test]
fn the_partition_columns_bounds_set_the_stride_of_a_full_extract_alone() {
    let bounds = [
        ("partition_column", "AccountID"),
        ("lower_bound", "1"),
        ("upper_bound", "1000"),
        ("num_partitions", "4"),
    ];
    let full: Vec<_> = bounds.into_iter().chain([("extract_type", "FE")]).collect();
    let partition = moved(&full).spec.extract.partition.expect("a partition");
    assert_eq!(
        (partition.lower_bound.as_deref(), partition.upper_bound.as_deref(), partition.count),
        (Some("1"), Some("1000"), Some(4))
    );
    assert!(!warns(&full, "lower_bound"));
    let partition = moved(&bounds).spec.extract.partition.expect("a partition");
    assert_eq!((partition.lower_bound, partition.count), (None, Some(4)));
    assert!(warns(&bounds, "not used by a PE"));
    assert!(refused(&[bounds[0], ("lower_bound", "9"), ("upper_bound", "1")]).contains("above"));
    assert!(
        refused(&[bounds[0], ("lower_bound", "1"), ("upper_bound", "2023-01-31")])
            .contains("lower_bound")
    );
    let without =
        moved(&[bounds[0], ("lower_bound", "-1"), ("upper_bound", "None")]).spec.extract.partition;
    assert_eq!(without.expect("a partition").lower_bound, None);
}

#[test]
fn repartition_dataframe_means_partitions_of_equal_row_count() {
    let rebalanced = [("partition_column", "id"), ("repartition_dataframe", "true")];
    let full: Vec<_> = rebalanced.into_iter().chain([("extract_type", "FE")]).collect();
    for changes in [&rebalanced[..], &full[..]] {
        let partition = moved(changes).spec.extract.partition.expect("a partition");
        assert_eq!((partition.rebalance, partition.strategy), (Some(true), None));
        assert_eq!(crate::planning::partitioning::strategy(&partition), Strategy::Quantile);
        assert!(!warns(changes, "repartition_dataframe"));
    }
    let bounded: Vec<_> =
        full.into_iter().chain([("lower_bound", "1"), ("upper_bound", "9")]).collect();
    let partition = moved(&bounded).spec.extract.partition.expect("a partition");
    assert_eq!((partition.lower_bound, partition.upper_bound), (None, None));
    assert!(warns(&bounded, "equal numbers of rows"));
}

#[test]
fn call_without_partition_column_has_no_partition_unless_it_asks_for_one() {
    for changes in [&[][..], &[("num_partitions", "4")], &[("repartition_dataframe", "true")]] {
        assert_eq!(moved(changes).spec.extract.partition, None, "{changes:?}");
    }
    let one = [("num_partitions", "1")];
    let partition = moved(&one).spec.extract.partition.expect("a partition");
    assert_eq!((partition.strategy, partition.count), (Some(Strategy::None), None));
    assert!(!warns(&one, "num_partitions"), "{:?}", moved(&one).warnings);
}

#[test]
fn unsupported_arguments_are_never_ignored_silently() {
    for (changes, part) in [
        (&[("fetchsize", "1000")][..], "fetchsize is not used"),
        (&[("repartition_dataframe", "true")], "ignored without partition_column"),
        (&[("num_partitions", "4")], "num_partitions is ignored without partition_column"),
        (&[("partition_column", "id"), ("num_partitions", "5000")], "1000 partitions"),
        (&[("db_user", "a"), ("db_password", "b")], "are ignored because db_secret"),
    ] {
        assert!(warns(changes, part), "{changes:?}: {:?}", moved(changes).warnings);
    }
}

#[test]
fn the_output_layout_is_that_of_the_legacy_job() {
    let output = moved(&[("extract_s3_uri", "lake/shop/orders")]).spec.output;
    assert_eq!(output.uri, "s3://lake/shop/orders");
    assert_eq!(output.run_folder, Some(RunFolder::Time));
    let folders = |given| moved(&[("extract_s3_partitions", given)]).spec.output.partition_by;
    assert_eq!(folders("jdbc_extract_time"), None);
    let both = vec!["region".to_owned(), "kind".to_owned()];
    assert_eq!(folders("jdbc_extract_time, region,kind"), Some(both));
    assert_eq!(output.columns.and_then(|columns| columns.row_hash).as_deref(), Some("hash"));
}

/// Defect 8: nothing required a verified connection. The old calls keep that, and say so; nothing
/// else can ask for it.
#[test]
fn legacy_job_8_an_unverified_connection_is_a_warning_away_from_a_verified_one() {
    let old = moved(&[]);
    assert_eq!(old.tls, Tls::Prefer);
    assert!(old.warnings.iter().any(|it| it.contains("--tls_mode") && it.contains("TLS_MODE")));
    let verified = moved(&[("tls_mode", "verifyFull")]);
    assert_eq!(verified.tls, Tls::Mode(TlsMode::VerifyFull));
    assert!(!verified.warnings.iter().any(|warning| warning.contains("TLS_MODE")));
    assert!(serde_json::from_value::<TlsMode>(json!("prefer")).is_err(), "no manifest can name it");
    assert_eq!(old.spec.source.tls, None, "so a manifest made of it is verified");
}

#[test]
fn a_password_is_in_nothing_that_is_printed() {
    let plain = [
        ("db_secret", ""),
        ("db_user", CANARY),
        ("db_password", CANARY),
        ("db_host", "db.example.com"),
    ];
    let job = by_environment(&needed(&plain));
    assert!(!format!("{job:?}").contains(CANARY));
    let moved = job.into_moved().expect("good");
    assert!(!format!("{moved:?}").contains(CANARY), "{moved:?}");
    assert!(!json!(moved.spec).to_string().contains(CANARY));
    assert_eq!(moved.login.expect("a login").password, CANARY);
    let secret = moved.spec.source.credentials.secret_ref.expect("a Secret to be made");
    assert_eq!(secret.name, "shop");
}

#[test]
fn rows_without_watermark_can_be_skipped_as_by_the_legacy_job() {
    let policy = |text| {
        moved(&[("null_policy", text)]).spec.extract.watermark.expect("a watermark").null_policy
    };
    assert_eq!(policy("exclude"), Some(NullPolicy::Exclude));
    assert_eq!(policy("None"), None);
}

#[test]
fn a_yaml_of_a_source_is_one_call_for_each_table() {
    let file = json!({
        "source_name": "shop",
        "extract": {
            "source_type": "jdbc", "job_type": "glue", "db_engine": "postgres",
            "db_secret": "postgres/shop", "db_port": 5432, "db_name": "shop",
            "default_arguments": {
                "extract_type": "FE", "num_partitions": "4", "fetchsize": "1000",
                "tracking_table_name": "tracking", "worker_no": "2",
            },
            "tables": {
                "public.customers": { "extract_s3_uri": "s3://lake/customers", "colour": "red" },
                "public.orders": {
                    "extract_s3_uri": "s3://lake/orders", "extract_type": "PE",
                    "hwm_col_name": "id", "hwm_column_type": "IntegerType",
                    "partition_column": "id", "num_partitions": 8, "hwm_value": -1,
                },
            },
        },
    });
    let (source, jobs) = source_file(&file).expect("a good file");
    assert_eq!((source.as_str(), jobs.len()), ("shop", 2));
    let moved: Vec<Moved> =
        jobs.into_iter().map(|job| job.into_moved().expect("a good table")).collect();
    let (customers, orders) = (&moved[0], &moved[1]);
    assert_eq!(customers.spec.extract.extract_type, ExtractType::FE);
    assert!(customers.warnings.iter().any(|warning| warning.contains("colour")));
    assert_eq!(orders.spec.extract.extract_type, ExtractType::PE);
    assert_eq!(orders.spec.extract.partition.as_ref().expect("a partition").count, Some(8));
    assert_eq!(orders.spec.source.port, Some(5432));
    assert!(source_file(&json!({"extract": {}})).is_err());
    assert!(source_file(&json!({"extract": {"source_type": "api", "tables": {"a": {}}}})).is_err());
}
