//! The part of TensorBoard's messages that is written here, with TensorFlow's field numbers (event.proto, summary.proto,
//! tensor.proto, types.proto).
//!
//! Declared by hand with prost because the ready-made tensorboard-proto 0.5.7 pins protobuf 2, which has not been
//! maintained since 2022 and is the subject of a security advisory (RUSTSEC-2024-0437); tensorboard-rs also pulls in
//! image 0.23. These few messages are all that is needed.

/// One record of an event file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Training step.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// Only in the first record of a file.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    /// What is shown.
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
}

/// Values of one step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A tagged value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// The curve that it belongs to.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// Which plugin shows it.
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
    /// The value itself.
    #[prost(oneof = "Content", tags = "2, 4, 5, 8")]
    pub content: Option<Content>,
}

/// The kinds of value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    /// A scalar.
    #[prost(float, tag = "2")]
    Scalar(f32),
    /// An encoded image.
    #[prost(message, tag = "4")]
    Image(Image),
    /// A histogram.
    #[prost(message, tag = "5")]
    Histogram(Histogram),
    /// A tensor; text is a tensor of strings.
    #[prost(message, tag = "8")]
    Tensor(TensorProto),
}

/// An encoded image.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    /// Pixels.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Pixels.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// Number of channels.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// The PNG file.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// Counts in buckets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// Smallest value.
    #[prost(double, tag = "1")]
    pub min: f64,
    /// Largest value.
    #[prost(double, tag = "2")]
    pub max: f64,
    /// Number of values.
    #[prost(double, tag = "3")]
    pub num: f64,
    /// Their sum.
    #[prost(double, tag = "4")]
    pub sum: f64,
    /// The sum of their squares.
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    /// Upper ends of the buckets.
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    /// Counts.
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

/// Which plugin shows a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// The plugin.
    #[prost(message, optional, tag = "1")]
    pub plugin_data: Option<PluginData>,
    /// Whether the values are scalars, tensors or blobs; 0 leaves it to TensorBoard.
    #[prost(int32, tag = "4")]
    pub data_class: i32,
}

/// A plugin's name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PluginData {
    /// The name.
    #[prost(string, tag = "1")]
    pub plugin_name: String,
    /// The plugin's own message; empty for text.
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

/// A tensor of strings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Element type; [`DT_STRING`].
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    /// Its shape.
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShape>,
    /// The strings.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub string_val: Vec<Vec<u8>>,
}

/// TensorFlow's number for 32-bit floats.
pub const DT_FLOAT: i32 = 1;
/// TensorBoard's number for tensors.
pub const DATA_CLASS_TENSOR: i32 = 2;
/// TensorFlow's number for strings.
pub const DT_STRING: i32 = 7;

/// A shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShape {
    /// Its dimensions.
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dimension>,
}

/// A dimension.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Its length.
    #[prost(int64, tag = "1")]
    pub size: i64,
}
