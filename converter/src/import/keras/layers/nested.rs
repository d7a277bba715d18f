//! Layers that hold other layers: `Pipeline` and `TimeDistributed`.

use super::{Cfg, Emit, Integers, Layer, Operands, Var, nothing, parse};
use crate::error::Result;
use crate::import::keras::config::{MAX_CLASS, full_class, is_model, refuse_dtype};
use crate::ir::{Graph, Node, Op, ValueId};
use serde_json::Value;

/// What is refused of one layer's layers.
const MAX_FAULTS: usize = 64;

/// A layer in another one's configuration.
struct Inner {
    class: String,
    layer: Box<dyn Layer>,
    trainable: bool,
}

impl Inner {
    /// Understands a layer in a configuration; what it asks for in vain is refused in the name of the one that holds it.
    fn read(cfg: &Cfg<'_>, key: &str, json: &Value, weights: bool) -> Result<Inner> {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        if ["class_name", "registered_name", "module"].iter().any(|name| text(name).is_some_and(|t| t.len() > MAX_CLASS)) {
            return Err(cfg.bad(key));
        }
        let class = full_class(json, text("class_name").ok_or_else(|| cfg.bad(key))?);
        let map = json.get("config").and_then(Value::as_object).ok_or_else(|| cfg.bad(key))?;
        let mut inner = Cfg::new(cfg.path, &class, text("module").unwrap_or_default(), cfg.keras, map);
        inner.middles = cfg.middles;
        refuse_dtype(&inner);
        let layer = if json.get("config").is_some_and(|config| is_model(&class, config)) {
            inner.refuse(format!("a network within {}", cfg.class), "put a layer into it, or the network itself into the network");
            nothing()
        } else {
            parse(&inner)?
        };
        if !layer.vars().is_empty() && (!weights || layer.vars().iter().any(|var| !var.part.is_empty())) {
            inner.refuse(format!("it has weights, within {}", cfg.class), "put it into the network itself");
        }
        // Each says the path, which is paid for when all are known.
        let left = MAX_FAULTS.saturating_sub(cfg.faults());
        for fault in inner.into_faults().into_iter().take(left) {
            cfg.refuse(format!("{}: {}", super::short(&class), fault.what), fault.remedy);
        }
        Ok(Inner { class, layer, trainable: map.get("trainable").and_then(Value::as_bool).unwrap_or(true) })
    }

    /// Its variables, as those of the layer that holds it.
    fn vars(&self) -> impl Iterator<Item = Var> {
        let own = |var: Var| Var { trainable: var.trainable && self.trainable, ..var.of("layer") };
        self.layer.vars().into_iter().map(own)
    }

    /// One call, whose last node has a path of its own if there is a `part`.
    fn emit(&self, e: &mut Emit<'_>, part: &str, x: ValueId) -> Result<ValueId> {
        let copied = 1 + e.path.len() / 8;
        e.afford(copied)?;
        *e.budget -= copied;
        let path = if part.is_empty() { e.path.clone() } else { format!("{}/{part}", e.path) };
        let mut emit = Emit {
            graph: e.graph,
            path,
            layer: e.layer,
            kind: &self.class,
            located: e.located,
            file: e.file,
            constants: e.constants,
            budget: e.budget,
        };
        self.layer.emit(&mut emit, &Operands::one(x))
    }
}

/// Layers one behind the other.
struct Pipeline(Vec<Inner>);

/// `Pipeline`, whose layers have no weights.
pub(super) fn pipeline(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let all = cfg.get("layers").and_then(Value::as_array).ok_or_else(|| cfg.bad("layers"))?;
    Ok(Box::new(Pipeline(all.iter().map(|json| Inner::read(cfg, "layers", json, false)).collect::<Result<_>>()?)))
}

impl Layer for Pipeline {
    fn integers(&self, inputs: &Operands) -> Integers {
        // Behind the first that makes floats of them there are none.
        let kinds = || self.0.iter().map(|inner| inner.layer.integers(inputs));
        kinds().find(|&kind| kind != Integers::Kept).unwrap_or(Integers::Kept)
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let mut x = e.single(inputs)?;
        for (i, inner) in self.0.iter().enumerate() {
            let part = if i + 1 < self.0.len() { i.to_string() } else { String::new() };
            x = inner.emit(e, &part, x)?;
        }
        Ok(x)
    }
}

/// The layer that another one holds.
fn held(cfg: &Cfg<'_>) -> Result<Inner> {
    let json = cfg.get("layer").ok_or_else(|| cfg.bad("layer"))?;
    Inner::read(cfg, "layer", json, true)
}

/// A layer whose kernel is divided by its norm in training, and stays as it is otherwise.
struct Spectral(Inner);

/// `SpectralNormalization`.
pub(super) fn spectral(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(Box::new(Spectral(held(cfg)?)))
}

impl Layer for Spectral {
    fn vars(&self) -> Vec<Var> {
        // The kernel is there once more, as the wrapper's own.
        self.0.vars().chain([Var { number: Some(1), ..Var::fixed("vector_u") }]).collect()
    }

    fn integers(&self, inputs: &Operands) -> Integers {
        self.0.layer.integers(inputs)
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        self.0.emit(e, "", x)
    }
}

/// A layer that is called with each slice along axis 1.
struct Distributed(Inner);

/// `TimeDistributed`.
pub(super) fn distributed(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(Box::new(Distributed(held(cfg)?)))
}

impl Layer for Distributed {
    fn vars(&self) -> Vec<Var> {
        self.0.vars().collect()
    }

    fn integers(&self, inputs: &Operands) -> Integers {
        self.0.layer.integers(inputs)
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shape = e.shape(x);
        let [n, times, ref rest @ ..] = shape[..] else { return Err(e.invalid(format!("takes at least 3 axes, not {shape:?}"))) };
        if rest.is_empty() {
            return Err(e.invalid(format!("takes at least 3 axes, not {shape:?}")));
        }
        // All slices are samples for it.
        let samples = n.saturating_mul(times);
        let before = e.graph.nodes.len();
        let all = e.node("samples", Op::Reshape, &[x], &[&[samples], rest].concat())?;
        let y = self.0.emit(e, "layer", all)?;
        if e.graph.nodes[before..].iter().any(|node| mixes(e.graph, node)) {
            return Err(e.unsupported("its layer works along the axis of samples", "put the layer into the network itself"));
        }
        let made = e.shape(y);
        if made.first() != Some(&samples) {
            return Err(e.invalid(format!("its layer makes {made:?} of {samples} samples")));
        }
        e.node("", Op::Reshape, &[y], &[&[n, times], &made[1..]].concat())
    }
}

/// Whether a node computes across samples: those of a slice are not all that there are.
fn mixes(graph: &Graph, node: &Node) -> bool {
    // A constant that is another one for each.
    let apart = |v: &ValueId| {
        let shape = graph.shape(*v);
        graph.data(*v).is_some() && shape.len() == graph.shape(node.output).len() && shape.first() != Some(&1)
    };
    match &node.op {
        Op::Softmax { axis, .. } | Op::Concat { axis } => *axis == 0,
        Op::Reduce { axes, .. } => axes.contains(&0),
        Op::Binary { .. } => node.inputs.iter().any(apart),
        _ => false,
    }
}
