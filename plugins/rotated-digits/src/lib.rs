//! Rotated digits under SO(2)
