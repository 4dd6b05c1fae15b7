//! How the legacy job's `partition_column` and what goes with it cut the table.

use crds::extract_job::{ExtractType, Partition, Strategy};

use super::legacy::{Argument, LegacyJob, invalid};
use crate::errors::failure::Failure;
use crate::planning::partitions::{KeyType, PARTITIONS_MAX};

/// What `num_partitions=1` without a column asks for.
const ONE: Partition = Partition {
    column: None,
    lower_bound: None,
    upper_bound: None,
    count: None,
    strategy: Some(Strategy::None),
    rebalance: None,
};

/// The partition that a call stands for, if any: without one, the table is divided as Tidemark finds best.
pub(super) fn partition(
    job: &mut LegacyJob,
    extract_type: ExtractType,
    reingest: bool,
) -> Result<Option<Partition>, Failure> {
    let count = count(job)?;
    let rebalance = job.is_true(Argument::RepartitionDataframe);
    let Some(column) = job.bound(Argument::PartitionColumn).map(str::to_owned) else {
        if count.is_some_and(|count| count > 1) {
            job.warn(
                "num_partitions is ignored without partition_column: Tidemark chooses the partitions by the primary key \
                 and the size of the table",
            );
        }
        if rebalance {
            job.warn(
                "repartition_dataframe is ignored without partition_column: Tidemark chooses the partitions by the \
                 primary key and the size of the table",
            );
        }
        return Ok((count == Some(1)).then_some(ONE));
    };
    let (lower, upper) = bounds(job)?;
    let given = lower.is_some() || upper.is_some();
    let full = extract_type == ExtractType::FE || reingest;
    if rebalance && given {
        job.warn(
            "lower_bound and upper_bound are not used with repartition_dataframe, whose partitions have \
             equal numbers of rows",
        );
    } else if !full && given {
        job.warn(
            "lower_bound and upper_bound are not used by a PE, whose partitions are computed from the window",
        );
    }
    let used = full && !rebalance;
    Ok(Some(Partition {
        column: Some(column),
        lower_bound: lower.filter(|_| used),
        upper_bound: upper.filter(|_| used),
        count,
        strategy: None,
        rebalance: rebalance.then_some(true),
    }))
}

fn count(job: &mut LegacyJob) -> Result<Option<u32>, Failure> {
    let Some(text) = job.bound(Argument::NumPartitions) else { return Ok(None) };
    let count = text.parse::<u32>().ok().filter(|count| *count > 0).ok_or_else(|| {
        invalid(
            "num_partitions is not a number above 0",
            "Correct --num_partitions, or remove it to compute the number from the size of the table.",
        )
    })?;
    if count > PARTITIONS_MAX {
        job.warn("num_partitions is above 1000, so the table is read as 1000 partitions");
    }
    Ok(Some(count.min(PARTITIONS_MAX)))
}

/// The bounds as a manifest writes them: of one kind, and not the wrong way round.
fn bounds(job: &LegacyJob) -> Result<(Option<String>, Option<String>), Failure> {
    let read = |argument| job.bound(argument).map(|text| (argument, text));
    let given: Vec<_> =
        [read(Argument::LowerBound), read(Argument::UpperBound)].into_iter().flatten().collect();
    let kinds = [KeyType::Int, KeyType::Date, KeyType::Timestamp];
    let values = kinds.iter().find_map(|kind| {
        let parse =
            |(argument, text): &(Argument, &str)| kind.value(text).map(|value| (*argument, value));
        given.iter().map(parse).collect::<Option<Vec<_>>>()
    });
    let values = values.ok_or_else(|| {
        invalid(
            "lower_bound and upper_bound are not two whole numbers, dates or timestamps",
            "Correct --lower_bound and --upper_bound, or remove them to use the column's minimum and \
             maximum.",
        )
    })?;
    if let [(_, lower), (_, upper)] = values.as_slice()
        && lower > upper
    {
        return Err(invalid("lower_bound is above upper_bound", "Exchange the two values."));
    }
    let text = |wanted| {
        values.iter().find(|(argument, _)| *argument == wanted).map(|(_, value)| value.to_text())
    };
    Ok((text(Argument::LowerBound), text(Argument::UpperBound)))
}
