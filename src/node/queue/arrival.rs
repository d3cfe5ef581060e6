//! An object that is being received.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::QueueError;
use super::disk::at;

/// An object that is being received, under a temporary name. It is removed when dropped.
#[derive(Debug)]
pub struct Arrival {
    path: PathBuf,
    writer: Option<BufWriter<File>>,
    written: u64,
}

impl Arrival {
    pub(super) fn create(path: PathBuf) -> Result<Arrival, QueueError> {
        let file = File::create_new(&path).map_err(at(&path))?;
        Ok(Arrival { path, writer: Some(BufWriter::with_capacity(1 << 16, file)), written: 0 })
    }

    /// The temporary file; complete after [`Arrival::close`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`QueueError::Io`], also after [`Arrival::close`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), QueueError> {
        let closed = || io::Error::other("is closed already");
        let written = self.writer.as_mut().ok_or_else(closed).and_then(|writer| writer.write_all(bytes));
        written.map_err(at(&self.path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all bytes are on the disk.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn close(&mut self) -> Result<(), QueueError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer.into_inner().map_err(|error| at(&self.path)(error.into_error()))?;
        file.sync_all().map_err(at(&self.path))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // Renamed if it was stored; else what is left is removed at the next start at the latest.
        let _ = std::fs::remove_file(&self.path);
    }
}
