//! Our encoder as a backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atomic_refcell::AtomicRefCell;

use super::backend::{Backbone, RunError, Runner};
use super::plans::Recent;
use super::{Features, Macs, Operator, OperatorTimes};
use crate::board::{CacheShare, Cores, Root};
use crate::encoder::{Cache, Encoder, EncoderError, Interrupt, Plan, Workspace};
use crate::kernels::pool::Pool;
use crate::vit::{Config, Size, SizeError};

/// Maximum working memory of the threads that run whole images in parallel, in bytes.
const LANES_BYTES: usize = 512 << 20;

/// A backbone that our encoder runs.
pub(super) struct Vit(Arc<Encoder>);

impl Vit {
    pub(super) fn new(encoder: Encoder) -> Vit {
        Vit(Arc::new(encoder))
    }

    fn start(&self, cores: &Cores, interrupt: &Arc<Interrupt>) -> Result<VitRunner, RunError> {
        let threads = cores.threads();
        Ok(VitRunner {
            encoder: self.0.clone(),
            threads,
            pool: Pool::new(threads).map_err(|e| RunError::Threads(e.to_string()))?,
            cache: cache(cores),
            workspace: Workspace::interrupted_by(interrupt.clone()),
            interrupt: interrupt.clone(),
            plans: Recent::new(),
            layers: Vec::new(),
            spare: Vec::new(),
            single: Recent::new(),
            workers: Vec::new(),
        })
    }
}

impl Backbone for Vit {
    fn runner(&self, cores: &Cores, interrupt: &Arc<Interrupt>) -> Result<Box<dyn Runner>, RunError> {
        Ok(Box::new(self.start(cores, interrupt)?))
    }

    fn config(&self) -> Option<&Config> {
        Some(self.0.config())
    }

    fn macs(&self, operator: Operator, size: Size) -> Result<Option<Macs>, SizeError> {
        self.0.macs(operator, size).map(Some)
    }
}

/// Our encoder with threads and working memory.
struct VitRunner {
    encoder: Arc<Encoder>,
    threads: usize,
    pool: Pool,
    /// Cache available to each thread.
    cache: Cache,
    workspace: Workspace,
    interrupt: Arc<Interrupt>,
    plans: Recent<Plan>,
    /// Blocks whose patch tokens are kept, ascending.
    layers: Vec<usize>,
    /// Buffers for [`Features::layers`] that the last run did not need.
    spare: Vec<Vec<f32>>,
    /// For batches: single-threaded plans, and below, the state of each thread.
    single: Recent<Plan>,
    workers: Vec<AtomicRefCell<Worker>>,
}

/// What a thread needs to run whole images alone.
struct Worker {
    pool: Pool,
    workspace: Workspace,
}

impl Runner for VitRunner {
    fn keep_layers(&mut self, layers: &[usize]) -> Result<(), RunError> {
        select(layers, self.encoder.config().depth, &mut self.layers)
    }

    fn run(&mut self, pixels: &[f32], size: Size, features: &mut Features) -> Result<(), RunError> {
        let VitRunner { encoder, threads, pool, cache, workspace, layers, spare, plans, .. } = self;
        let (encoder, threads) = (&**encoder, *threads);
        let plan = plans.get(size, layers, || {
            let plan = plan(encoder, size, threads, *cache, layers)?;
            workspace.reserve(encoder, &plan)?;
            Ok::<_, EncoderError>(plan)
        })?;
        fill(features, encoder, encoder.run(plan, workspace, pool, pixels)?);
        fill_layers(features, encoder, plan, workspace, spare);
        Ok(())
    }

    /// Runs each image on one thread, and the images in parallel on the session's threads.
    fn run_batch(&mut self, images: &[&[f32]], size: Size) -> Result<Vec<Features>, RunError> {
        let VitRunner { encoder, threads, pool, cache, interrupt, layers, single, workers, .. } = self;
        let (encoder, threads) = (&**encoder, *threads);
        let plan = &*single.get(size, layers, || plan(encoder, size, 1, *cache, layers))?;
        let used = threads.min(images.len()).min(LANES_BYTES / plan.image_bytes(encoder)).max(1);
        while workers.len() < used {
            // A pool of one thread is the calling thread: it starts none, so nothing can fail.
            let pool = Pool::new(1).expect("a pool of one thread starts none");
            let workspace = Workspace::interrupted_by(interrupt.clone());
            workers.push(AtomicRefCell::new(Worker { pool, workspace }));
        }
        let workers = &mut workers[..used];
        workers.iter_mut().try_for_each(|worker| worker.get_mut().workspace.reserve(encoder, plan))?;
        let workers = &*workers;
        let failed = AtomicRefCell::new(None);
        let out: Vec<AtomicRefCell<Features>> = images.iter().map(|_| AtomicRefCell::default()).collect();
        let next = AtomicUsize::new(0);
        // Each worker takes the next image until none is left.
        pool.run(used, &|worker, _| {
            let Worker { pool, workspace } = &mut *workers[worker].borrow_mut();
            while let i = next.fetch_add(1, Ordering::Relaxed)
                && i < images.len()
            {
                let features = &mut *out[i].borrow_mut();
                let result = encoder
                    .run(plan, workspace, pool, images[i])
                    .map(|tokens| fill(features, encoder, tokens));
                fill_layers(features, encoder, plan, workspace, &mut Vec::new());
                // If the borrow fails, another thread is storing its own error: one is enough.
                if let (Err(error), Ok(mut failed)) = (result, failed.try_borrow_mut()) {
                    *failed = Some(error);
                }
            }
        });
        match failed.into_inner() {
            None => Ok(out.into_iter().map(AtomicRefCell::into_inner).collect()),
            Some(error) => Err(RunError::Encoder(error)),
        }
    }

    fn time_operators(&mut self, on: bool) {
        self.workspace.time_operators(on);
    }

    fn operator_times(&self) -> Option<OperatorTimes> {
        self.workspace.operator_times()
    }
}

/// Puts the blocks `layers`, of `blocks`, into `selected`: ascending, without duplicates.
pub(super) fn select(layers: &[usize], blocks: usize, selected: &mut Vec<usize>) -> Result<(), RunError> {
    if let Some(&layer) = layers.iter().find(|&&layer| layer >= blocks) {
        return Err(EncoderError::Layer { layer, blocks }.into());
    }
    selected.clear();
    selected.extend_from_slice(layers);
    selected.sort_unstable();
    selected.dedup();
    Ok(())
}

/// Cache available to each of the session's threads.
pub(super) fn cache(cores: &Cores) -> Cache {
    let share = CacheShare::of(&Root::live(), cores);
    share.map_or(Cache::UNKNOWN, |CacheShare { l2, last }| Cache { l2, last })
}

/// Plans `encoder` for `size` on `threads` threads with `cache` each, keeping the outputs of the blocks `layers`.
fn plan(
    encoder: &Encoder,
    size: Size,
    threads: usize,
    cache: Cache,
    layers: &[usize],
) -> Result<Plan, EncoderError> {
    Plan::new(encoder, size, threads)?.within(encoder, cache).with_taps(encoder, layers)
}

/// Copies CLS and the patch tokens from `tokens`, of shape `[tokens, dim]`, to `features`.
fn fill(features: &mut Features, encoder: &Encoder, tokens: &[f32]) {
    let config = encoder.config();
    features.cls.clear();
    features.cls.extend_from_slice(&tokens[..config.dim]);
    features.patch.clear();
    features.patch.extend_from_slice(&tokens[config.prefix() * config.dim..]);
}

/// Copies the grid and the kept outputs of earlier blocks to `features`. Surplus buffers move to `spare`; missing
/// ones are taken from it.
fn fill_layers(
    features: &mut Features,
    encoder: &Encoder,
    plan: &Plan,
    workspace: &Workspace,
    spare: &mut Vec<Vec<f32>>,
) {
    (features.rows, features.cols) = plan.grid();
    let wanted = plan.taps().len();
    spare.extend(features.layers.drain(wanted.min(features.layers.len())..));
    features.layers.resize_with(wanted, || spare.pop().unwrap_or_default());
    for (i, kept) in features.layers.iter_mut().enumerate() {
        let prefix = encoder.config().prefix() * encoder.config().dim;
        kept.clear();
        kept.extend_from_slice(&workspace.tap(encoder, plan, i)[prefix..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::quant::Network;
    use crate::vit::seeded_weights;

    #[test]
    fn plans_are_kept_by_size_and_layers() {
        let config = crate::checkpoint::Card::by_name("deit-tiny").unwrap().architecture;
        let network = Network::from_weights(&config, seeded_weights(&config, 5));
        let mut runner =
            Vit::new(Encoder::new(network, Isa::best())).start(&2.into(), &Arc::default()).unwrap();
        let size = Size::square(32);
        let pixels = vec![0.5; 3 * size.area()];
        let mut features = Features::default();
        for layers in [&[][..], &[7, 2], &[11], &[2, 7, 7], &[]] {
            runner.keep_layers(layers).unwrap();
            runner.run(&pixels, size, &mut features).unwrap();
            runner.run_batch(&[&pixels], size).unwrap();
        }
        assert_eq!((runner.plans.len(), runner.single.len()), (3, 3));
        assert!(matches!(runner.keep_layers(&[12]), Err(RunError::Encoder(EncoderError::Layer { .. }))));
    }
}
