//! The whole way from a trained network to a checked file: import, passes, emit, self-check, write.

use crate::data::random::Random;
use crate::emit::{self, Added, Emitter};
use crate::error::{Error, Result, Unsupported, invalid};
use crate::file::write_whole;
use crate::import;
use crate::ir::{Graph, ValueId};
use crate::passes::{self, Report};
use crate::plans::{self, Planned, Wanted};
use crate::preprocessing::{self, Preprocessing};
use crate::{diff, interp, mixed, provenance};
use bytemuck::{Pod, Zeroable};
use mixed::Mixed;
use reference::{Reference, References};
use sepal_format::record::section;
use sepal_format::{FormatErrorKind, Proof};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

/// Largest error of the self-check, as a share of the largest magnitude in the output: the source's weights are what it compares with,
/// so the rounding of those that are stored as halves is in it.
pub fn self_check_limit(precision: emit::Precision) -> f64 {
    match precision {
        emit::Precision::F32 => 1e-4,
        emit::Precision::F16 => 1e-3,
    }
}

/// How many times what rounding its tensors to f32 does to a network its output may be off, where that is beyond the limit: every term of
/// the sums behind a tensor is rounded, too, and the error of a sum grows like the root of their number, of a thousand here. The heat maps
/// of BlazePose, whose sums nearly cancel, are off by 10 times as much; TensorFlow Lite's own kernels differ by 20 times as much there.
pub const TIMES_ROUNDING: f64 = 32.0;

/// Beyond this share of an output's range rounding explains nothing: f32 does not compute such an output.
pub const MOST_ROUNDING: f64 = 1e-2;

/// Seed of the self-check's inputs.
const SELF_CHECK_SEED: u64 = 1;

/// What to convert and how.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// For the importer.
    pub import: import::Options,
    /// The plans to make; one, of the source's own shapes, if none are named.
    pub plans: Vec<Wanted>,
    /// Leave out the self-check.
    pub no_verify: bool,
    /// For the emitter.
    pub emit: emit::Options,
    /// Take `emit.max_error` as it is, even if the self-check finds that the network magnifies such errors.
    pub fixed_error: bool,
    /// For the passes.
    pub passes: passes::Options,
    /// How pictures become the network's input; what its first layers tell, if nothing is said here.
    pub preprocessing: Option<Preprocessing>,
    /// Nothing is said of levels there: what the network's first layers tell of them counts.
    pub levels_from_network: bool,
    /// Let the first convolution subtract the mean and divide by the deviation, where that is exact.
    pub fold_input: bool,
    /// Compare all layers in the self-check, for the drift of each fold.
    pub measure_drift: bool,
}

/// What a conversion is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the source.
    Import,
    /// Folding and fusing.
    Passes,
    /// Planning the memory and packing the weights.
    Emit,
    /// Running the result and comparing it with the source. Has steps.
    SelfCheck,
}

/// Somebody who wants to know how far a conversion is. `()` does not.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}
    /// `done` of `all` steps of the stage are done.
    fn steps(&mut self, _done: usize, _all: usize) {}
}

impl Progress for () {}

/// How far the written file is from the f64 interpreter of the source graph, at the worst output.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfCheck {
    /// Name of that output.
    pub output: String,
    /// Largest difference.
    pub max_abs: f64,
    /// The same as a share of the largest magnitude in that output.
    pub relative: f64,
    /// Of an output that is further off than the limit: how far it is moved, as the same share, by rounding the source's tensors to f32
    /// and nothing else. What is not much further off than that shows no fault.
    pub rounding: Option<f64>,
}

impl SelfCheck {
    /// The relative error without what pruning states.
    fn besides(&self, pruned: Option<&passes::Pruned>) -> f64 {
        let stated = pruned.map_or(0.0, |p| p.error);
        if self.max_abs <= stated { 0.0 } else { self.relative * ((self.max_abs - stated) / self.max_abs) }
    }
}

/// What there is to tell of one plan of a file.
#[derive(Clone, Debug)]
pub struct PlanSummary {
    /// What it was made for.
    pub wanted: Wanted,
    /// Bytes of weights that no plan before it has.
    pub weights_bytes: u64,
    /// How many convolutions are not summed directly.
    pub fast: usize,
    /// The outcome of its self-check, unless it was left out.
    pub self_check: Option<SelfCheck>,
}

/// What a conversion has to tell. What is said of layers is said of those of the first plan.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The source's name for the network.
    pub network: String,
    /// Which importer read it.
    pub format: &'static str,
    /// Trainable parameters of the source.
    pub trainable_parameters: u64,
    /// All parameters of the source.
    pub total_parameters: u64,
    /// Parameters of the converted network.
    pub parameters: u64,
    /// What the passes did.
    pub report: Report,
    /// The convolutions that are not summed directly.
    pub fast: Vec<emit::Fast>,
    /// The weights that were to be stored as halves.
    pub rounded: Vec<emit::Rounded>,
    /// What the self-check allows.
    pub self_check_limit: f64,
    /// The worst outcome of the self-checks, unless they were left out.
    pub self_check: Option<SelfCheck>,
    /// The plans.
    pub plans: Vec<PlanSummary>,
    /// The self-check's error with the budget that was asked for, if that was too much and another was taken.
    pub magnified: Option<f64>,
    /// What the file says of pictures.
    pub preprocessing: Option<Preprocessing>,
    /// What is to be said of that: where it comes from, where it went.
    pub preprocessing_note: Option<String>,
}

impl Summary {
    /// Batch normalisations that disappeared into weights.
    pub fn folded(&self) -> usize {
        self.report.folds.iter().filter(|f| f.folded).count()
    }
}

/// A converted network: the file's bytes and what there is to say about them.
#[derive(Debug)]
pub struct Converted {
    blocks: Vec<Block>,
    len: usize,
    /// What the conversion has to tell.
    pub summary: Summary,
}

/// 64 aligned bytes: what the runtime asks of a model in memory.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Block([u8; 64]);

/// Converts the network in a file.
///
/// # Errors
/// Those of [`import::import`] and [`emit::emit`], and [`Error::Verification`] when the self-check finds a difference.
pub fn convert(source: &Path, options: &ConvertOptions, progress: &mut dyn Progress) -> Result<Converted> {
    progress.stage(Stage::Import);
    let bytes = crate::file::read_whole(source).map_err(|e| Error::Io { path: source.into(), source: e })?;
    let name = source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plans = plans::read(&options.plans, &options.import, |o| import::import_bytes(&bytes, source.parent(), o))?;
    let format = import::format_name(&bytes);
    drop(bytes);
    convert_plans(plans, &name, format, options, progress)
}

/// Converts a network in memory. `name` is what its file would be called.
///
/// # Errors
/// As [`convert`].
pub fn convert_bytes(name: &str, source: &[u8], options: &ConvertOptions, progress: &mut dyn Progress) -> Result<Converted> {
    progress.stage(Stage::Import);
    let plans = plans::read(&options.plans, &options.import, |o| import::import_bytes(source, None, o))?;
    convert_plans(plans, name, import::format_name(source), options, progress)
}

/// Converts a network that is there as a graph already, to a file of one plan. `format` is what is written down in place of a format.
///
/// # Errors
/// As [`convert`].
pub fn convert_graph(
    graph: Graph,
    name: &str,
    format: &'static str,
    options: &ConvertOptions,
    progress: &mut dyn Progress,
) -> Result<Converted> {
    let plan = Planned { graph, import: options.import.clone(), wanted: Wanted::default() };
    convert_plans(vec![plan], name, format, options, progress)
}

/// Error of the self-check from which on a network counts as one that magnifies the errors of its layers, and what the budget of each is
/// multiplied by then. The self-check's noise is gentle: a picture has been seen to be off by four times as much, and normal noise, which is
/// three times as large, by eight times. Xception, Inception V3 and ResNet50 are at 2e-7 to 6e-7.
const MAGNIFIED: (f64, f64) = (1e-6, 0.3);

/// Error of the self-check from which on the direct sum is tried everywhere: it is taken if it errs less than half as much.
const FAR_OFF: f64 = 1e-5;

/// Conversions after which no step is let run by Strassen's algorithm, if each had some that erred too much.
const MOST_ROUNDS: usize = 2;

/// Converts, and measures the drift of folds, if that is wanted.
fn convert_plans(
    plans: Vec<Planned>,
    name: &str,
    format: &'static str,
    options: &ConvertOptions,
    progress: &mut dyn Progress,
) -> Result<Converted> {
    let mut references = References::default();
    let mut best = most_exact(plans, name, format, options, &mut references, progress)?;
    let source = references.first.take();
    drop(references);
    if let (true, Some(source)) = (options.measure_drift, source) {
        drift(&source, &mut best, progress)?;
    }
    Ok(best)
}

/// Converts, and again with less left to fast algorithms while the output is far off: what counts in the end is the output, not
/// the step. The more exact file is kept. What was asked for and is not exact enough is refused by its name.
fn most_exact(
    plans: Vec<Planned>,
    name: &str,
    format: &'static str,
    options: &ConvertOptions,
    references: &mut References,
    progress: &mut dyn Progress,
) -> Result<Converted> {
    let mut within = |emit| {
        let mut own = ConvertOptions { emit, ..options.clone() };
        // Nothing but the self-check shows what a step is given.
        own.emit.strassen &= !options.no_verify;
        let mut direct = HashSet::new();
        for round in 0.. {
            own.emit.strassen &= round < MOST_ROUNDS;
            let mut unsound = Vec::new();
            // Weights are shared.
            let converted = convert_once(plans.clone(), name, format, &own, &direct, references, &mut unsound, progress);
            if unsound.is_empty() {
                return converted;
            }
            // Others may come instead: a depthwise convolution before them goes into their step, but no pointwise one.
            direct.extend(unsound);
        }
        unreachable!("without Strassen's algorithm no step is unsound by it")
    };
    let (most, factor) = match options.emit.precision {
        emit::Precision::F32 => MAGNIFIED,
        // The rounding of the weights is most of the error: all that is left goes to it, where the limit is missed.
        emit::Precision::F16 => (self_check_limit(emit::Precision::F16), 0.0),
    };
    let mut first = within(options.emit);
    if !options.fixed_error && !options.no_verify {
        // What pruning states has no algorithm to blame.
        let off = |c: &Converted| {
            let Summary { self_check, report, .. } = &c.summary;
            self_check.as_ref().map_or(0.0, |check| check.besides(report.pruned.as_ref()))
        };
        let excused = |c: &Converted| c.summary.self_check.as_ref().is_some_and(|check| check.rounding.is_some());
        let before = match &first {
            Ok(c) if c.summary.plans.iter().any(|plan| plan.fast > 0) => off(c),
            Err(Error::Verification(_) | Error::Inexact(_)) => f64::INFINITY,
            _ => 0.0,
        };
        if before > most {
            let mut best = first;
            let mut error = before;
            for (factor, mut gain) in [(factor, 1.0), (0.0, 0.5)] {
                // One sensitive element is not to excuse what fast algorithms do to the others.
                if factor == 0.0 && best.as_ref().is_ok_and(excused) {
                    gain = f64::INFINITY;
                }
                let last = within(emit::Options { max_error: options.emit.max_error * factor, ..options.emit });
                if let Ok(mut better) = last
                    && off(&better) < gain * error
                {
                    error = off(&better);
                    better.summary.magnified = before.is_finite().then_some(before);
                    best = Ok(better);
                }
                if error <= FAR_OFF || factor == 0.0 {
                    break;
                }
            }
            if best.is_ok() {
                return best;
            }
            first = best;
        }
    }
    let Err(Error::Verification(why)) = first else { return first };
    let plain = emit::Options { max_error: emit::MAX_ERROR, precision: emit::Precision::F32, ..options.emit };
    let asked = match options.emit.precision {
        emit::Precision::F16 => "weights in halves: leave them in f32",
        emit::Precision::F32 if options.emit.max_error > emit::MAX_ERROR => "such a --max-error: leave it at its default",
        emit::Precision::F32 => return Err(Error::Verification(why)),
    };
    // The blame is the wish's only where the network without it is right.
    match within(plain) {
        Ok(_) => Err(Error::Inexact(format!("{why}; the network does not bear {asked}"))),
        Err(_) => Err(Error::Verification(why)),
    }
}

/// Converts, with the steps in `direct`, by their names, not by Strassen's algorithm. `unsound` are those that the self-check, failed or
/// not, found to err too much by it, of the plans up to the one that failed.
fn convert_once(
    plans: Vec<Planned>,
    name: &str,
    format: &'static str,
    options: &ConvertOptions,
    direct: &HashSet<String>,
    references: &mut References,
    unsound: &mut Vec<String>,
    progress: &mut dyn Progress,
) -> Result<Converted> {
    let mut file = Emitter::new(options.emit).without_strassen(direct);
    let mut summary: Option<Summary> = None;
    let mut unchecked = Vec::new();
    for Planned { graph, import, wanted } in plans {
        let own = ConvertOptions { import, ..options.clone() };
        let (one, source) = add(&mut file, graph, name, format, &own, progress).map_err(|e| plans::of_plan(e, wanted))?;
        unchecked.push((wanted, source, one.report.pruned.clone()));
        let plan = one.plans.into_iter().map(|plan| PlanSummary { wanted, ..plan });
        match &mut summary {
            Some(summary) => summary.plans.extend(plan),
            None => summary = Some(Summary { plans: plan.collect(), ..one }),
        }
    }
    let mut summary = summary.ok_or_else(|| invalid("no plan"))?;
    let (structure, weights) = file.finish()?;
    let len = structure.len() + weights.len();
    let mut blocks = vec![Block::zeroed(); len.div_ceil(64)];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks);
    bytes[..structure.len()].copy_from_slice(&structure);
    bytes[structure.len()..len].copy_from_slice(&weights);
    drop((structure, weights));
    loads(&bytes[..len])?;
    if options.measure_drift && !options.no_verify {
        // It would be refused after the self-check.
        diff::by_steps(&sepal::Model::from_bytes(&bytes[..len]).map_err(|e| refused("is refused", &e))?)?;
    }

    for (i, (wanted, source, pruned)) in unchecked.into_iter().enumerate() {
        let Some(source) = source else { continue };
        if i == 0 {
            references.first.get_or_insert_with(|| source.clone());
        }
        let rounding = options.emit.precision == emit::Precision::F32;
        let limit = Limit { relative: summary.self_check_limit, pruned, rounding };
        progress.stage(Stage::SelfCheck);
        let bytes: &[u8] = bytemuck::cast_slice(&blocks);
        let mut mixed = Vec::new();
        let check = self_check(&source, &bytes[..len], i, &limit, references, &mut mixed, progress);
        for Mixed { name, error, .. } in mixed {
            if error > options.emit.max_error {
                unsound.push(name.clone());
            }
            if let Some(fast) = summary.fast.iter_mut().filter(|_| i == 0).find(|fast| fast.name == name) {
                fast.error = fast.error.max(error);
            }
        }
        let check = check.map_err(|e| plans::of_plan(e, wanted))?;
        if summary.self_check.as_ref().is_none_or(|worst| check.relative > worst.relative) {
            summary.self_check = Some(check.clone());
        }
        summary.plans[i].self_check = Some(check);
    }
    Ok(Converted { blocks, len, summary })
}

/// Adds a plan to a file. The summary is that of a file with this plan alone; with it comes what the plan is checked against.
fn add(
    file: &mut Emitter,
    graph: Graph,
    name: &str,
    format: &'static str,
    options: &ConvertOptions,
    progress: &mut dyn Progress,
) -> Result<(Summary, Option<Graph>)> {
    progress.stage(Stage::Passes);
    let Prepared { source, graph, report, preprocessing, folded_input, note } = prepare(graph, options)?;
    let (network, trainable_parameters, total_parameters) =
        (graph.name.clone(), graph.trainable_parameters, graph.total_parameters);
    let mut summary = Summary {
        network,
        format,
        trainable_parameters,
        total_parameters,
        parameters: provenance::parameters(&graph),
        report,
        fast: Vec::new(),
        rounded: Vec::new(),
        self_check_limit: self_check_limit(options.emit.precision),
        self_check: None,
        plans: Vec::new(),
        magnified: None,
        preprocessing,
        preprocessing_note: note,
    };

    progress.stage(Stage::Emit);
    let mut extra =
        vec![(section::PROVENANCE, provenance::provenance(name, &summary, options, folded_input.as_ref()).into_bytes())];
    if file.is_empty() {
        // What all plans share.
        extra.push((section::FOLDS, provenance::folds(&summary.report).into_bytes()));
        if let Some(p) = &summary.preprocessing {
            extra.push((section::PREPROCESSING, p.section()?));
        }
    }
    let Added { fast, rounded, weights_bytes } = file.add(&graph, &summary.report.origins, extra)?;
    (summary.fast, summary.rounded) = (fast, rounded);
    let fast = summary.fast.len();
    summary.plans.push(PlanSummary { wanted: Wanted::default(), weights_bytes, fast, self_check: None });
    Ok((summary, source))
}

/// What is written can be loaded. A source may ask for more than a file may.
fn loads(file: &[u8]) -> Result<()> {
    Proof::new(file).map(|_| ()).map_err(|e| match e.kind() {
        FormatErrorKind::Excess => {
            invalid("the network asks for more memory or work than a file of its size may (FORMAT.md, Bounds)")
        }
        _ => Error::Verification(format!("the converted file is refused: {e}")),
    })
}

/// What goes to the emitter, and what it is held against.
struct Prepared {
    /// Before the passes; nothing without a self-check.
    source: Option<Graph>,
    graph: Graph,
    report: Report,
    preprocessing: Option<Preprocessing>,
    /// What the network does to pictures itself, if it does.
    folded_input: Option<Preprocessing>,
    note: Option<String>,
}

/// Runs the passes, with the preprocessing inside of the network if that is wanted and exact.
fn prepare(graph: Graph, options: &ConvertOptions) -> Result<Prepared> {
    let mut given = options.preprocessing.clone();
    let mut note = None;
    if (given.is_none() || options.levels_from_network)
        && let Some(preprocessing::Wanted { input, level, kind }) = preprocessing::wanted_levels(&graph)
    {
        note = Some(format!("levels from 0 to {level}: what the network begins with, {kind}, takes those"));
        given = Some(Preprocessing { level, ..given.unwrap_or_else(|| Preprocessing { input, ..Preprocessing::default() }) });
    }
    // What a layer suggests of pictures is no word on all inputs.
    let declared = note.is_none();
    let run = |source: Graph, preprocessing: Option<Preprocessing>, folded_input, note| -> Result<Prepared> {
        // Weights are shared, so this copy costs the folded ones only.
        let copy = (!options.no_verify).then(|| source.clone());
        let mut wanted = options.passes.clone();
        wanted.inputs.extend(preprocessing.as_ref().filter(|_| declared).map(Preprocessing::range));
        let (graph, report) = passes::run_with(source, &wanted)?;
        Ok(Prepared { source: copy, graph, report, preprocessing, folded_input, note })
    };
    let Some(given) = given else { return run(graph, None, None, None) };
    given.fits(&graph)?;
    if !options.fold_input {
        return run(graph, Some(given), None, note);
    }
    let inside = preprocessing::with_input(graph.clone(), given.input, &given.mean, &given.std)?;
    let levels = Preprocessing { mean: vec![0.0], std: vec![1.0], ..given.clone() };
    let mut folded = run(inside, Some(levels), Some(given.clone()), None)?;
    let (prepared, note) = match folded.report.preprocessing.take() {
        None => (folded, "mean and deviation folded: they change nothing".into()),
        Some(Ok(place)) => (folded, format!("mean and deviation folded, {place}")),
        Some(Err(why)) => {
            let outside = run(graph, Some(given), None, None)?;
            (outside, format!("mean and deviation not folded, they stay outside of the network: {why}"))
        }
    };
    let mut report = prepared.report;
    report.notes.push(format!("preprocessing: {note}"));
    Ok(Prepared { report, note: Some(note), ..prepared })
}

/// How far a file may be from its source.
struct Limit {
    /// As a share of the largest magnitude of an output.
    relative: f64,
    /// What was pruned: the stated error comes on top, and holds for some inputs.
    pruned: Option<passes::Pruned>,
    /// Whether the source's own sensitivity to rounding counts: not where weights are stored as halves, which are promised a limit.
    rounding: bool,
}

impl Limit {
    fn allows(&self, check: &SelfCheck) -> bool {
        let rounding = check.rounding.map_or(0.0, |r| (r * TIMES_ROUNDING).min(MOST_ROUNDING));
        check.besides(self.pruned.as_ref()) <= self.relative.max(rounding)
    }

    /// Pseudo-random inputs that it holds for.
    fn inputs(&self, source: &Graph) -> Vec<Vec<f32>> {
        let mut random = Random::new(SELF_CHECK_SEED);
        let mut all: Vec<Vec<f32>> = source.inputs.iter().map(|&v| random.units(source.shape(v).iter().product())).collect();
        all.iter_mut().enumerate().for_each(|(i, values)| self.move_inside(i, values));
        all
    }

    /// Moves values from -1 to 1 to where input `i` is known to be, unless they are there.
    fn move_inside(&self, i: usize, values: &mut [f32]) {
        let Some(range) = self.pruned.as_ref().and_then(|p| p.inputs.get(i)) else { return };
        if range.lo > -1.0 || range.hi < 1.0 {
            for x in values {
                let inside = range.lo + (range.hi - range.lo) * (f64::from(*x) + 1.0) / 2.0;
                *x = inside.clamp(range.lo, range.hi) as f32;
            }
        }
    }
}

/// Compares all layers of the first plan and fills in how far they have drifted where a batch norm was folded.
fn drift(source: &Graph, converted: &mut Converted, progress: &mut dyn Progress) -> Result<()> {
    let Summary { self_check_limit: relative, report, .. } = &converted.summary;
    let limit = Limit { relative: *relative, pruned: report.pruned.clone(), rounding: false };
    let samples = [limit.inputs(source)];
    let model = sepal::Model::from_bytes(converted.bytes()).map_err(|e| refused("is refused", &e))?;
    progress.stage(Stage::SelfCheck);
    let diff = diff::diff(source, &model, &samples, limit.relative, &mut |done, all| progress.steps(done, all))?;
    let norms = source.nodes.iter().filter(|n| matches!(n.op, crate::ir::Op::BatchNorm { .. }));
    let ends = diff.behind(source);
    let drifts: Vec<_> = norms.map(|norm| ends.get(&norm.output).map(|l| l.stats.relative())).collect();
    for (fold, drift) in converted.summary.report.folds.iter_mut().zip(drifts) {
        fold.drift = drift;
    }
    Ok(())
}

/// Runs the file and interprets the source on the same pseudo-random inputs. `mixed` are the steps by Strassen's algorithm with their
/// errors, once the file has run.
fn self_check(
    source: &Graph,
    file: &[u8],
    plan: usize,
    limit: &Limit,
    references: &mut References,
    mixed: &mut Vec<Mixed>,
    progress: &mut dyn Progress,
) -> Result<SelfCheck> {
    interp::affordable(source).map_err(|e| match e {
        Error::TooLarge(what) => Error::TooLarge(format!("{what}; --no-verify leaves the self-check out")),
        other => other,
    })?;
    let inputs = limit.inputs(source);
    let model = sepal::Model::from_bytes(file).map_err(|e| refused("is refused", &e))?;
    let model = model.plan(plan).ok_or_else(|| refused("lacks plan", &plan))?;
    let arena = model.arena_bytes(sepal::Options::default().threads);
    if arena > diff::MOST_ARENA {
        let what = format!("an arena of {arena} bytes is more than the self-check takes; --no-verify leaves it out");
        return Err(Error::TooLarge(what));
    }
    let mut session = sepal::Session::new(&model, sepal::Options::default()).map_err(|e| refused("gives no session", &e))?;
    for (i, values) in inputs.iter().enumerate() {
        let input = session.input_mut(i).filter(|input| input.len() == values.len());
        input.ok_or_else(|| refused("has another input", &i))?.copy_from_slice(values);
    }
    let view = model.view();
    *mixed = mixed::steps(&view);
    session.run_watched(&mut |i, arena| {
        if let Some(one) = mixed.iter_mut().find(|one| one.step == i)
            && let Some(error) = mixed::error(&view, i, arena)
        {
            one.error = error;
        }
    });

    let mut reference = match references.take(plan) {
        Some(known) => known,
        None => Reference::of(source, &inputs, progress)?,
    };
    let check = compare_outputs(source, &inputs, &session, &mut reference, limit, progress);
    references.keep(plan, reference);
    check
}

fn refused(what: &str, e: &dyn std::fmt::Display) -> Error {
    Error::Verification(format!("the converted file {what}: {e}"))
}

/// The worst output of a session that has run.
fn compare_outputs(
    source: &Graph,
    inputs: &[Vec<f32>],
    session: &sepal::Session<'_>,
    reference: &mut Reference,
    limit: &Limit,
    progress: &mut dyn Progress,
) -> Result<SelfCheck> {
    // No arithmetic of f32 gives what its range does not hold.
    let overflow = reference.overflow;
    let fault = |e: Error| overflow.map_or(e, |v| overflows(source, v));
    let mut worst: Option<SelfCheck> = None;
    for i in 0..reference.want.len() {
        let want = &reference.want[i];
        let name = source.output_names.get(i).cloned().unwrap_or_default();
        let got = session.output(i).filter(|got| got.len() == want.len());
        let got = got.ok_or_else(|| refused("has another output", &name))?;
        let mut one = compare(name, got, want).map_err(fault)?;
        if !limit.allows(&one) && limit.rounding {
            let moved = reference.moved(source, inputs, i, progress)?;
            one.rounding = moved.filter(|_| one.max_abs > 0.0).map(|moved| one.relative * (moved / one.max_abs));
        }
        if !limit.allows(&one) {
            let SelfCheck { output, max_abs, relative, rounding } = one;
            // What the network itself makes of roundings is nobody's fault.
            if let Some(r) = rounding.filter(|r| relative <= r * TIMES_ROUNDING) {
                return Err(fault(Error::Inexact(format!(
                    "output {output} is off by {max_abs:.3e}, {relative:.1e} of its range; rounding the source's tensors to f32 moves it by \
                     {r:.1e} already: no arithmetic of f32 computes it"
                ))));
            }
            let pruning = limit.pruned.as_ref().map_or(String::new(), |p| format!(", and {:.3e} for pruning", p.error));
            return Err(fault(Error::Verification(format!(
                "output {output} is off by {max_abs:.3e}, {relative:.3e} of its range; allowed is {:.0e}{pruning}",
                limit.relative
            ))));
        }
        if worst.as_ref().is_none_or(|w| one.relative > w.relative) {
            worst = Some(one);
        }
    }
    worst.ok_or_else(|| invalid("a network without outputs"))
}

/// Of a network whose own values, first those of `v`, are beyond f32.
fn overflows(source: &Graph, v: ValueId) -> Error {
    let (node, kind) = match source.producers().get(&v).map(|&i| &source.nodes[i]) {
        Some(node) => (node.name.clone(), node.kind.clone()),
        None => (source.values[v.0].name.clone(), "input".into()),
    };
    let what = "the network's own values are not finite in f32, here first: for inputs from -1 to 1 in the self-check".into();
    let remedy = "give it weights and constants of a sound size; --no-verify leaves the self-check out".into();
    Error::Unsupported(vec![Unsupported { node, kind, what, remedy }])
}

fn compare(output: String, got: &[f32], want: &[f64]) -> Result<SelfCheck> {
    let (mut range, mut max_abs) = (0f64, 0f64);
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        // What overflows f32 is infinite in the file and finite in the interpreter.
        let w = if w.abs() > f64::from(f32::MAX) { f64::INFINITY.copysign(w) } else { w };
        let g = f64::from(g);
        if g.is_nan() != w.is_nan() || (g.is_infinite() || w.is_infinite()) && g != w {
            return Err(Error::Verification(format!("output {output}, element {i}: {g}, the source gives {w}")));
        }
        if w.is_finite() {
            range = range.max(w.abs());
            max_abs = max_abs.max((g - w).abs());
        }
    }
    // Below the smallest number with all its digits f32 has others, or none.
    let relative = if max_abs < f64::from(f32::MIN_POSITIVE) { 0.0 } else { max_abs / range };
    Ok(SelfCheck { output, max_abs, relative, rounding: None })
}

/// The largest difference of two numbers at the same place; what is not finite differs by nothing.
fn farthest(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).filter(|d| d.is_finite()).fold(0.0, f64::max)
}

impl Converted {
    /// The file; aligned to 64, so that the runtime takes it as it is.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }

    /// Writes the file under a temporary name in the same folder and renames it, so that nothing half-written is ever seen.
    ///
    /// # Errors
    /// [`Error::Io`], also for a file that exists, unless `force`.
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        write_whole(path, force, |file| file.write_all(self.bytes())).map_err(|source| Error::Io { path: path.into(), source })
    }
}

mod reference;
#[cfg(test)]
mod tests;
