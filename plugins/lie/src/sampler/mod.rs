//! Geometry-blind samplers.
