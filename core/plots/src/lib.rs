//! Pictures: what plots draw on ([`figure`]), pictures made of marks that are written as PNG and as
//! SVG ([`scene`]), and lines with error bars on two axes ([`chart`]).

pub mod chart;
pub mod figure;
pub mod scene;
