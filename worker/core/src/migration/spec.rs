//! From the arguments of a legacy call to a spec, with a warning for each difference.

use crds::extract_job::{
    Extract, ExtractJobSpec, ExtractType, NullPolicy, Watermark, WatermarkType,
};
use crds::output::{Output, OutputColumns, RunFolder, Tracking};
use crds::source::{AwsSecret, Credentials, Engine, SecretRef, Source, TlsMode};

use super::legacy::{Argument, LegacyJob, invalid};
use super::partition;
use crate::errors::failure::Failure;
use crate::layout::objects::Prefix;
use crate::planning::tables::TableRef;
use crate::planning::watermark::Value;

/// The column of the row's hash, as the legacy job named it.
const HASH_COLUMN: &str = "hash";
/// The folder of its extract time, which it named like the column.
const TIME_COLUMN: &str = "jdbc_extract_time";

/// How the connection of an old call is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// As the legacy job's drivers did: TLS where the server offers it, and nothing verified. No
    /// manifest can ask for this.
    Prefer,
    /// As a manifest would say.
    Mode(TlsMode),
}

/// User and password that a call gave in plain words.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyCredentials {
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for LegacyCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OldLogin(..)")
    }
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The spec. It names an AWS secret, or a Secret that is yet to be made: never a password.
    pub spec: ExtractJobSpec,
    /// User and password, where no secret was named.
    pub login: Option<LegacyCredentials>,
    /// How the connection is protected.
    pub tls: Tls,
    /// What is done differently, and what was ignored.
    pub warnings: Vec<String>,
}

impl LegacyJob {
    /// The spec that the call stands for.
    ///
    /// # Errors
    /// `InvalidSpec`: everything that is missing at once, else the first thing that cannot be meant.
    pub fn into_moved(mut self) -> Result<Moved, Failure> {
        self.complete()?;
        let engine = self.engine()?;
        let tls = self.tls()?;
        if tls == Tls::Prefer {
            self.warn(
                "the connection is encrypted only if the server offers TLS, and no certificate is verified, \
                 as in the legacy job; set --tls_mode (environment variable TLS_MODE) to verifyFull",
            );
        }
        let source = self.source(engine)?;
        let extract = self.extract(engine)?;
        let output = self.output()?;
        let tracking = self.get(Argument::TrackingTableName).map(str::to_owned);
        if self.get(Argument::Fetchsize).is_some() {
            self.warn(
                "fetchsize is not used because rows are streamed within the container's memory limit",
            );
        }
        let login = self.get(Argument::DbSecret).is_none().then(|| LegacyCredentials {
            user: self.get(Argument::DbUser).unwrap_or_default().to_owned(),
            password: self.given.get(&Argument::DbPassword).cloned().unwrap_or_default(),
        });
        let spec = ExtractJobSpec {
            suspend: None,
            source,
            extract,
            output,
            tracking: Some(Tracking { table: tracking, ..Tracking::default() }),
            worker: None,
            retry: None,
            active_deadline_seconds: None,
        };
        Ok(Moved { spec, login, tls, warnings: self.warnings })
    }

    /// All that must be there is there.
    fn complete(&self) -> Result<(), Failure> {
        use Argument as A;
        let mut needed = vec![
            A::DbEngine,
            A::DbName,
            A::ExtractTable,
            A::ExtractType,
            A::ExtractS3Uri,
            A::TrackingTableName,
        ];
        if self.get(A::ExtractType) == Some("PE") {
            needed.extend([A::HwmColName, A::HwmColumnType]);
        }
        if self.get(A::DbSecret).is_none() {
            needed.extend([A::DbUser, A::DbPassword, A::DbHost]);
        }
        let missing: Vec<_> = needed
            .into_iter()
            .filter(|argument| self.get(*argument).is_none())
            .map(|argument| format!("--{}", argument.name()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let login = ["--db_user", "--db_password", "--db_host"];
        let remedy = if missing.iter().any(|name| login.contains(&name.as_str())) {
            "Add the arguments (as environment variables: in capitals, without dashes). --db_secret, the \
             name of a secret in AWS Secrets Manager, replaces --db_user, --db_password and --db_host."
        } else {
            "Add the arguments (as environment variables: in capitals, without dashes)."
        };
        Err(invalid(format!("missing arguments: {}", missing.join(", ")), remedy))
    }

    fn engine(&self) -> Result<Engine, Failure> {
        let engine = self.get(Argument::DbEngine).unwrap_or_default().to_ascii_lowercase();
        let known = serde_json::from_value(serde_json::Value::String(engine.clone()));
        known
            .map_err(|_| invalid("db_engine is neither postgres nor mysql", "Correct --db_engine."))
    }

    fn tls(&self) -> Result<Tls, Failure> {
        let Some(text) = self.get(Argument::TlsMode) else { return Ok(Tls::Prefer) };
        let folded: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        match folded.to_ascii_lowercase().as_str() {
            "prefer" => Ok(Tls::Prefer),
            "verifyfull" => Ok(Tls::Mode(TlsMode::VerifyFull)),
            "verifyca" => Ok(Tls::Mode(TlsMode::VerifyCa)),
            "insecureplaintext" => Ok(Tls::Mode(TlsMode::InsecurePlaintext)),
            _ => Err(invalid(
                "tls_mode is not one of verifyFull, verifyCa, prefer, insecurePlaintext",
                "Correct --tls_mode (environment variable TLS_MODE).",
            )),
        }
    }

    fn source(&mut self, engine: Engine) -> Result<Source, Failure> {
        let port = self.bound(Argument::DbPort).map(|text| {
            text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
                invalid("db_port is not a port number", "Correct --db_port, or remove it.")
            })
        });
        let database = self.get(Argument::DbName).unwrap_or_default().to_owned();
        let credentials = match self.get(Argument::DbSecret) {
            Some(name) => Credentials {
                secret_ref: None,
                aws_secret: Some(AwsSecret { name: name.to_owned(), region: None, endpoint: None }),
                rds_iam: None,
            },
            None => Credentials {
                secret_ref: Some(SecretRef { name: super::legacy::object_name(&database) }),
                aws_secret: None,
                rds_iam: None,
            },
        };
        let plain = [Argument::DbUser, Argument::DbPassword];
        if credentials.aws_secret.is_some() && plain.iter().any(|it| self.get(*it).is_some()) {
            self.warn("db_user and db_password are ignored because db_secret is set");
        }
        Ok(Source {
            engine,
            host: self.get(Argument::DbHost).map(str::to_owned),
            port: port.transpose()?,
            database,
            credentials,
            tls: None,
        })
    }

    fn extract(&mut self, engine: Engine) -> Result<Extract, Failure> {
        let table = self.get(Argument::ExtractTable).unwrap_or_default().to_owned();
        TableRef::parse(engine, &table).map_err(|_| {
            invalid(
                "extract_table is not <table> or <schema>.<table>",
                "Correct --extract_table, and quote a part that contains a dot with double quotes.",
            )
        })?;
        let extract_type = match self.get(Argument::ExtractType) {
            Some("FE") => ExtractType::FE,
            Some("PE") => ExtractType::PE,
            _ => {
                return Err(invalid(
                    "extract_type is neither FE nor PE",
                    "Correct --extract_type.",
                ));
            }
        };
        let mut reingest = self.is_true(Argument::Reingest);
        let watermark = self.watermark(extract_type, reingest)?;
        if reingest && watermark.is_none() {
            // a full extract takes all and replaces all by itself
            reingest = false;
        }
        let partition = partition::partition(self, extract_type, reingest)?;
        Ok(Extract {
            table,
            extract_type,
            watermark,
            reingest: reingest.then_some(true),
            columns: None,
            exclude_columns: None,
            types: None,
            filter: None,
            zero_dates: None,
            fidelity: None,
            schema_policy: None,
            consistency: None,
            consistency_lock: None,
            partition,
        })
    }

    /// The watermark, of an FE too where its column is named: then its bounds hold.
    fn watermark(
        &mut self,
        extract_type: ExtractType,
        reingest: bool,
    ) -> Result<Option<Watermark>, Failure> {
        let ends = [Argument::LwmValue, Argument::HwmValue];
        let named = (self.get(Argument::HwmColName), self.get(Argument::HwmColumnType));
        let (Some(column), Some(spelling)) = named else {
            if ends.iter().any(|end| self.bound(*end).is_some()) {
                self.warn(
                    "lwm_value and hwm_value are ignored because hwm_col_name and hwm_column_type are not \
                     both set",
                );
            }
            return Ok(None);
        };
        let value_type = WatermarkType::parse(spelling).ok_or_else(|| {
            invalid(
                "hwm_column_type is not one of IntegerType, LongType, DecimalType, FloatType, DoubleType, \
                 TimestampType, DateType (or int, decimal, double, timestamp, date)",
                "Correct --hwm_column_type.",
            )
        })?;
        let (column, spelling) = (column.to_owned(), spelling.to_owned());
        let low = self.end(Argument::LwmValue, value_type, extract_type)?;
        let high = self.end(Argument::HwmValue, value_type, extract_type)?;
        if let (Some(low), Some(high)) = (&low, &high)
            && low > high
        {
            return Err(invalid("lwm_value is above hwm_value", "Exchange the two values."));
        }
        if extract_type == ExtractType::FE && !reingest && (low.is_some() || high.is_some()) {
            self.warn(
                "lwm_value and hwm_value limit the full extract, both inclusive, as the legacy job's \
                 documentation says; the legacy job's code ignored them",
            );
        }
        let first = (extract_type == ExtractType::PE).then(|| minimum(&spelling)).flatten();
        Ok(Some(Watermark {
            column,
            value_type,
            low: low.map(|low| low.to_text()).or(first),
            high: high.map(|high| high.to_text()),
            stamped_by: None,
            lag_seconds: None,
            lag_units: None,
            wait_seconds: None,
            lookback_seconds: None,
            lookback_units: None,
            time_zone: None,
            null_policy: self.null_policy()?,
        }))
    }

    /// One end of the window. `-1` is no end; but a PE may start above the number -1.
    fn end(
        &self,
        argument: Argument,
        value_type: WatermarkType,
        extract_type: ExtractType,
    ) -> Result<Option<Value>, Failure> {
        let is_value = argument == Argument::LwmValue
            && extract_type == ExtractType::PE
            && !value_type.is_time();
        let text = if is_value { self.get(argument) } else { self.bound(argument) };
        let value = text.map(|text| Value::parse(value_type, text)).transpose();
        value.map_err(|bad| {
            let name = argument.name();
            invalid(format!("{name}: {bad}"), format!("Correct --{name} or --hwm_column_type."))
        })
    }

    fn null_policy(&self) -> Result<Option<NullPolicy>, Failure> {
        let Some(text) = self.get(Argument::NullPolicy) else { return Ok(None) };
        let known = serde_json::from_value(serde_json::Value::String(text.to_ascii_lowercase()));
        known.map(Some).map_err(|_| {
            invalid(
                "null_policy is not one of fail, include, exclude",
                "Correct --null_policy (environment variable NULL_POLICY).",
            )
        })
    }

    fn output(&mut self) -> Result<Output, Failure> {
        let given = self.get(Argument::ExtractS3Uri).unwrap_or_default();
        let rest =
            ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| given.strip_prefix(scheme));
        let uri = format!("s3://{}", rest.unwrap_or(given).trim_end_matches('/'));
        Prefix::parse(&uri).map_err(|_| {
            invalid(
                "extract_s3_uri is not s3://<bucket>/<prefix> or <bucket>/<prefix>",
                "Correct --extract_s3_uri: it needs a prefix without '..' and '//'.",
            )
        })?;
        let folders = self.get(Argument::ExtractS3Partitions).unwrap_or_default();
        let folders: Vec<_> = folders
            .split(',')
            .map(|name| name.trim().to_owned())
            // that folder is always there
            .filter(|name| !name.is_empty() && name != TIME_COLUMN)
            .collect();
        Ok(Output {
            retain_replaced_seconds: None,
            partition_by: (!folders.is_empty()).then_some(folders),
            partition_sort: None,
            uri,
            endpoint: None,
            path_style: None,
            region: None,
            secret_ref: None,
            columns: Some(OutputColumns {
                row_hash: Some(HASH_COLUMN.to_owned()),
                ..OutputColumns::default()
            }),
            run_folder: Some(RunFolder::Time),
            kms_key_id: None,
            compression: None,
            row_group_bytes: None,
            target_file_bytes: None,
        })
    }
}

/// Where the legacy job began with a type that is narrower than ours: it reads the text that a
/// first run without rows leaves, and its database would refuse a longer number.
fn minimum(spelling: &str) -> Option<String> {
    match spelling {
        "IntegerType" => Some(WatermarkType::INTEGER_MINIMUM_TEXT.to_owned()),
        "FloatType" => Some(WatermarkType::FLOAT_MINIMUM_TEXT.to_owned()),
        _ => None,
    }
}
