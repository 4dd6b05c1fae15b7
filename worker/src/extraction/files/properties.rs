//! How a Parquet file is written: compression, statistics, sizes of pages, and its schema.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use crds::output::Compression as Wanted;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, GzipLevel, LogicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};
use worker_core::decoding::columns::{Column, Target, is_row_hash};
use worker_core::encoding::batches::MemorySplit;

/// How the writer is set up.
pub(super) fn properties(
    split: &MemorySplit,
    compression: Wanted,
    schema: &SchemaRef,
) -> Result<WriterProperties, ParquetError> {
    let compression = match compression {
        Wanted::Zstd => match split.zstd_level {
            Some(level) => Compression::ZSTD(ZstdLevel::try_new(level)?),
            None => Compression::LZ4_RAW,
        },
        Wanted::Snappy => Compression::SNAPPY,
        Wanted::Gzip => Compression::GZIP(GzipLevel::default()),
        Wanted::Lz4 => Compression::LZ4_RAW,
        Wanted::None => Compression::UNCOMPRESSED,
    };
    let mut properties = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(split.page_bytes)
        .set_dictionary_page_size_limit(split.page_bytes)
        .set_dictionary_enabled(split.dictionaries)
        // row groups are closed by memory
        .set_max_row_group_row_count(None)
        .set_created_by(format!("tidemark version {}", env!("CARGO_PKG_VERSION")));
    for hash in schema.fields().iter().filter(|field| is_row_hash(field)) {
        let path = ColumnPath::new(vec![hash.name().clone()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// The schema that the Arrow types stand for, with the logical types that Arrow has only as names.
pub(super) fn parquet_schema(
    columns: &[Column],
    schema: &SchemaRef,
) -> Result<SchemaDescriptor, ParquetError> {
    let plain = ArrowSchemaConverter::new().convert(schema)?;
    // fields beyond the table's columns are added ones
    let targets = columns.iter().map(|column| Some(column.target)).chain(std::iter::repeat(None));
    let fields = plain.root_schema().get_fields().iter().zip(targets);
    let fields = fields
        .map(|(field, target)| match target {
            Some(Target::Uuid) => with_logical_type(field, LogicalType::Uuid, 16),
            Some(Target::Json) => with_logical_type(field, LogicalType::Json, -1),
            _ => Ok(Arc::clone(field)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let root = Type::group_type_builder("schema").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn with_logical_type(
    field: &TypePtr,
    logical_type: LogicalType,
    length: i32,
) -> Result<TypePtr, ParquetError> {
    Type::primitive_type_builder(field.name(), field.get_physical_type())
        .with_repetition(field.get_basic_info().repetition())
        .with_logical_type(Some(logical_type))
        .with_length(length)
        .build()
        .map(Arc::new)
}

#[cfg(test)]
mod tests {
    use crds::output::OutputColumns;
    use worker_core::decoding::columns::{Decoder, arrow_schema};
    use worker_core::encoding::batches::MemoryBudget;

    use super::*;

    #[test]
    fn a_row_hash_has_neither_dictionary_nor_statistics() {
        let names = OutputColumns {
            row_hash: Some("hash".to_owned()),
            run_id: Some("run.id".to_owned()),
            ..OutputColumns::default()
        };
        let run = "0185f9a1-1c48-7000-8000-000000000001".parse().expect("a run id");
        let decoder = Decoder::new(&[], None).expect("no watermark").adding(&names, run);
        let split = MemoryBudget::new(None).split(2);
        let properties =
            properties(&split, Wanted::default(), decoder.schema()).expect("good properties");
        for (name, kept) in [("hash", false), ("run.id", true)] {
            let path = ColumnPath::new(vec![name.to_owned()]);
            assert_eq!(properties.dictionary_enabled(&path), kept, "{name}");
            let statistics = properties.statistics_enabled(&path);
            assert_eq!(statistics != EnabledStatistics::None, kept, "{name}");
        }
    }

    fn column(target: Target) -> Column {
        Column {
            name: "x".to_owned(),
            type_oid: 0,
            type_name: "t".to_owned(),
            type_modifier: -1,
            nullable: true,
            target,
            fidelity: None,
            reason: String::new(),
        }
    }

    /// Physical and logical type of a target in a file, in the words of the documentation.
    fn in_parquet(target: Target) -> String {
        let columns = [column(target)];
        let schema = parquet_schema(&columns, &arrow_schema(&columns)).expect("a schema");
        let field = schema.column(0);
        let physical = match field.physical_type() {
            physical if field.type_length() == 16 && target == Target::Uuid => {
                format!("{physical}(16)")
            }
            physical => physical.to_string(),
        };
        let zone = |utc| if utc { "adjusted to UTC" } else { "not adjusted to UTC" };
        let logical = match field.logical_type_ref() {
            None => return physical,
            Some(LogicalType::String) => "STRING".to_owned(),
            Some(LogicalType::Json) => "JSON".to_owned(),
            Some(LogicalType::Uuid) => "UUID".to_owned(),
            Some(LogicalType::Date) => "DATE".to_owned(),
            Some(LogicalType::Integer(whole)) if whole.is_signed => {
                format!("INT({})", whole.bit_width)
            }
            Some(LogicalType::Decimal(decimal)) => {
                format!("DECIMAL({}, {})", decimal.precision, decimal.scale)
            }
            Some(LogicalType::Time(time)) => {
                format!("TIME({:?}), {}", time.unit, zone(time.is_adjusted_to_u_t_c))
            }
            Some(LogicalType::Timestamp(time)) => {
                format!("TIMESTAMP({:?}), {}", time.unit, zone(time.is_adjusted_to_u_t_c))
            }
            other => format!("{other:?}"),
        };
        format!("{physical}, {logical}")
    }

    #[test]
    fn files_have_the_types_of_the_mapping_tables() {
        let decimal = |precision, scale| Target::Decimal { precision, scale };
        for target in [
            Target::Boolean,
            Target::Int16,
            Target::Int32,
            Target::Int64,
            Target::Float32,
            Target::Float64,
            decimal(20, 0),
            Target::Text,
            Target::AsText,
            Target::Binary,
            Target::Date,
            Target::Time,
            Target::Timestamp,
            Target::TimestampTz,
            Target::Uuid,
            Target::Json,
        ] {
            assert_eq!(in_parquet(target), target.parquet(), "{target:?}");
        }
        for (precision, physical) in [(9, "INT32"), (18, "INT64"), (38, "FIXED_LEN_BYTE_ARRAY")] {
            let expected = format!("{physical}, DECIMAL({precision}, 2)");
            assert_eq!(in_parquet(decimal(precision, 2)), expected);
            assert!(decimal(precision, 2).parquet().contains(physical));
        }
    }
}
