//! The records of TensorBoard's HParams plugin: an experiment with its hyperparameters and metrics,
//! and sessions with their values. Field numbers are those of the plugin's `plugin_data.proto` and
//! `api.proto` (TensorBoard 2.21) and of `google/protobuf/struct.proto`; messages without the fields
//! that are not written here.
//!
//! The plugin finds a session's metrics among the scalars of the same run.

use super::proto::{
    Content, DATA_CLASS_TENSOR, DT_FLOAT, Dimension, Event, Metadata, PluginData as Plugin,
    Summary, TensorProto, TensorShape, Value,
};
use super::{FILE_VERSION, now, record};
use isotropy_core::Result;
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;

/// What the metadata of a record holds.
#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(oneof = "Data", tags = "2, 3, 4")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(message, tag = "2")]
    Experiment(Experiment),
    #[prost(message, tag = "3")]
    Start(SessionStart),
    #[prost(message, tag = "4")]
    End(SessionEnd),
}

/// The experiment: what is varied and what is measured.
#[derive(Clone, PartialEq, Message)]
pub struct Experiment {
    /// Its question.
    #[prost(string, tag = "1")]
    pub description: String,
    /// Seconds since 1970.
    #[prost(double, tag = "3")]
    pub time_created_secs: f64,
    /// The hyperparameters.
    #[prost(message, repeated, tag = "4")]
    pub hparam_infos: Vec<HParamInfo>,
    /// The metrics.
    #[prost(message, repeated, tag = "5")]
    pub metric_infos: Vec<MetricInfo>,
    /// Its name.
    #[prost(string, tag = "6")]
    pub name: String,
}

/// A hyperparameter.
#[derive(Clone, PartialEq, Message)]
pub struct HParamInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of its values: a [`DataType`].
    #[prost(enumeration = "DataType", tag = "4")]
    pub r#type: i32,
    /// Its values.
    #[prost(message, optional, tag = "5")]
    pub domain_discrete: Option<ListValue>,
}

/// Types of hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Not known.
    Unset = 0,
    /// Text.
    String = 1,
    /// True or false.
    Bool = 2,
    /// A number.
    Float64 = 3,
}

/// A metric.
#[derive(Clone, PartialEq, Message)]
pub struct MetricInfo {
    /// Where it is found.
    #[prost(message, optional, tag = "1")]
    pub name: Option<MetricName>,
    /// What it is called.
    #[prost(string, tag = "3")]
    pub display_name: String,
}

/// The scalar that a metric is.
#[derive(Clone, PartialEq, Message)]
pub struct MetricName {
    /// Its tag in the run of the session.
    #[prost(string, tag = "2")]
    pub tag: String,
}

/// The beginning of a session.
#[derive(Clone, PartialEq, Message)]
pub struct SessionStart {
    /// Values of the hyperparameters.
    #[prost(btree_map = "string, message", tag = "1")]
    pub hparams: BTreeMap<String, HValue>,
    /// Sessions of one group are one row of the table.
    #[prost(string, tag = "4")]
    pub group_name: String,
    /// Seconds since 1970.
    #[prost(double, tag = "5")]
    pub start_time_secs: f64,
}

/// The end of a session.
#[derive(Clone, PartialEq, Message)]
pub struct SessionEnd {
    /// A [`Status`].
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
    /// Seconds since 1970.
    #[prost(double, tag = "2")]
    pub end_time_secs: f64,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// Not known.
    Unknown = 0,
    /// With a result.
    Success = 1,
    /// With an error.
    Failure = 2,
    /// It goes on.
    Running = 3,
}

/// A list of values.
#[derive(Clone, PartialEq, Message)]
pub struct ListValue {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<HValue>,
}

/// A value of a hyperparameter.
#[derive(Clone, PartialEq, Message)]
pub struct HValue {
    /// The value.
    #[prost(oneof = "HKind", tags = "2, 3, 4")]
    pub kind: Option<HKind>,
}

/// The kinds of value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum HKind {
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// Text.
    #[prost(string, tag = "3")]
    String(String),
    /// True or false.
    #[prost(bool, tag = "4")]
    Bool(bool),
}

/// One record of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The experiment; in the outermost folder.
    Experiment(Experiment),
    /// The beginning of a session; in the folder of its run.
    Start(SessionStart),
    /// The end of a session; in the folder of its run.
    End(SessionEnd),
    /// A point of a curve: tag, step, value.
    Scalar(String, i64, f64),
}

impl Record {
    fn value(&self) -> (i64, Value) {
        let plugin = |tag: &str, data: Data| {
            let content = PluginData { version: 0, data: Some(data) }.encode_to_vec();
            let plugin = Plugin { plugin_name: "hparams".into(), content };
            // The message is in the metadata; the value itself is an empty vector.
            let tensor = TensorProto {
                dtype: DT_FLOAT,
                tensor_shape: Some(TensorShape { dim: vec![Dimension { size: 0 }] }),
                string_val: Vec::new(),
            };
            let metadata = Metadata { plugin_data: Some(plugin), data_class: DATA_CLASS_TENSOR };
            let content = Some(Content::Tensor(tensor));
            (0, Value { tag: format!("_hparams_/{tag}"), metadata: Some(metadata), content })
        };
        match self.clone() {
            Self::Experiment(data) => plugin("experiment", Data::Experiment(data)),
            Self::Start(data) => plugin("session_start_info", Data::Start(data)),
            Self::End(data) => plugin("session_end_info", Data::End(data)),
            Self::Scalar(tag, step, value) => {
                let content = Some(Content::Scalar(value as f32));
                (step, Value { tag, metadata: None, content })
            }
        }
    }
}

/// Writes a whole event file with these records.
///
/// # Errors
/// When the file cannot be written.
pub fn write_file(path: &Path, records: &[Record]) -> Result<()> {
    let mut bytes = Vec::new();
    let version = Some(FILE_VERSION.to_owned());
    let first = Event { wall_time: now(), file_version: version, ..Event::default() };
    record::append(&mut bytes, &first.encode_to_vec());
    for entry in records {
        let (step, value) = entry.value();
        let summary = Some(Summary { value: vec![value] });
        let event = Event { wall_time: now(), step, file_version: None, summary };
        record::append(&mut bytes, &event.encode_to_vec());
    }
    // TensorBoard may be reading: it sees the old file or the new one.
    isotropy_data::write::write_whole(path, bytes)
}
