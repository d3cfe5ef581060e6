//! What comes to a DICOM node over a connection, from the request of an association on.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use microraptor::node::{Command, Queue, Rules, converse};

static QUEUE: LazyLock<Arc<Queue>> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("microraptor-fuzz-node-{}", std::process::id()));
    Arc::new(Queue::open(&folder, vec!["key".into()], Duration::ZERO, 0).unwrap())
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::read(bytes) {
        assert_eq!(Command::read(&command.write()).map(|again| again.write()), Ok(command.write()));
    }
    let _ = converse(bytes, QUEUE.clone(), Rules::new("RAPTOR".parse().unwrap()));
});
