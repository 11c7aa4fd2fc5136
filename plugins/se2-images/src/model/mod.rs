//! The score networks of turned and of moved digits.

mod digit_score_net;
mod motion_score_net;

pub use digit_score_net::{DigitScoreNet, DigitScoreNetConfig};
pub use motion_score_net::{MotionScoreNet, MotionScoreNetConfig};
