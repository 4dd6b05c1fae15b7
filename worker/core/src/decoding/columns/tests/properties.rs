//! Properties of the decoder: what was encoded is decoded, and no bytes make it panic.

use proptest::prelude::*;

use super::*;

/// One value of each type, and its wire form.
#[derive(Debug, Clone)]
struct Row {
    whole: (Option<i16>, Option<i32>, Option<i64>),
    floats: (Option<f32>, Option<f64>),
    decimals: (Option<i128>, Option<i128>),
    text: Option<String>,
    binary: Option<Vec<u8>>,
    time: (Option<i32>, Option<i64>),
    flag: Option<bool>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let whole = (any::<Option<i16>>(), any::<Option<i32>>(), any::<Option<i64>>());
    let floats = (any::<Option<f32>>(), any::<Option<f64>>());
    let large = -(10_i128.pow(38) - 1)..10_i128.pow(38);
    let decimals = (
        proptest::option::of(-999_999_999_999_i128..1_000_000_000_000),
        proptest::option::of(prop_oneof![large, Just(0), -10_000_i128..10_000]),
    );
    let time = (
        proptest::option::of(-2_500_000..2_500_000),
        proptest::option::of(-200_000_000_000_000_000_i64..200_000_000_000_000_000),
    );
    let rest = (any::<Option<String>>(), any::<Option<Vec<u8>>>(), any::<Option<bool>>());
    let row = (whole, floats, decimals, time, rest).prop_map(
        |(whole, floats, decimals, time, (text, binary, flag))| Row {
            whole,
            floats,
            decimals,
            text,
            binary,
            time,
            flag,
        },
    );
    proptest::collection::vec(row, 0..20)
}

fn all_columns() -> Vec<Column> {
    let types = [
        (oids::INT2, -1),
        (oids::INT4, -1),
        (oids::INT8, -1),
        (oids::FLOAT4, -1),
        (oids::FLOAT8, -1),
        (oids::NUMERIC, numeric(12, 2)),
        (oids::NUMERIC, numeric(38, 10)),
        (oids::TEXT, -1),
        (oids::BYTEA, -1),
        (oids::DATE, -1),
        (oids::TIMESTAMP, -1),
        (oids::BOOL, -1),
    ];
    types
        .iter()
        .enumerate()
        .map(|(index, (oid, modifier))| column(&format!("c{index}"), *oid, *modifier))
        .collect()
}

fn wire(row: &Row) -> Vec<Option<Vec<u8>>> {
    vec![
        row.whole.0.map(|value| value.to_be_bytes().to_vec()),
        row.whole.1.map(|value| value.to_be_bytes().to_vec()),
        row.whole.2.map(|value| value.to_be_bytes().to_vec()),
        row.floats.0.map(|value| value.to_be_bytes().to_vec()),
        row.floats.1.map(|value| value.to_be_bytes().to_vec()),
        row.decimals.0.map(|value| numeric_wire(value, 2)),
        row.decimals.1.map(|value| numeric_wire(value, 10)),
        row.text.as_ref().map(|value| value.as_bytes().to_vec()),
        row.binary.clone(),
        row.time.0.map(|value| value.to_be_bytes().to_vec()),
        row.time.1.map(|value| micros_wire(value).to_vec()),
        row.flag.map(|value| vec![u8::from(value)]),
    ]
}

fn unwire(batch: &RecordBatch, at: usize) -> Row {
    let valid =
        |index: usize| batch.column(index).is_valid(at).then(|| batch.column(index).as_ref());
    Row {
        whole: (
            valid(0).map(|array| array.as_primitive::<Int16Type>().value(at)),
            valid(1).map(|array| array.as_primitive::<Int32Type>().value(at)),
            valid(2).map(|array| array.as_primitive::<Int64Type>().value(at)),
        ),
        floats: (
            valid(3).map(|array| array.as_primitive::<Float32Type>().value(at)),
            valid(4).map(|array| array.as_primitive::<Float64Type>().value(at)),
        ),
        decimals: (
            valid(5).map(|array| array.as_primitive::<Decimal128Type>().value(at)),
            valid(6).map(|array| array.as_primitive::<Decimal128Type>().value(at)),
        ),
        text: valid(7).map(|array| array.as_string::<i32>().value(at).to_owned()),
        binary: valid(8).map(|array| array.as_binary::<i32>().value(at).to_vec()),
        time: (
            valid(9).map(|array| array.as_primitive::<Date32Type>().value(at) - 10_957),
            valid(10).map(|array| array.as_primitive::<TimestampMicrosecondType>().value(at)),
        ),
        flag: valid(11).map(|array| array.as_boolean().value(at)),
    }
}

proptest! {
    #[test]
    fn encoded_values_are_decoded(rows in rows()) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let batch = decode(&all_columns(), &stream(&fields)).expect("good rows");
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (at, row) in rows.iter().enumerate() {
            // floats by their bits: NaN and -0.0 must come through too
            prop_assert_eq!(wire(&unwire(&batch, at)), wire(row));
        }
    }

    #[test]
    fn chunks_may_be_split_anywhere(rows in rows(), cuts in proptest::collection::vec(1_usize..90, 1..30)) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let bytes = stream(&fields);
        let whole = decode(&all_columns(), &bytes).expect("good rows");
        let mut decoder = Decoder::new(&all_columns(), Some("c2")).expect("a column");
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
            decoder.feed(chunk).expect("good rows");
            rest = tail;
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoder.take_batch().expect("a batch"), whole);
        let seen: Vec<i64> = rows.iter().filter_map(|row| row.whole.2).collect();
        let expected = seen.iter().min().zip(seen.iter().max());
        let expected = expected.map(|(min, max)| (min.to_string(), max.to_string()));
        prop_assert_eq!(decoder.watermarks(), Ok(expected));
    }

    #[test]
    fn batches_flushed_early_lose_nothing(rows in rows(), cut in 1_usize..200) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let mut decoder = Decoder::new(&all_columns(), None).expect("no watermark");
        let mut taken = 0;
        for chunk in stream(&fields).chunks(cut) {
            decoder.feed(chunk).expect("good rows");
            taken += decoder.take_batch().expect("a batch").num_rows();
        }
        prop_assert_eq!((taken, decoder.rows()), (rows.len(), rows.len() as u64));
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1_usize..300) {
        let content = &stream(&[])[5..HEADER_BYTES];
        let header = message(content);
        let columns = all_columns();
        for start in [&[][..], &header, &message(&[content, &[0, 12]].concat())] {
            let mut decoder = Decoder::new(&columns, Some("c5")).expect("a column");
            let all = [start, &bytes].concat();
            if all.chunks(cut).all(|chunk| decoder.feed(chunk).is_ok()) {
                decoder.take_batch().expect("columns of one length");
            }
        }
    }

    #[test]
    fn any_value_is_a_value_or_an_error(index in 0_usize..12, value in proptest::collection::vec(any::<u8>(), 0..24)) {
        let columns = all_columns();
        let mut row = vec![None; columns.len()];
        row[index] = Some(value);
        // the only promise: no panic, and each batch has the right number of rows
        if let Ok(batch) = decode(&columns, &stream(&[row])) {
            prop_assert_eq!(batch.num_rows(), 1);
        }
    }

    #[test]
    fn decimal_texts_are_ordered_as_their_numbers(left in any::<i64>(), right in any::<i64>(), scale in 0_i8..19) {
        let text = |value: i64| decimal::text(i128::from(value), scale).into_bytes();
        let order = decimal::compare_text(&text(left), &text(right));
        prop_assert_eq!(order, Ok(left.cmp(&right)));
    }
}
