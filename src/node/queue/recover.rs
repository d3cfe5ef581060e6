//! The start: what the last process left is brought into order.

use std::time::SystemTime;

use super::{Entry, Queue, QueueError, State, disk};
use crate::output::dicom::is_valid_uid;

impl Queue {
    /// Reads the folders. An object that is in two states was in between them: the later one counts.
    pub(super) fn recover(&self) -> Result<(), QueueError> {
        let mut state = self.lock();
        for (path, ..) in disk::entries(&self.root.join("tmp"), "")? {
            if path.is_dir() { disk::remove_folder(&path)? } else { disk::remove(&path)? }
        }
        for (path, uid, time) in disk::entries(&self.root.join("done"), "")? {
            if is_valid_uid(&uid) && path.is_file() {
                state.done.insert(uid, time);
            }
        }
        self.recover_outgoing(&mut state)?;
        self.recover_incoming(&mut state)
    }

    fn recover_outgoing(&self, state: &mut State) -> Result<(), QueueError> {
        for (path, uid, _) in disk::entries(&self.root.join("outgoing"), "")? {
            if !is_valid_uid(&uid) || !path.is_dir() {
                continue;
            }
            if state.done.contains_key(&uid) {
                disk::remove_folder(&path)?;
                continue;
            }
            let mut entry = Entry::default();
            for (_, name, _) in disk::entries(&path, "")? {
                match name.strip_suffix(".sent").and_then(|name| name.rsplit_once('.')) {
                    Some((file, key)) => drop(entry.sent.insert((file.to_owned(), key.to_owned()))),
                    None if name.ends_with(".try") => {}
                    None => drop(entry.files.insert(name)),
                }
            }
            // The last marker is there, or a destination that lacked it is gone.
            if self.is_complete(&entry) {
                self.finish(state, &uid)?;
            } else {
                state.outgoing.insert(uid, entry);
            }
        }
        Ok(())
    }

    fn recover_incoming(&self, state: &mut State) -> Result<(), QueueError> {
        let mut found = disk::entries(&self.root.join("incoming"), ".dcm")?;
        found.sort_by_key(|(_, uid, time): &(_, String, SystemTime)| (*time, uid.clone()));
        for (path, uid, _) in found {
            if !is_valid_uid(&uid) {
                continue;
            }
            if state.done.contains_key(&uid) || state.outgoing.contains_key(&uid) {
                disk::remove(&path)?;
            } else {
                self.forget_failure(&uid)?;
                state.incoming.push_back(uid);
            }
        }
        Ok(())
    }
}
