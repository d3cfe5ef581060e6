//! Cards are embedded from `models/`: a new one must rebuild the crate.

fn main() {
    println!("cargo:rerun-if-changed=models");
}
