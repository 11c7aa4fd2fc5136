//! Networks for fields as score models: what they see of a state, and how their output becomes a prediction.

mod bi_dimensional;
mod conformance;
mod egnn;
mod field;
mod point_attention;
mod tensor_field;

pub use bi_dimensional::BiDimensionalAttentionConfig;
pub use egnn::EgnnConfig;
pub use field::{FieldInput, FieldModel, FieldNetwork, Head, require_range};
pub use point_attention::PointAttentionConfig;
pub use tensor_field::TensorFieldConfig;
