//! Faults of the decoder, for tests: only in a build with debug assertions.

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// Names the fault that a worker is to have, instead of decoding.
const VARIABLE: &str = "MICRORAPTOR_TEST_JPEG2000";

/// Hands the wish on to a worker, whose environment is otherwise empty.
pub fn pass(command: &mut Command) {
    if let Some(fault) = std::env::var_os(VARIABLE) {
        command.env(VARIABLE, fault);
    }
}

/// The fault that is wanted, if any.
pub fn wanted() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// Has the `fault`; what is returned is what a worker answers.
pub fn commit(fault: &str) -> Result<Vec<u8>, String> {
    match fault {
        "abort" => std::process::abort(),
        "overflow" => Ok(vec![deeper(&[0; 4096]); 1]),
        "hang" => loop {
            std::hint::spin_loop();
        },
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1_u8; 16 << 20]));
            }
        }
        "quit" => std::process::exit(0),
        "short" => Ok(vec![0; 3]),
        // What a decoder that was taken over might try. The answer tells what it was refused.
        "escape" => {
            let file = File::open("/etc/hostname").err().map(|error| error.kind());
            let network = TcpStream::connect_timeout(&([127, 0, 0, 1], 9).into(), Duration::from_secs(1));
            let network = network.err().map(|error| error.kind());
            let process = Command::new("/bin/true").spawn().err().map(|error| error.kind());
            let thread = std::thread::Builder::new().spawn(|| {}).err().map(|error| error.kind());
            Err(format!(
                "was refused: file {file:?}, network {network:?}, process {process:?}, thread {thread:?}"
            ))
        }
        other => Err(format!("knows no fault '{other}'")),
    }
}

/// Recursion until the stack ends.
#[expect(unconditional_recursion, reason = "the end of the stack is the point")]
fn deeper(above: &[u8; 4096]) -> u8 {
    let mut own = std::hint::black_box(*above);
    own[0] = own[0].wrapping_add(1);
    deeper(&own).wrapping_add(own[1])
}
