//! `microraptor node`

mod answerer;
mod audited;
mod line;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use microraptor::audit::AuditError;
use microraptor::node::{
    Destination, Listener, MAX_TRIES, Queue, QueueError, Report, Retry, Rules, Sender, Tls, Work,
};
use serde_json::json;

use super::args::NodeArgs;
use super::audit::{self, Audit};
use super::failure::one_line;
use super::limits::Seconds;
use super::notify::Supervisor;
use super::signals::Live;
use super::times::milliseconds;
use super::{limits, private};
use answerer::Answerer;
use line::{Event, say};

/// How long the loop waits for an object before it looks at everything else.
const TICK: Duration = Duration::from_millis(200);

/// How long associations have to end after a signal, and so has what is being sent.
const GRACE: Duration = Duration::from_secs(10);

/// How long the work on an object is put off when the disk fails.
const PUT_OFF: Duration = Duration::from_secs(5);

/// Answers objects until a signal comes.
pub fn run(args: &NodeArgs) -> anyhow::Result<()> {
    let signals = Live::handle();
    private::when_dicom(true);
    check(args)?;
    let tls = match (&args.tls_cert, &args.tls_key, &args.tls_ca) {
        (Some(certificate), Some(key), Some(authorities)) => Some(Tls::open(certificate, key, authorities)?),
        _ => None,
    };
    let keys = args.to.iter().map(Destination::key).collect();
    let queue = Arc::new(Queue::open(&args.queue, keys, args.keep, args.reserve.0)?);
    let answerer = Answerer::new(args).map_err(|error| Audit::failed(&args.audit, "node", &[], error))?;
    let mut audit = Audit::open(&args.audit, "node", &[], |read| {
        *read = answerer.files.clone();
        [&args.tls_cert, &args.tls_key, &args.tls_ca].into_iter().flatten().for_each(|path| read.add(path));
    })?;
    answerer.write_down(&mut audit)?;
    let silenced = Arc::new(AtomicBool::new(false));
    let report = report(silenced.clone());
    let [queued, unsent] = queue.waiting();
    let address = SocketAddr::new(args.bind, args.port);
    let started = Listener::start(address, queue.clone(), rules(args), tls.clone(), report.clone());
    let listener = started.with_context(|| {
        format!("cannot listen at {address}: choose another address (--bind) or port (--port)")
    })?;
    say(&Event::Started {
        model: answerer.about(),
        attest: answerer.attest.clone(),
        heads: answerer.names(),
        title: args.aet.to_string(),
        address: listener.address().to_string(),
        tls: tls.is_some(),
        to: args.to.iter().map(Destination::to_string).collect(),
        queued,
        unsent,
    })?;
    let retry = Retry {
        first: Duration::from_secs(1).min(seconds(args.retry)),
        most: seconds(args.retry),
        patience: seconds(args.patience),
    };
    let sender = |to: &Destination| {
        Sender::start(queue.clone(), to.clone(), args.aet.clone(), tls.clone(), retry, report.clone())
    };
    let senders = args.to.iter().map(sender).collect::<io::Result<Vec<_>>>()?;
    let mut node =
        Node { queue, answerer, audit, supervisor: Supervisor::default(), silenced, answered: 0, failed: 0 };
    node.supervisor.ready();
    let ended = node.answer_all(&signals);
    node.end(ended, listener, senders)
}

/// Refuses arguments that cannot be meant, and warns of an open door.
fn check(args: &NodeArgs) -> anyhow::Result<()> {
    for (option, time) in [("--idle", args.idle), ("--patience", args.patience), ("--retry", args.retry)] {
        if time.0 < 0.1 {
            bail!("{option}: give at least 0.1 seconds");
        }
    }
    let named: BTreeSet<String> = args.to.iter().map(Destination::to_string).collect();
    if named.len() < args.to.len() {
        bail!("--to: a destination is given twice: give each once");
    }
    if !args.bind.is_loopback() && args.allow.is_empty() && args.tls_ca.is_none() {
        log::warn!("{}: whoever reaches this address may send objects: see --allow and --tls-ca", args.bind);
    }
    Ok(())
}

fn rules(args: &NodeArgs) -> Rules {
    Rules {
        any_called: args.any_called,
        allowed: args.allow.iter().cloned().collect(),
        // 0 is no limit.
        max_object: if args.max_object.0 == 0 { u64::MAX } else { args.max_object.0 },
        max_pdu: args.max_pdu,
        max_associations: args.max_associations.into(),
        idle: seconds(args.idle),
        ..Rules::new(args.aet.clone())
    }
}

fn seconds(seconds: Seconds) -> Duration {
    Duration::from_secs_f64(seconds.0)
}

/// Prints events of all threads; the main loop ends if nobody reads them any more.
fn report(silenced: Arc<AtomicBool>) -> Report {
    Arc::new(move |event| {
        if let Err(error) = say(&event) {
            log::debug!("{}", one_line(&error));
            silenced.store(true, Ordering::Relaxed);
        }
    })
}

/// A node that is running.
struct Node {
    queue: Arc<Queue>,
    answerer: Answerer,
    audit: Audit,
    supervisor: Supervisor,
    /// Nobody reads the lines any more.
    silenced: Arc<AtomicBool>,
    answered: u64,
    failed: u64,
}

impl Node {
    /// Answers objects until a signal comes; the reason.
    fn answer_all(&mut self, signals: &Live) -> anyhow::Result<&'static str> {
        loop {
            if signals.ended() {
                return Ok("signal");
            }
            if self.silenced.load(Ordering::Relaxed) {
                return Ok("nobody reads the lines");
            }
            let (answered, failed) = (self.answered, self.failed);
            let [queued, unsent] = self.queue.waiting();
            self.supervisor.alive(|| {
                format!("{answered} objects answered, {failed} failed, {queued} waiting, {unsent} to be sent")
            });
            match limits::apart(|| self.queue.take(TICK)) {
                Ok(Some(work)) => self.work(&work, signals)?,
                Ok(None) => {}
                // A disk that fails may come back; nothing is lost meanwhile.
                Err(error) => {
                    log::warn!("{}", one_line(&error.into()));
                    pause(signals);
                }
            }
        }
    }

    /// Answers an object, puts it aside, or leaves it for later.
    fn work(&mut self, work: &Work, signals: &Live) -> anyhow::Result<()> {
        let start = Instant::now();
        if work.tries > MAX_TRIES {
            let problem = format!("the program ended {MAX_TRIES} times while it answered it");
            return self.fail(work, problem, signals);
        }
        let done = self.queue.folder(work).map_err(anyhow::Error::from).and_then(|folder| {
            let answered = self.answerer.answer(&work.path, &folder).and_then(|kinds| {
                // Before the results can be sent.
                self.audit.write(&audited::answer(self.answered + self.failed + 1, &folder)?)?;
                self.queue.answered(work, &folder)?;
                Ok(kinds)
            });
            // Renamed if it was answered.
            if answered.is_err() {
                let _ = std::fs::remove_dir_all(&folder);
            }
            answered
        });
        match done {
            Ok(results) => {
                self.answered += 1;
                let (object, tries, ms) = (work.uid.clone(), work.tries, milliseconds(start.elapsed()));
                say(&Event::Answered { object, results, tries, ms })
            }
            // The object stays in the queue.
            Err(error) if error.is::<AuditError>() => {
                self.queue.forgive(work);
                Err(error)
            }
            Err(error) if is_of_the_disk(&error) => self.put_off(work, one_line(&error), signals),
            Err(error) => {
                let class = Some(audit::class(&error));
                let input = self.answered + self.failed + 1;
                self.audit.write(&audit::Event::Lost { input, class })?;
                self.fail(work, one_line(&error), signals)
            }
        }
    }

    fn fail(&mut self, work: &Work, problem: String, signals: &Live) -> anyhow::Result<()> {
        match self.queue.failed(work, &problem) {
            Ok(()) => {
                self.failed += 1;
                say(&Event::Failed { object: work.uid.clone(), problem })
            }
            Err(error) => self.put_off(work, one_line(&error.into()), signals),
        }
    }

    fn put_off(&self, work: &Work, problem: String, signals: &Live) -> anyhow::Result<()> {
        let (object, retry_seconds) = (work.uid.clone(), PUT_OFF.as_secs_f64());
        // This try was none of the object's making.
        self.queue.forgive(work);
        say(&Event::Delayed { object, problem, retry_seconds })?;
        pause(signals);
        Ok(())
    }

    /// Ends what is under way, and prints the last line.
    fn end(
        self,
        ended: anyhow::Result<&'static str>,
        listener: Listener,
        senders: Vec<Sender>,
    ) -> anyhow::Result<()> {
        self.supervisor.stopping();
        senders.iter().for_each(Sender::end);
        self.queue.wake();
        listener.stop(GRACE);
        senders.into_iter().for_each(|sender| sender.stop(GRACE));
        let reason = *ended.as_ref().unwrap_or(&"error");
        let [queued, unsent] = self.queue.waiting();
        let said =
            say(&Event::Ended { reason, answered: self.answered, failed: self.failed, queued, unsent });
        let counts =
            json!({"answered": self.answered, "failed": self.failed, "queued": queued, "unsent": unsent});
        self.audit.end(reason, counts, ended.and(said))
    }
}

/// Waits for a while, unless a signal comes.
fn pause(signals: &Live) {
    let start = Instant::now();
    while !signals.ended() && start.elapsed() < PUT_OFF {
        limits::apart(|| thread::sleep(TICK));
    }
}

/// Whether the disk is what fails, and not the object.
fn is_of_the_disk(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        cause.is::<QueueError>() || matches!(kind, Some(StorageFull | QuotaExceeded | ReadOnlyFilesystem))
    })
}
