//! Samplers of fields given known values (geomndp.md 1.8).
//!
//! All of them hold the known points (`crate::observed`) beside the query points, noise the known values to the
//! present time, evaluate a model of the *joint* law, and keep the query part of what it says: the query block of `grad
//! log p_t([y_c, y])` is `grad_y log p_t(y | y_c)`. They differ in what they do about the fact that a reverse step of
//! the joint process does not leave `p_t(y | y_c)` in place:
//!
//! * [`replacement`](ReplacementConfig) does nothing: its law is wrong, and more steps do not help (relative entropy
//!   .50 nats on the three-point example of the notes, with 100 steps as with 1000);
//! * [`conditional-langevin`](ConditionalLangevinConfig) corrects by Langevin moves at each time, and converges;
//! * [`repaint`](RepaintConfig) goes back and forth;
//! * [`rejection`](RejectionConfig) keeps joint samples that happen to agree: exact, for very few known points.
//!
//! They are blind to the geometry: the drive moves the points, the noise comes from `isotropy_core::Noise`, *after*
//! colouring. So with noise that is moved with the input, samples given a transformed context are the transform of the
//! samples (the process and the model being symmetric).
//!
//! A model that is trained to see known values (the model `conditioned`) needs none of these: the query is noised alone,
//! and any sampler serves.

mod known;
mod langevin;
mod rejection;
mod repaint;
mod replacement;

pub use langevin::{ConditionalLangevinConfig, Context, EvaluationTimes, Langevin, Tempering};
pub use rejection::RejectionConfig;
pub use repaint::{RepaintConfig, Reverse};
pub use replacement::ReplacementConfig;
