//! `microraptor stream`

mod audited;
#[cfg(feature = "igtl")]
mod igtl;
#[cfg(not(feature = "igtl"))]
#[path = "igtl_absent.rs"]
mod igtl;
mod line;
#[cfg_attr(not(feature = "page"), path = "live_page_absent.rs")]
mod live_page;
mod metrics;
mod opened;
mod outlet;
mod pins;
mod slot;
mod source;
mod video;
mod watch;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use microraptor::heads::{Explanation, Outcome};
use microraptor::live::{Examiner, Frame, Grabber, Next, Picture, Source, Tally};
use microraptor::names::shown;
use microraptor::pipeline::Answer;
use serde_json::json;

use super::args::{OnStall, StreamArgs};
use super::audit::{self, Audit};
use super::failure::one_line;
use super::head_line::HeadLine;
use super::limits;
use super::loaded::named;
use super::notify::Supervisor;
use super::signals::Live;
use super::times::{milliseconds, seconds};
use line::{Counts, Event, FrameLine};
use opened::Opened;
use outlet::{Outlet, Outlets, Seen};
use pins::{Pins, StatusPin};
use video::{Shows, Video};
use watch::{Doing, Watch};

/// How long the loop waits for a frame before it looks at everything else.
const TICK: Duration = Duration::from_millis(100);

/// Prints one JSON line for each frame, at once.
pub fn run(args: &StreamArgs) -> anyhow::Result<()> {
    let signals = Live::handle();
    let opened = Opened::new(args, None).map_err(|error| {
        let read: Vec<&Path> = args.source.iter().map(PathBuf::as_path).collect();
        Audit::failed(&args.audit, "stream", &read, error)
    })?;
    let path = place(args, &opened)?;
    let audit = audit(args, &opened, &path)?;
    // Nothing is grabbed before everything is loaded: the first frames would be old.
    let found = Pins::open(args).and_then(|mut pins| Ok((ends(args, &opened, &path, &mut pins)?, pins)));
    let ((source, told), pins) = match found {
        Ok(found) => found,
        Err(error) => return audit.end("error", json!({}), Err(error)),
    };
    let outlets = Arc::new(Outlets::new(told, audit));
    let stall = (args.stall.0 > 0.0).then(|| Duration::from_secs_f64(args.stall.0));
    let watch = Watch::new(stall, args.on_stall, outlets.clone(), signals.clone())?;
    let grabber = Grabber::start(source, args.policy)?;
    let started = Event::Started {
        model: opened.about(),
        attest: opened.attest.clone(),
        heads: opened.names(),
        source: shown(&path),
        policy: args.policy.to_string(),
        deadline_ms: args.deadline.map(|deadline| milliseconds(deadline.0)),
        smoothing_delay_frames: opened.smoothing[0].delay_frames(),
        window_delay_frames: args.window.map(|frames| f64::from(frames - 1) / 2.0),
    };
    watch.over(0, Doing::Writing, || outlets.say(&started, None, None).and_then(|()| outlets.say_urls()))?;
    let mut stream = Stream {
        args,
        stall,
        watch,
        outlets,
        limits: limits::Watched::new(path.display().to_string()),
        path,
        examiner: Examiner::default(),
        supervisor: Supervisor::default(),
        answers: Vec::new(),
        counts: Counts::default(),
        dropped: 0,
        stalled: false,
        last: None,
        passed: 0,
        pins,
        grabber,
        opened,
        reload: None,
    };
    stream.supervisor.ready();
    let ended = stream.answer_all(&signals);
    stream.end(ended)
}

/// Where frames come from.
fn place(args: &StreamArgs, opened: &Opened) -> anyhow::Result<PathBuf> {
    match (&opened.rest, &args.source) {
        (Some(_), Some(source)) => {
            bail!("{}: --deploy names the model: give one SOURCE only", source.display())
        }
        (Some(path), None) | (None, Some(path)) => Ok(path.clone()),
        (None, None) => Ok(Path::new("-").to_owned()),
    }
}

/// The audit log, in which it stands what answers.
fn audit(args: &StreamArgs, opened: &Opened, path: &Path) -> anyhow::Result<Audit> {
    let mut audit = Audit::open(&args.audit, "stream", &[path], |read| {
        *read = opened.files.clone();
        read.add(path);
    })?;
    audit.loaded(opened.engine().about(), &opened.heads, opened.pipeline.session().threads())?;
    audit.attested(&opened.attest)?;
    Ok(audit)
}

/// What a stream has at its two ends.
type Ends = (Box<dyn Source>, Vec<Box<dyn Outlet>>);

/// Where frames come from, and who is told.
fn ends(args: &StreamArgs, opened: &Opened, path: &Path, pins: &mut Pins) -> anyhow::Result<Ends> {
    let mut told = outlets(args, opened, pins)?;
    let (source, answered) = match igtl::open(path, args, &opened.read)? {
        Some((source, answered)) => (args.view().of(source), answered),
        None => (source::open(path, args, &opened.read)?, None),
    };
    told.extend(answered);
    Ok((source, told))
}

/// Who is told besides standard output.
fn outlets(args: &StreamArgs, opened: &Opened, pins: &mut Pins) -> anyhow::Result<Vec<Box<dyn Outlet>>> {
    let mut outlets: Vec<Box<dyn Outlet>> = Vec::new();
    if args.overlay.is_some() && args.overlay == args.mask {
        bail!("--overlay and --mask: both go into the same pipe: give each its own");
    }
    if let Some(status) = pins.status.take() {
        outlets.push(Box::new(StatusPin(status)));
    }
    let rate = args.fps.map_or(30.0, |rate| rate.0);
    let rate = [(1000.0 * rate).round() as u32, 1000];
    for (shows, pipe) in [(Shows::Overlay, &args.overlay), (Shows::Mask, &args.mask)] {
        if let Some(pipe) = pipe {
            outlets.push(Box::new(Video::open(shows, pipe, &opened.heads, args.policy, rate)?));
        }
    }
    if let Some(address) = args.metrics {
        outlets.push(Box::new(metrics::Metrics::start(address, opened)?));
    }
    if let Some(address) = args.live_page {
        outlets.push(Box::new(live_page::LivePage::start(address, opened)?));
    }
    Ok(outlets)
}

/// A stream that is being answered.
struct Stream<'a> {
    args: &'a StreamArgs,
    path: PathBuf,
    stall: Option<Duration>,
    watch: Watch,
    outlets: Arc<Outlets>,
    limits: limits::Watched,
    examiner: Examiner,
    supervisor: Supervisor,
    answers: Vec<Answer>,
    counts: Counts,
    /// Frames dropped before the last line about a frame.
    dropped: u64,
    stalled: bool,
    /// Exposure and epoch of the last frame.
    last: Option<(Instant, u32)>,
    /// Frames that the trigger did not ask for.
    passed: u64,
    pins: Pins,
    grabber: Grabber,
    opened: Opened,
    /// What SIGHUP asked for, while it is opened.
    reload: Option<Receiver<anyhow::Result<Opened>>>,
}

impl Stream<'_> {
    /// Answers frames until the source ends or a signal comes; the reason.
    fn answer_all(&mut self, signals: &Live) -> anyhow::Result<&'static str> {
        loop {
            if signals.ended() {
                return Ok("signal");
            }
            self.reload(signals)?;
            // The time limit is for work, not for waiting.
            match limits::apart(|| self.grabber.next(TICK)) {
                // A signal to all of a pipeline ends the source too, perhaps within a frame.
                Ok(Next::End) | Err(_) if signals.ended() => return Ok("signal"),
                Ok(Next::Frame(frame)) => {
                    if std::mem::take(&mut self.stalled) {
                        self.say(&Event::Resumed)?;
                    }
                    match &self.pins.trigger {
                        Some(trigger) if !trigger.asks_for(frame.exposed)? => self.passed += 1,
                        _ => self.answer(frame)?,
                    }
                }
                Ok(Next::Lost { number, problem }) => {
                    self.say(&Event::Lost { frame: number, problem: one_line(&problem.into()) })?;
                    self.nothing(self.grabber.idle())?;
                }
                Ok(Next::Nothing(since)) => self.nothing(since)?,
                Ok(Next::End) => return self.end_of_source(),
                Err(error) => return Err(error.into()),
            }
            let Counts { answered, late, .. } = self.counts;
            self.supervisor.alive(|| format!("{answered} frames answered, {late} of them late"));
        }
    }

    /// A source of which nothing could be read has failed.
    fn end_of_source(&self) -> anyhow::Result<&'static str> {
        let Counts { frames, lost, .. } = self.counts();
        if frames > 0 && lost == frames {
            bail!("{}: none of its {lost} frames could be read: the lines say why", self.source());
        }
        Ok("end of source")
    }

    /// The source's name in messages.
    fn source(&self) -> String {
        if self.path == Path::new("-") { "standard input".into() } else { shown(&self.path) }
    }

    /// Answers a frame, or says why not.
    fn answer(&mut self, frame: Frame) -> anyhow::Result<()> {
        self.limits.restart();
        let picture = self.examiner.examine(&frame.image, frame.exposed);
        let dropped = self.counts().dropped;
        let mut line =
            FrameLine::new(&frame, picture, dropped - std::mem::replace(&mut self.dropped, dropped));
        let other = matches!(picture, Picture::Resized | Picture::Black | Picture::Saturated);
        if other || self.is_after_a_gap(&frame) {
            self.opened.begin_anew();
        }
        if picture.is_blank() {
            self.counts.withheld += 1;
        } else {
            line.heads = self.heads(&frame)?;
            self.counts.answered += 1;
            let spent = self.opened.pipeline.elapsed();
            line.ms.resize = milliseconds(spent.resize);
            line.ms.backbone = milliseconds(spent.backbone);
            line.ms.head = milliseconds(spent.heads);
        }
        let age = frame.exposed.elapsed();
        line.ms.age = milliseconds(age);
        line.late = self.args.deadline.map(|deadline| age > deadline.0);
        self.counts.late += u64::from(line.late == Some(true) && line.withheld.is_none());
        let answer = |(number, head): (usize, &HeadLine)| {
            self.answers.iter().find(|answer| answer.head == number).filter(|_| !head.is_withheld())
        };
        let answers: Vec<Option<&Answer>> = line.heads.iter().enumerate().map(answer).collect();
        let outcomes: Vec<Option<&Outcome>> =
            answers.iter().map(|answer| answer.map(|answer| &answer.outcome)).collect();
        let explanations: Vec<Option<&Explanation>> =
            answers.iter().map(|answer| answer.and_then(|answer| answer.explanation.as_ref())).collect();
        let seen = Seen {
            frame: &frame,
            heads: &self.opened.heads,
            outcomes: &outcomes,
            explanations: &explanations,
        };
        let number = frame.number;
        let say = || self.outlets.say(&Event::Frame(line), Some(self.counts()), Some(seen));
        self.watch.over(number, Doing::Writing, say)
    }

    /// Whether the frame has nothing to do with the one before: the source began anew, or it came late enough for a stall.
    fn is_after_a_gap(&mut self, frame: &Frame) -> bool {
        let Some((exposed, epoch)) = self.last.replace((frame.exposed, frame.epoch)) else { return false };
        let gap = frame.exposed.saturating_duration_since(exposed);
        epoch != frame.epoch || self.stall.is_some_and(|stall| gap >= stall)
    }

    /// Tells of what is no frame.
    fn say(&self, event: &Event) -> anyhow::Result<()> {
        let frames = self.grabber.tally().frames;
        self.watch.over(frames, Doing::Writing, || self.outlets.say(event, Some(self.counts()), None))
    }

    /// The counts so far.
    fn counts(&self) -> Counts {
        let Tally { frames, dropped, lost } = self.grabber.tally();
        Counts { frames, dropped: dropped + self.passed, lost, ..self.counts }
    }

    /// What the heads say of a frame.
    fn heads(&mut self, frame: &Frame) -> anyhow::Result<Vec<HeadLine>> {
        let Stream { args, path, watch, opened, answers, pins, outlets, .. } = self;
        let Opened { pipeline, heads, smoothing, .. } = opened;
        pipeline.explain(args.explain || outlets.explain());
        // Each frame is a picture by itself.
        let name = format!("{} frame {}", path.display(), frame.number);
        pipeline.begin(&name, frame.geometry);
        let mut run = || pipeline.push_into(&frame.image, answers);
        let done = watch.over(frame.number, Doing::Running, || match &mut pins.busy {
            Some(busy) => busy.around(run),
            None => Ok(run()),
        })?;
        done.map_err(|error| named(error, &|head| format!("{name} with {}", heads[head].path.display())))?;
        let lines = heads.iter().enumerate().map(|(number, loaded)| {
            let Some(answer) = answers.iter_mut().find(|answer| answer.head == number) else {
                return HeadLine::unanswered(loaded, Some("window not full"));
            };
            let Answer { outcome, ood, explanation, contours, .. } = answer;
            let withheld = args.abstain && ood.is_some_and(|ood| ood.outside);
            // What is not said does not count for the answers after it either.
            if !withheld {
                smoothing[number].apply(&loaded.head, outcome);
            }
            let mut line = HeadLine::new(loaded, outcome);
            if let Outcome::Mask(mask) = outcome {
                line.measure(loaded, mask, &frame.geometry);
            }
            line.contour(loaded, contours.as_ref(), &frame.geometry);
            line.unlike(*ood);
            if let (true, Some(explanation)) = (args.explain, explanation) {
                line.explain(&loaded.head.model, outcome, explanation);
            }
            if withheld {
                line.withhold("out of distribution");
            }
            line
        });
        Ok(lines.collect())
    }

    /// Says once that the source has stalled.
    fn nothing(&mut self, since: Duration) -> anyhow::Result<()> {
        if self.stalled || self.stall.is_none_or(|stall| since < stall) {
            return Ok(());
        }
        self.stalled = true;
        self.opened.begin_anew();
        let seconds = seconds(since);
        self.say(&Event::Stalled { seconds, blank: self.args.on_stall == OnStall::Blank })?;
        if self.args.on_stall == OnStall::Exit {
            bail!("{}: no frame has come for {seconds:.1} s (--on-stall exit)", self.source());
        }
        Ok(())
    }

    /// Opens model and heads again after a SIGHUP, on another thread, and takes them between two frames.
    fn reload(&mut self, signals: &Live) -> anyhow::Result<()> {
        if self.reload.is_none() && signals.reload() {
            let (send, receive) = channel();
            let (args, before) = (self.args.clone(), self.opened.before());
            thread::Builder::new().name("reload".into()).spawn(move || {
                // The receiver is gone if the stream has ended.
                let _ = send.send(Opened::new(&args, Some(before)));
            })?;
            self.reload = Some(receive);
        }
        let found = match self.reload.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return Ok(()),
            Some(Ok(found)) => found,
            Some(Err(TryRecvError::Disconnected)) => {
                Err(anyhow::anyhow!("the thread that opened them failed"))
            }
        };
        self.reload = None;
        let found = found.and_then(|opened| {
            if opened.read != self.opened.read {
                bail!("the new head reads its input otherwise (window, crop): start the program again");
            }
            Ok(opened)
        });
        match found {
            Ok(opened) => {
                self.answers.clear();
                self.opened = opened;
                self.outlets.write_down(&audit::Event::Reloaded {
                    model: audit::model(self.opened.engine().about()),
                    heads: audit::names(&self.opened.heads),
                })?;
                self.outlets.write_down(&audit::attest(&self.opened.attest))?;
                // The new model is none of the memory that a frame takes.
                self.limits.next(self.path.display().to_string());
                let (model, attest) = (self.opened.about(), self.opened.attest.clone());
                self.say(&Event::Reloaded { model, attest, heads: self.opened.names() })
            }
            Err(error) => self.say(&Event::ReloadFailed { problem: one_line(&error) }),
        }
    }

    /// Prints the last line.
    fn end(self, ended: anyhow::Result<&'static str>) -> anyhow::Result<()> {
        self.supervisor.stopping();
        let Tally { frames, dropped, lost } = self.grabber.close();
        let counts = Counts { frames, dropped: dropped + self.passed, lost, ..self.counts };
        let (reason, failed) = match ended {
            Ok(reason) => (reason, Ok(())),
            Err(error) => ("error", Err(error)),
        };
        let problem = failed.as_ref().err().map(one_line);
        if let Err(error) = &failed {
            // The first error is the one that is reported.
            let _ = self.outlets.write_down(&audit::Event::Error { class: audit::class(error) });
        }
        let ended = Event::Ended { reason, problem, counts };
        let said =
            self.watch.over(counts.frames, Doing::Writing, || self.outlets.say(&ended, Some(counts), None));
        self.outlets.close();
        failed.and(said)
    }
}
