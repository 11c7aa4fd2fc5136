//! Runs an experiment described by one JSON file
