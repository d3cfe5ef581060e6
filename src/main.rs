//! Microraptor at the command line.

fn main() {}
