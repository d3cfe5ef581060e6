//! What a stream writes into its audit log.

use microraptor::audit;

use super::line::{Event, FrameLine};

/// What the log says of `event`, whose line is `json`; `None` if nothing, or if the stream itself does.
pub fn event(event: &Event, json: &str) -> Option<audit::Event> {
    Some(match event {
        Event::Frame(line) => answer(line, json),
        Event::Lost { frame, .. } => audit::Event::Lost { input: *frame, class: None },
        Event::Stalled { seconds, .. } => audit::Event::Stalled { seconds: *seconds },
        Event::Resumed => audit::Event::Resumed {},
        Event::Stuck { frame, seconds, .. } => audit::Event::Stuck { input: *frame, seconds: *seconds },
        Event::ReloadFailed { .. } => audit::Event::ReloadFailed {},
        Event::Ended { reason, counts, .. } => audit::Event::Stop {
            reason: (*reason).into(),
            counts: serde_json::to_value(counts).unwrap_or_default(),
        },
        Event::Started { .. }
        | Event::Listening { .. }
        | Event::Reloaded { .. }
        | Event::AuditFailed { .. }
        | Event::AuditResumed { .. } => return None,
    })
}

fn answer(line: &FrameLine, json: &str) -> audit::Event {
    let mut answer = crate::cli::audit::answer(line.frame, json);
    if let audit::Event::Answer { late, withheld, .. } = &mut answer {
        (*late, *withheld) = (line.late, line.withheld.map(str::to_owned));
    }
    answer
}
