//! What the targets share: a file for each input, an allocator that makes a huge allocation a find, and a look at the memory
//! of the process, which sees what C code and `libc::malloc` took (openjp2, CharLS).

pub mod tensors;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a decoder of pictures may allocate on the header's word alone: four times `TRUSTED_BYTES` of `input::limits`
/// (decoded, turned upright, and what the decoder itself keeps).
pub const PIXELS: usize = 4 * (64 << 20);

/// The system's allocator, which ends the process when more is alive than the input allows. libFuzzer's own
/// `-malloc_limit_mb` needs a sanitizer's runtime, and its `-rss_limit_mb` sees only memory that was touched.
struct Bounded;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: everything is handed to the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: usize) {
    let alive = ALIVE.fetch_add(bytes, Relaxed).saturating_add(bytes);
    if alive > LIMIT.load(Relaxed) {
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("more is allocated than this input allows: {bytes} bytes, {alive} alive");
        std::process::abort();
    }
}

/// Runs `read` on a file called `name` that holds `data`; it may allocate `fixed` bytes and 64 for each byte of `data` (a
/// JSON value of two bytes takes 32, and 64 while its list grows). An error must be one line.
pub fn on_file<T, E: Display>(
    name: &str,
    data: &[u8],
    fixed: usize,
    read: impl FnOnce(&Path) -> Result<T, E>,
) {
    let path = folder().join(name);
    std::fs::write(&path, data).expect("the folder is ours");
    bounded(data.len(), fixed, || read(&path));
}

/// As [`on_file`], without a file.
pub fn bounded<T, E: Display>(input: usize, fixed: usize, read: impl FnOnce() -> Result<T, E>) {
    LIMIT.store(ALIVE.load(Relaxed) + fixed + 64 * input, Relaxed);
    let before = begin_peak();
    let result = read();
    LIMIT.store(usize::MAX, Relaxed);
    if let Some(grown) = before.zip(peak()).map(|(before, peak)| peak.saturating_sub(before))
        && grown > fixed + 64 * input + SLACK
    {
        eprintln!("more is allocated than this input allows: {grown} bytes were touched, some not by Rust's allocator");
        std::process::abort();
    }
    if let Err(error) = result {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "the error is not one line: {text:?}");
    }
}

/// What the process may grow by beside what the allocator counts: libFuzzer's own corpus, stacks, malloc's own pages.
const SLACK: usize = 64 << 20;

/// Begins a new peak of the memory of this process (`/proc/self/clear_refs`, proc(5)), and says what it has now.
fn begin_peak() -> Option<usize> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    peak()
}

/// The most memory that this process has had since the last [`begin_peak`], in bytes.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? << 10)
}

/// A folder of this process, in `$TMPDIR`, which `fuzz/run` puts into memory.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("microraptor-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a place for files");
        folder
    })
}
