//! Data for bridges: pairs of a clean point and its other end.
