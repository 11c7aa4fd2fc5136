//! Score models whose score is known exactly.
