//! Networks for fields as score models: what they see of a state, and how their output becomes a prediction.

mod bi_dimensional;
mod claim;
mod field;
mod point_attention;

pub use bi_dimensional::BiDimensionalAttentionConfig;
pub use claim::{Moved, claims};
pub use field::{FieldInput, FieldModel, FieldNetwork, Head, require_range};
pub use point_attention::PointAttentionConfig;
