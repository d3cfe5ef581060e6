//! Cards and boards are embedded from `models/` and `boards/`: a new one must rebuild the crate.

fn main() {
    println!("cargo:rerun-if-changed=models");
    println!("cargo:rerun-if-changed=boards");
}
