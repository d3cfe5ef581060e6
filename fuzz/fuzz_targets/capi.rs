//! The library for C, called with any arguments in any order.
#![no_main]

#[path = "../../tests/capi/driver.rs"]
mod driver;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static HEAD: LazyLock<Vec<u8>> = LazyLock::new(driver::head_file);

fuzz_target!(|data: &[u8]| driver::drive(data, &HEAD));
