//! Frame by frame, batched, on any session: predictions equal those made from features gathered beforehand.

use std::sync::Arc;

use ndarray::Array2;

use super::*;
use crate::checkpoint::Model;
use crate::engine::Engine;
use crate::features::{Collector, ScanFeatures};
use crate::heads::{
    AbmilHead, AbmilOptions, Backbone, Bags, Examples, HeadError, HeadModel, KnnHead, LinearHead, Masked,
    OutOfDistribution, Outcome, Predictor, SegmentHead, SegmentOptions, Targets, TrainingSummary,
};
use crate::input::{LabelMap, ReadOptions, Region, ScanKind};
use crate::vit::{Config, Positions, seeded_weights};

/// A network small enough for thousands of frames.
pub(crate) fn engine() -> Engine {
    engine_on(Isa::best())
}

pub(crate) fn engine_on(isa: Isa) -> Engine {
    let mut model = Model::seeded("deit-tiny", 3).unwrap();
    model.config = Config { dim: 16, depth: 3, heads: 2, patch: 4, hidden: 32, ..model.config };
    model.config.positions = Positions::Rope;
    model.weights = seeded_weights(&model.config, 3);
    Engine::from_model(model, isa)
}

pub(super) fn frame(i: usize) -> Image {
    let pixels = (0..24 * 20 * 3).map(|p| (p * (2 * i + 3) * 7 % 251) as u8).collect();
    Image::from_rgb8(24, 20, pixels).unwrap()
}

fn features(session: &mut Session, size: Size, frames: &[Image], layers: Option<&[usize]>) -> ScanFeatures {
    session.keep_layers(layers.unwrap_or_default()).unwrap();
    let mut collector = Collector::new(layers.map(|layers| (0..layers.len()).collect()));
    for frame in frames {
        collector.add(session.run(&frame.tensor(size, &Preprocess::IMAGENET), size).unwrap()).unwrap();
    }
    collector.finish(geometry())
}

/// A clip of which the backbone sees a part, so that masks must be placed on the whole frame.
pub(super) fn geometry() -> Geometry {
    let crop = Some(Region { left: 2, top: 3, width: 24, height: 20 });
    Geometry { kind: ScanKind::Clip, size: (30, 40), crop, spacing: None }
}

/// A head of each kind, and the first one a second time at another input size.
pub(crate) fn heads(engine: &Engine) -> Vec<Arc<Head>> {
    let mut session = engine.session(1).unwrap();
    let size = Size::square(16);
    let frames: Vec<Image> = (10..18).map(frame).collect();
    let names = vec!["a".to_owned(), "b".to_owned()];
    let x = features(&mut session, size, &frames, None).rows;
    let of: Vec<usize> = (0..8).map(|i| i % 2).collect();
    // The first half of a row, CLS.
    let cls = x.slice(ndarray::s![.., ..x.ncols() / 2]);
    let cls = Examples { features: cls, targets: Targets::Classes(&of) };
    let rows: Vec<Array2<f32>> = (0..8).map(|i| x.select(ndarray::Axis(0), &[i, (i + 3) % 8])).collect();
    let bags = Bags { rows: &rows, targets: Targets::Classes(&of) };
    let abmil = AbmilOptions { epochs: 2, ..AbmilOptions::default() };
    let dim = x.ncols();
    let weight = (0..2 * dim).map(|i| (i as f64 * 0.7).sin()).collect();
    let parts = [vec![0.1; dim], vec![0.5; dim], weight, vec![0.2, -0.2]];
    let linear = LinearHead::new(names.clone(), false, 0.4, parts).unwrap();
    let mut segment = |volume: bool, layers: &[usize]| {
        let tokens = features(&mut session, size, &frames, Some(layers)).tokens.unwrap();
        let labels = (0..8 * 20 * 24).map(|i| u8::from(i % 24 > 11)).collect();
        let mask = LabelMap::new(8, 20, 24, labels).unwrap();
        let set = [Masked { tokens: &tokens, mask: &mask }];
        let options = SegmentOptions { epochs: Some(3), volume, ..SegmentOptions::default() };
        let (head, ..) = SegmentHead::fit(&set, &set, &names, layers, &options, &mut |_, _| {}).unwrap();
        HeadModel::Segment(head)
    };
    let models = [
        (size, HeadModel::Linear(linear.clone())),
        (Size::square(8), HeadModel::Linear(linear.clone())),
        (size, HeadModel::Volume(linear)),
        (size, HeadModel::Knn(KnnHead::new(&cls, &names, true).unwrap())),
        (size, HeadModel::Abmil(AbmilHead::fit(&bags, &bags, &names, &abmil, &mut |_, _| {}).unwrap().0)),
        (size, segment(false, &[0, 2])),
        (size, segment(true, &[1])),
    ];
    let ood = OutOfDistribution::fit(x.view(), x.view()).unwrap();
    let head = |(size, model)| {
        Arc::new(Head {
            model,
            ood: Some(ood.clone()),
            conformal: None,
            contours: None,
            preprocess: Preprocess::IMAGENET,
            read: ReadOptions::default(),
            size,
            backbone: Backbone::of(engine.about()),
            training: TrainingSummary::default(),
            attestation: None,
            tool: String::new(),
        })
    };
    models.map(head).into()
}

/// Predictions from features gathered beforehand.
fn expected(engine: &Engine, heads: &[Arc<Head>], frames: &[Image]) -> Vec<Answer> {
    let mut session = engine.session(1).unwrap();
    let answer = |(number, head): (usize, &Arc<Head>)| {
        let dense = head.model.features() == FeatureKind::Patch;
        let features = features(&mut session, head.size, frames, dense.then(|| head.model.layers()));
        let outcome = Predictor::new(&head.model, Isa::best()).predict(&features).unwrap();
        let ood = Some(head.ood.as_ref().unwrap().score(&features.mean_row()).unwrap());
        Answer { head: number, outcome, ood, explanation: None, contours: None }
    };
    heads.iter().enumerate().map(answer).collect()
}

#[test]
fn a_clip_is_answered_as_its_gathered_features_are_whatever_came_together() {
    let engine = engine();
    let heads = heads(&engine);
    let frames: Vec<Image> = (0..7).map(frame).collect();
    let expected = expected(&engine, &heads, &frames);
    for (threads, together) in [(1, 1), (1, 3), (2, 7), (3, 2)] {
        let mut pipeline = Pipeline::new(engine.session(threads).unwrap(), &heads).unwrap();
        // The second pass checks that nothing of the first is left.
        for _ in 0..2 {
            pipeline.begin("clip", geometry());
            frames.chunks(together).for_each(|frames| pipeline.extend(frames).unwrap());
            assert_eq!(pipeline.finish().unwrap(), expected, "{threads} threads, {together} together");
            assert_eq!(pipeline.finish().unwrap(), []);
        }
        let elapsed = pipeline.elapsed();
        assert!(elapsed.resize.min(elapsed.backbone).min(elapsed.heads) > Duration::ZERO);
    }
}

#[test]
fn each_frame_is_answered_at_once_and_heads_of_all_frames_at_the_end() {
    let engine = engine();
    let heads = heads(&engine);
    let frames: Vec<Image> = (0..4).map(frame).collect();
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &heads).unwrap();
    pipeline.begin("clip", geometry());
    for frame in &frames {
        let alone = expected(&engine, &heads, std::slice::from_ref(frame));
        let of_frames = [0, 1, 3, 5].map(|head| alone[head].clone());
        assert_eq!(pipeline.push(frame).unwrap(), of_frames);
    }
    let whole = expected(&engine, &heads, &frames);
    // The masks were already returned frame by frame.
    assert_eq!(pipeline.finish().unwrap(), [0, 1, 2, 3, 4, 6].map(|head| whole[head].clone()));
}

/// Heads that see a whole clip answer each frame for the last three, whatever scan these belong to.
#[test]
fn a_window_slides_over_frames_that_are_pictures_by_themselves() {
    let engine = engine();
    let heads = heads(&engine);
    let frames: Vec<Image> = (0..7).map(frame).collect();
    let mut pipeline = Pipeline::new(engine.session(2).unwrap(), &heads).unwrap();
    pipeline.slide(3);
    let answers = |pipeline: &mut Pipeline, number: usize| -> Vec<Answer> {
        pipeline.begin("live", geometry());
        let answers = pipeline.push(&frames[number]).unwrap();
        answers.into_iter().filter(|answer| [2, 4, 6].contains(&answer.head)).collect()
    };
    for number in 0..5 {
        let found = answers(&mut pipeline, number);
        if number < 2 {
            assert_eq!(found, []);
            continue;
        }
        let whole = expected(&engine, &heads, &frames[number - 2..=number]);
        assert_eq!(found, [2, 4].map(|head| whole[head].clone()), "frame {number}");
    }
    pipeline.forget();
    assert_eq!((answers(&mut pipeline, 5), answers(&mut pipeline, 6)), (vec![], vec![]));
    assert_eq!(answers(&mut pipeline, 0).len(), 2);
}

#[test]
fn selected_heads_alone_are_asked_and_sessions_share_them() {
    let engine = engine();
    let heads = heads(&engine);
    let frames: Vec<Image> = (0..3).map(frame).collect();
    let expected = expected(&engine, &heads, &frames);
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &heads).unwrap();
    pipeline.select(&[4, 1]);
    pipeline.begin("clip", geometry());
    pipeline.extend(&frames).unwrap();
    assert_eq!(pipeline.finish().unwrap(), [1, 4].map(|head| expected[head].clone()));
    // The new pipeline has the same selection, but all heads are available.
    let mut all = pipeline.with_session(engine.session(1).unwrap()).unwrap();
    all.select(&[0, 1, 2, 3, 4, 5, 6]);
    let (one, two) = (engine.session(1).unwrap(), engine.session(2).unwrap());
    std::thread::scope(|scope| {
        let found = [one, two].map(|session| {
            let mut pipeline = all.with_session(session).unwrap();
            let frames = &frames;
            scope.spawn(move || {
                pipeline.begin("clip", geometry());
                pipeline.extend(frames).unwrap();
                pipeline.finish().unwrap()
            })
        });
        found.into_iter().for_each(|found| assert_eq!(found.join().unwrap(), expected));
    });
    let mut two = pipeline.with_session(engine.session(1).unwrap()).unwrap();
    two.begin("clip", geometry());
    two.extend(&frames).unwrap();
    assert_eq!(two.finish().unwrap(), [1, 4].map(|head| expected[head].clone()));
    let other = Engine::from_model(Model::seeded("deit-tiny", 4).unwrap(), Isa::best());
    let refused = pipeline.with_session(other.session(1).unwrap()).err().unwrap();
    assert!(matches!(refused, PipelineError::Backbone { .. }), "{refused}");
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let engine = engine();
    let heads = heads(&engine);
    let mut stranger = Head::clone(&heads[0]);
    stranger.backbone.sha256 = "ff".repeat(32);
    let refused = |heads: &[Arc<Head>]| Pipeline::new(engine.session(1).unwrap(), heads).err().unwrap();
    let error = refused(&[heads[0].clone(), Arc::new(stranger)]);
    assert!(matches!(error, PipelineError::Head { head: 1, source: HeadError::Backbone { .. } }), "{error}");
    let mut deep = Head::clone(&heads[5]);
    let HeadModel::Segment(model) = &mut deep.model else { panic!("the sixth lays masks") };
    model.layers = vec![2, 3];
    let error = refused(&[heads[0].clone(), Arc::new(deep)]);
    assert!(matches!(error, PipelineError::Engine { head: 1, .. }), "{error}");
    let odd = Head { size: Size::square(10), ..Head::clone(&heads[0]) };
    assert!(matches!(refused(&[Arc::new(odd)]), PipelineError::Engine { head: 0, .. }));

    // Three masks of 1,200 pixels fit within the limit, a fourth does not.
    let frames: Vec<Image> = (0..4).map(frame).collect();
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &heads[5..6]).unwrap();
    pipeline.limit(3 * 30 * 40);
    pipeline.begin("clip", geometry());
    pipeline.extend(&frames[..3]).unwrap();
    let error = pipeline.extend(&frames[3..]).unwrap_err().to_string();
    assert!(error.starts_with("clip: 4 frames are more than can be kept"), "{error}");
    assert_eq!(pipeline.finish().unwrap(), []);
    pipeline.begin("clip", geometry());
    pipeline.extend(&frames[..3]).unwrap();
    assert_eq!(pipeline.finish().unwrap().len(), 1);
    // The masks of live frames are returned at once and not kept.
    frames.iter().for_each(|frame| assert_eq!(pipeline.push(frame).unwrap().len(), 1));
    assert_eq!(pipeline.finish().unwrap(), []);
}

#[test]
fn frames_of_another_size_are_refused_until_the_scan_is_finished() {
    let engine = engine();
    let heads = heads(&engine);
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &heads[5..6]).unwrap();
    let wide = Image::from_rgb8(40, 16, vec![90; 40 * 16 * 3]).unwrap();
    let size = |answers: Vec<Answer>| match &answers[..] {
        [Answer { outcome: Outcome::Mask(mask), .. }] => (mask.depth, mask.height, mask.width),
        other => panic!("one mask expected: {other:?}"),
    };
    assert_eq!(size(pipeline.push(&frame(0)).unwrap()), (1, 20, 24));
    let error = pipeline.push(&wide).unwrap_err().to_string();
    assert!(error.starts_with("frame 2 has 40 x 16 pixels, and the scan's frames have 24 x 20"), "{error}");
    // The error ended the scan.
    assert_eq!(size(pipeline.push(&wide).unwrap()), (1, 16, 40));
    assert_eq!(pipeline.finish().unwrap(), []);
    assert_eq!(size(pipeline.push(&frame(0)).unwrap()), (1, 20, 24));
    pipeline.begin("clip", geometry());
    pipeline.extend(&[frame(0), frame(1)]).unwrap();
    let error = pipeline.extend(&[frame(2), wide]).unwrap_err().to_string();
    assert!(error.starts_with("clip frame 4 has 40 x 16 pixels"), "{error}");
}
