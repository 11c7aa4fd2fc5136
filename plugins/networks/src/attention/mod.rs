//! Attention: several heads over one axis, and the networks of neural diffusion processes that are made of it.

mod multi_head;
mod network;
mod windows;

pub use multi_head::{Attended, MultiHeadAttention, hidden_keys};
pub use network::{AttentionNetwork, AttentionSize, Evaluated};
pub use windows::Windows;
