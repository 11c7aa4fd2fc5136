//! Pictures that plots draw: a canvas with panels and axes, as PNG.

pub mod figure;
