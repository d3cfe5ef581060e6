//! A board file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::board::Board;
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("board.toml", data, 4 << 20, |path| Board::open(path)));
