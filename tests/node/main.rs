//! The DICOM node: its queue after a crash at every point, and its listener on damaged bytes. `tests/reference/node.py`
//! tests it with the programs of others.

mod listener;
mod queue;
mod sender;
mod wire;
