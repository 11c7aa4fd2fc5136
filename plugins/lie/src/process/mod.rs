//! Noising processes in the coefficients of a drive.
