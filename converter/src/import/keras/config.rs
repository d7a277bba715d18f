//! The JSON description of a network: models of layers of calls.
//!
//! Keras 2 writes a call as a list of `[layer, call, tensor, kwargs]`, Keras 3 as `{"args": .., "kwargs": ..}` with tensors as
//! `{"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, tensor]}}`. A Sequential model has no calls:
//! each layer takes what the one before gives.

use super::h5::Dataset;
use super::layers::{self, Cfg, Layer};
use crate::error::{Error, Result, Unsupported, invalid};
use crate::import::MAX_NAME;
use crate::import::shape::MAX_RANK;
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Bytes of the names of all layers, each with the models that it is in.
const MAX_PATHS: usize = 8 << 20;
/// Longest name of a class, a function or an argument.
pub(super) const MAX_CLASS: usize = 256;

/// What is known while a description is read.
struct Reading<'a> {
    /// The major version that wrote it.
    keras: u32,
    /// See [`Cfg::middles`].
    middles: bool,
    /// Bytes that the paths of further layers may have.
    paths: Cell<usize>,
    /// The layers that say that they may be there once more, by their numbers.
    shared: RefCell<HashMap<u64, &'a Value>>,
}

/// A network, or a network used as a layer of another one.
pub(super) struct Model {
    /// Its name.
    pub name: String,
    /// Its layers, in Keras's order.
    pub layers: Vec<LayerDef>,
    /// What it is called with.
    pub inputs: Vec<TensorRef>,
    /// What each of that is called where the network is called with a dictionary.
    pub keys: Vec<String>,
    /// What it gives.
    pub outputs: Vec<TensorRef>,
}

/// A layer and all the places where it is called.
pub(super) struct LayerDef {
    /// Its name, unique in its model.
    pub name: String,
    /// Keras's class name.
    pub class: String,
    /// Whether training changes its variables.
    pub trainable: bool,
    /// The type of an input whose elements are integers.
    pub integer: Option<String>,
    /// What it is.
    pub body: Body,
    /// Its calls, in Keras's order.
    pub calls: Vec<Call>,
    /// What it asks for in vain.
    pub faults: Vec<Unsupported>,
    /// What its configuration weighs, to be read once more with each call.
    pub weight: usize,
    /// The same number where the network has the same layer once more, in versions that say so.
    pub shared: Option<u64>,
    /// Its variables, once they have been found.
    pub located: Vec<(&'static str, Dataset)>,
}

/// What a layer is.
pub(super) enum Body {
    /// A placeholder, with its extents as far as they are known.
    Input(Option<Vec<Option<usize>>>),
    /// A layer that computes.
    Layer(Box<dyn Layer>),
    /// A network.
    Model(Model),
}

/// A result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TensorRef {
    /// Index of the layer in its model.
    pub layer: usize,
    /// Index of the call.
    pub call: usize,
    /// Index of the result.
    pub tensor: usize,
}

/// What a layer is called with.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// By position; lists of tensors are flattened.
    pub args: Vec<Arg>,
    /// By name.
    pub named: Vec<(String, Arg)>,
    /// Whether one of these was a list of tensors.
    listed: bool,
}

/// Something that a layer is called with.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// A tensor.
    Tensor(TensorRef),
    /// Anything else; shared, since a network within a network may be called often.
    Value(Arc<Value>),
    /// A list or map in which there are tensors, by their numbers, beside other things.
    Nest(Nest, Vec<TensorRef>),
}

/// A list or map with places for tensors.
#[derive(Clone, Debug)]
pub(super) enum Nest {
    /// The place of one, by its number.
    Tensor(usize),
    /// What is none of the others.
    Value(Value),
    /// A list.
    List(Vec<Nest>),
    /// A map.
    Map(Vec<(String, Nest)>),
}

impl Nest {
    fn read(v: &Value, index: &HashMap<String, usize>, tensors: &mut Vec<TensorRef>) -> Nest {
        if let Some(t) = tensor(v, index) {
            tensors.push(t);
            return Nest::Tensor(tensors.len() - 1);
        }
        match v {
            Value::Array(list) => Nest::List(list.iter().map(|v| Nest::read(v, index, tensors)).collect()),
            Value::Object(map) => Nest::Map(map.iter().map(|(key, v)| (key.clone(), Nest::read(v, index, tensors))).collect()),
            v => Nest::Value(v.clone()),
        }
    }

    /// The list or map, with something in the place of each tensor.
    pub fn fill(&self, tensor: &dyn Fn(usize) -> Value) -> Value {
        match self {
            Nest::Tensor(number) => tensor(*number),
            Nest::Value(v) => v.clone(),
            Nest::List(list) => list.iter().map(|nest| nest.fill(tensor)).collect(),
            Nest::Map(map) => Value::Object(map.iter().map(|(key, nest)| (key.clone(), nest.fill(tensor))).collect()),
        }
    }

    /// As [`weight`](layers::weight) of what it becomes.
    pub fn weight(&self) -> usize {
        match self {
            Nest::Tensor(_) => 2,
            Nest::Value(v) => layers::weight(v),
            Nest::List(list) => 1 + list.iter().map(Nest::weight).sum::<usize>(),
            Nest::Map(map) => 1 + map.iter().map(|(key, nest)| 1 + key.len() / 8 + nest.weight()).sum::<usize>(),
        }
    }
}

impl Arg {
    fn tensors(&self) -> &[TensorRef] {
        match self {
            Arg::Tensor(t) => std::slice::from_ref(t),
            Arg::Value(_) => &[],
            Arg::Nest(_, all) => all,
        }
    }

    fn tensors_mut(&mut self) -> &mut [TensorRef] {
        match self {
            Arg::Tensor(t) => std::slice::from_mut(t),
            Arg::Value(_) => &mut [],
            Arg::Nest(_, all) => all,
        }
    }
}

impl Call {
    /// All tensors.
    pub fn tensors(&self) -> impl Iterator<Item = TensorRef> {
        let all = self.args.iter().chain(self.named.iter().map(|(_, a)| a));
        all.flat_map(Arg::tensors).copied()
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut TensorRef> {
        let all = self.args.iter_mut().chain(self.named.iter_mut().map(|(_, a)| a));
        all.flat_map(Arg::tensors_mut)
    }
}

/// Reads the description of a network.
///
/// # Errors
/// [`Error::Invalid`] if it is inconsistent, [`Error::Unsupported`] if it is not a graph of layers.
pub(super) fn parse(json: &Value, keras: u32, middles: bool) -> Result<Model> {
    let class = json.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let config = json.get("config").ok_or_else(|| invalid("the network's description has no `config`"))?;
    let full = full_class(json, class);
    if !is_model(&full, config) {
        let (what, remedy) = if has_layers(config) {
            OWN_MODEL
        } else {
            (
                "a subclassed model has no description of its layers",
                "build the network with the functional or the Sequential API and save it again",
            )
        };
        return Err(Error::Unsupported(vec![Unsupported {
            node: config.get("name").and_then(Value::as_str).unwrap_or("model").into(),
            kind: layers::short(full),
            what: what.into(),
            remedy: remedy.into(),
        }]));
    }
    let reading = Reading { keras, middles, paths: Cell::new(MAX_PATHS), shared: RefCell::default() };
    model(config, class, "", &reading)
}

/// What is said of a network whose class is not one of Keras' own.
const OWN_MODEL: (&str, &str) = (
    "a model class that is not one of Keras' own may compute anything",
    "save keras.Model(model.inputs, model.outputs), if that computes the same",
);

/// The class of a serialized object, with its package or module before it if it is not one of Keras' own.
pub(super) fn full_class(json: &Value, class: &str) -> String {
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let module = text("module").unwrap_or_default();
    // Keras 3 keeps the package of a registered class apart from its name.
    let own = ["keras", "tf_keras", "tensorflow"].iter().any(|m| module.split('.').next() == Some(m));
    match text("registered_name").filter(|_| !own) {
        // Keras's own has a module where there are registered names.
        Some(registered) if registered.contains('>') && registered != layers::SCALED_ADD => registered.to_owned(),
        Some(registered) => format!("custom>{registered}"),
        None if !own && !module.is_empty() => format!("{module}>{class}"),
        None => class.to_owned(),
    }
}

/// Whether a serialized object is a network rather than a single layer. A class that somebody derived from these may do something else
/// with its layers.
pub(super) fn is_model(full_class: &str, config: &Value) -> bool {
    match layers::builtin(full_class) {
        Some("Sequential") => true,
        Some("Functional" | "Model") => has_layers(config),
        _ => false,
    }
}

fn has_layers(config: &Value) -> bool {
    config.get("layers").is_some_and(Value::is_array)
}

fn model<'a>(config: &'a Value, class: &str, path: &str, reading: &Reading<'a>) -> Result<Model> {
    let name = config.get("name").and_then(Value::as_str).unwrap_or("model").to_string();
    let list = config.as_array().or_else(|| config.get("layers").and_then(Value::as_array));
    let list = list.ok_or_else(|| invalid(format!("model `{name}` has no list of layers")))?;
    let mut layers = Vec::with_capacity(list.len());
    for json in list {
        layers.push(layer(json, path, reading)?);
    }
    if class == "Sequential" {
        sequential(config, name, layers)
    } else {
        functional(config, list, name, path, layers, reading.keras)
    }
}

fn layer<'a>(json: &'a Value, path: &str, reading: &Reading<'a>) -> Result<LayerDef> {
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let class = text("class_name").ok_or_else(|| invalid("a layer has no `class_name`"))?;
    // Repeated in each node, and in what is said of it.
    if let Some(long) =
        ["class_name", "registered_name", "module"].into_iter().find(|key| text(key).is_some_and(|t| t.len() > MAX_CLASS))
    {
        return Err(invalid(format!("a layer has a `{long}` of more than {MAX_CLASS} bytes")));
    }
    let config = json.get("config").ok_or_else(|| invalid(format!("a layer of class {class} has no `config`")))?;
    let name = text("name").or_else(|| config.get("name").and_then(Value::as_str));
    let name = name.map_or_else(|| super::weights::snake_case(class), str::to_string);
    let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
    if path.len() > MAX_NAME {
        return Err(invalid(format!(
            "a layer has a name of {} bytes, with the models that it is in; shorten it to {MAX_NAME}",
            path.len()
        )));
    }
    let left = reading.paths.get().checked_sub(path.len());
    reading.paths.set(left.ok_or_else(|| invalid(format!("the names of all layers are too long; shorten that of `{path}`")))?);
    let mut faults = Vec::new();
    let full = full_class(json, class);
    let mut integer = None;
    let body = if is_model(&full, config) {
        Body::Model(model(config, class, &path, reading)?)
    } else {
        let empty = Map::new();
        let map = config.as_object().unwrap_or(&empty);
        if class == "InputLayer" {
            let kind = dtype(map.get("dtype"));
            if ["int", "uint", "bool"].iter().any(|integer| kind.starts_with(integer)) {
                integer = Some(kind.to_owned());
            } else {
                let cfg = Cfg::new(&path, class, "", reading.keras, map);
                refuse_dtype(&cfg);
                faults = cfg.into_faults();
            }
            Body::Input(extents(map, &path)?)
        } else {
            let module = text("module").unwrap_or_default();
            let mut cfg = Cfg::new(&path, &full, module, reading.keras, map);
            cfg.middles = reading.middles;
            refuse_dtype(&cfg);
            if cfg.get("lora_rank").is_some() {
                cfg.refuse("lora_rank", "merge the low-rank update into the kernel before saving");
            }
            let body = if has_layers(config) && layers::builtin(&full).is_none() {
                cfg.refuse(OWN_MODEL.0, OWN_MODEL.1);
                layers::nothing()
            } else {
                layers::parse(&cfg)?
            };
            faults = cfg.into_faults();
            // Each says the path.
            let left = reading.paths.get().checked_sub(faults.len() * path.len());
            reading.paths.set(left.ok_or_else(|| invalid("the network asks for too much that is not supported"))?);
            Body::Layer(body)
        }
    };
    let trainable = config.get("trainable").and_then(Value::as_bool).unwrap_or(true);
    let weight = if let Body::Layer(_) = body { layers::weight(config) } else { 0 };
    let shared = json.get("shared_object_id").and_then(Value::as_u64);
    if let Some(id) = shared {
        let first = *reading.shared.borrow_mut().entry(id).or_insert(json);
        if !["class_name", "config"].iter().all(|key| alike(first.get(key), json.get(key))) {
            return Err(invalid(format!(
                "layer `{path}` is another layer once more by its `shared_object_id`, and has another configuration; save the network again"
            )));
        }
    }
    let class = class.into();
    Ok(LayerDef { name, class, trainable, integer, body, calls: Vec::new(), faults, weight, shared, located: Vec::new() })
}

/// Whether two descriptions are of the same thing: only the second time says that it has been there before.
fn alike(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            // Each pair is compared once: twice at each level would be 2^depth times at the last.
            let told = |key: &&String| *key != "shared_object_id";
            a.keys().filter(told).all(|key| alike(a.get(key), b.get(key))) && b.keys().filter(told).all(|key| a.contains_key(key))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(Some(a), Some(b)))
        }
        (a, b) => a == b,
    }
}

/// The name of a type or of a policy of types; float32 if there is none.
fn dtype(policy: Option<&Value>) -> &str {
    let Some(policy) = policy.filter(|p| !p.is_null()) else { return "float32" };
    let config = policy.get("config").unwrap_or(policy);
    // A map of policies that names no layer is its default.
    let empty = config.get("policy_map").and_then(Value::as_object).is_some_and(Map::is_empty);
    let name = config.get("name").or_else(|| config.get("default_policy").filter(|_| empty));
    name.or(Some(config)).and_then(Value::as_str).unwrap_or_default()
}

/// Layers compute in f32; those of mixed precision keep their variables in f32.
pub(super) fn refuse_dtype(cfg: &Cfg<'_>) {
    let Some(policy) = cfg.get("dtype") else { return };
    let name = dtype(Some(policy));
    let class = policy.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let floats = ["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"];
    if class.starts_with("Quantized") || !floats.contains(&name) {
        cfg.refuse(format!("dtype = {}", layers::short(policy)), "save the network with dtype float32");
    }
}

/// The extents in an input's configuration, `None` where they are open.
fn extents(map: &Map<String, Value>, name: &str) -> Result<Option<Vec<Option<usize>>>> {
    let find = |key: &str| map.get(key).and_then(Value::as_array);
    let list = find("batch_shape").or_else(|| find("batch_input_shape"));
    let without_batch = find("shape").or_else(|| find("input_shape"));
    let one = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    let axes = list.or(without_batch).map_or(0, Vec::len);
    if axes > MAX_RANK {
        return Err(invalid(format!("the input of `{name}` has {axes} axes; no layer takes more than {MAX_RANK}")));
    }
    Ok(match (list, without_batch) {
        (Some(list), _) => Some(list.iter().map(one).collect()),
        (None, Some(list)) => Some(std::iter::once(None).chain(list.iter().map(one)).collect()),
        (None, None) => None,
    })
}

fn sequential(config: &Value, name: String, mut layers: Vec<LayerDef>) -> Result<Model> {
    if layers.is_empty() {
        return Err(invalid(format!("model `{name}` has no layers")));
    }
    if !matches!(layers[0].body, Body::Input(_)) {
        let first = config.as_array().or_else(|| config.get("layers").and_then(Value::as_array)).and_then(|l| l.first());
        let first_config = first.and_then(|l| l.get("config")).and_then(Value::as_object);
        let built = || config.get("build_input_shape").cloned().map(|v| Map::from_iter([("batch_shape".to_string(), v)]));
        let said = |map: Option<&Map<String, Value>>| map.map_or(Ok(None), |map| extents(map, &name));
        let shape = match said(first_config)?.or_else(|| model_extents(&layers[0].body)) {
            None => said(built().as_ref())?,
            shape => shape,
        };
        layers.insert(
            0,
            LayerDef {
                name: format!("{}_input", layers[0].name),
                class: "InputLayer".into(),
                trainable: false,
                integer: None,
                body: Body::Input(shape),
                calls: Vec::new(),
                faults: Vec::new(),
                weight: 0,
                shared: None,
                located: Vec::new(),
            },
        );
    }
    let mut names = HashSet::new();
    if let Some(twice) = layers.iter().find(|l| !names.insert(&l.name)) {
        return Err(invalid(format!("model `{name}` has two layers `{}`", twice.name)));
    }
    for (i, layer) in layers.iter_mut().enumerate() {
        let before = i.checked_sub(1).map(|layer| Arg::Tensor(TensorRef { layer, call: 0, tensor: 0 }));
        layer.calls = vec![Call { args: before.into_iter().collect(), ..Call::default() }];
    }
    let first = TensorRef { layer: 0, call: 0, tensor: 0 };
    let last = TensorRef { layer: layers.len() - 1, ..first };
    let keys = vec![layers[0].name.clone()];
    Ok(Model { name, layers, inputs: vec![first], keys, outputs: vec![last] })
}

/// The extents of a network's first input.
fn model_extents(body: &Body) -> Option<Vec<Option<usize>>> {
    let Body::Model(model) = body else { return None };
    match &model.layers.get(model.inputs.first()?.layer)?.body {
        Body::Input(shape) => shape.clone(),
        _ => None,
    }
}

fn functional(config: &Value, list: &[Value], name: String, path: &str, mut layers: Vec<LayerDef>, keras: u32) -> Result<Model> {
    let mut index = HashMap::new();
    for (i, l) in layers.iter().enumerate() {
        if index.insert(l.name.clone(), i).is_some() {
            return Err(invalid(format!("model `{name}` has two layers `{}`", l.name)));
        }
    }
    for (layer, json) in layers.iter_mut().zip(list) {
        let nodes = json.get("inbound_nodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for node in nodes {
            let call = call(node, &layer.class, &index)
                .ok_or_else(|| invalid(format!("layer `{}` has a call that makes no sense", layer.name)))?;
            if call.listed && !takes_lists(layer, json) {
                let (what, remedy) =
                    ("a list of tensors where a tensor is expected", "join them by a layer, or call it with the tensor itself");
                let (node, kind) = (layer.name.clone(), layer.class.clone());
                return Err(Error::Unsupported(vec![Unsupported { node, kind, what: what.into(), remedy: remedy.into() }]));
            }
            layer.calls.push(call);
        }
        // Keras 3 runs a network with the caller's `training`, whatever the calls say.
        let training = |(n, a): &(String, Arg)| {
            n == "training" && !matches!(a, Arg::Value(v) if v.is_null() || layers::flag(v) == Some(false))
        };
        if keras < 3 && layer.calls.iter().any(|c| c.named.iter().any(training)) {
            layer.faults.push(Unsupported {
                node: if path.is_empty() { layer.name.clone() } else { format!("{path}/{}", layer.name) },
                kind: layer.class.clone(),
                what: "is called with `training` set".into(),
                remedy: "call it without `training` and save the network again".into(),
            });
        }
        // Keras's own adds to a tensor what the last convolution of a block gives, scaled as these blocks do; of any other one, which
        // HDF5 files do not tell from it, nobody knows what it does.
        let scale = json.get("config").and_then(|c| c.get("scale")).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let branch = |a: Option<&Arg>| matches!(a, Some(Arg::Tensor(t)) if branch_scales(&list[t.layer]).contains(&scale));
        let named = layers::SCALED_ADD == layer.class || layer.class == "CustomScaleLayer";
        let scaled = named && json.get("module").is_none_or(Value::is_null);
        if scaled && !layer.calls.iter().all(|c| c.args.len() == 2 && branch(c.args.get(1))) {
            layer.faults.push(Unsupported {
                node: if path.is_empty() { layer.name.clone() } else { format!("{path}/{}", layer.name) },
                kind: layer.class.clone(),
                what: "is not that of Keras's InceptionResNetV2".into(),
                remedy: "replace it by Rescaling and Add".into(),
            });
        }
        // An input is a result without a call.
        if matches!(layer.body, Body::Input(_)) {
            layer.calls = vec![Call::default()];
        }
    }
    let ends = |key: &str| {
        let mut refs = Vec::new();
        collect(config.get(key).unwrap_or(&Value::Null), &index, &mut refs);
        if refs.is_empty() { Err(invalid(format!("model `{name}` has no `{key}`"))) } else { Ok(refs) }
    };
    let (inputs, outputs) = (ends("input_layers")?, ends("output_layers")?);
    let keys = match config.get("input_layers").and_then(Value::as_object).filter(|map| map.len() == inputs.len()) {
        Some(map) => map.keys().cloned().collect(),
        None => inputs.iter().map(|t| layers[t.layer].name.clone()).collect(),
    };
    let mut model = Model { name, layers, inputs, keys, outputs };
    renumber(&mut model, keras)?;
    Ok(model)
}

/// Makes every reference valid. Nested networks have a call of their own, their construction, and versions differ about
/// whether it counts: Keras 2 counts it in some versions, for all references alike, and then the last call of such a layer has
/// an index that does not exist; Keras 3 counts it in the outputs of the model and nowhere else.
fn renumber(model: &mut Model, keras: u32) -> Result<()> {
    if keras >= 3 {
        for t in &mut model.outputs {
            let layer = &model.layers[t.layer];
            if matches!(layer.body, Body::Model(_)) && layer.class != "Sequential" {
                t.call = t.call.saturating_sub(1);
            }
        }
    }
    let mut largest = vec![0; model.layers.len()];
    let calls = model.layers.iter().flat_map(|l| &l.calls).flat_map(Call::tensors);
    for t in calls.chain(model.inputs.iter().copied()).chain(model.outputs.iter().copied()) {
        largest[t.layer] = largest[t.layer].max(t.call);
    }
    let mut shift = vec![0; model.layers.len()];
    for (i, l) in model.layers.iter().enumerate() {
        if largest[i] >= l.calls.len() {
            shift[i] = 1;
            if largest[i] != l.calls.len() || l.calls.is_empty() {
                return Err(invalid(format!("call {} of layer `{}` is used, but does not exist", largest[i], l.name)));
            }
        }
    }
    let calls = model.layers.iter_mut().flat_map(|l| &mut l.calls).flat_map(Call::tensors_mut);
    let mut wrong = None;
    for t in calls.chain(&mut model.inputs).chain(&mut model.outputs) {
        match t.call.checked_sub(shift[t.layer]) {
            Some(call) => t.call = call,
            None => wrong = Some(t.layer),
        }
    }
    match wrong {
        Some(i) => Err(invalid(format!("the calls of layer `{}` are numbered inconsistently", model.layers[i].name))),
        None => Ok(()),
    }
}

/// A tensor as `[layer, call, tensor]`, possibly with more after it.
fn tensor(v: &Value, index: &HashMap<String, usize>) -> Option<TensorRef> {
    let [name, call, tensor, ..] = v.as_array()?.as_slice() else { return None };
    let layer = *index.get(name.as_str()?)?;
    let small = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    Some(TensorRef { layer, call: small(call)?, tensor: small(tensor)? })
}

/// All tensors in a nest of lists and maps, in order.
fn collect(v: &Value, index: &HashMap<String, usize>, into: &mut Vec<TensorRef>) {
    if let Some(t) = tensor(v, index) {
        into.push(t);
    } else if let Some(list) = v.as_array() {
        list.iter().for_each(|v| collect(v, index, into));
    } else if let Some(map) = v.as_object() {
        map.values().for_each(|v| collect(v, index, into));
    }
}

/// What the last convolution of a block of Keras's InceptionResNetV2 is scaled by; nothing for other layers.
fn branch_scales(layer: &Value) -> &'static [f64] {
    let name = layer.get("name").and_then(Value::as_str).unwrap_or_default();
    let block = name.strip_prefix("block").and_then(|name| name.strip_suffix("_conv")).and_then(|name| name.split_once('_'));
    match block.filter(|(_, number)| number.bytes().all(|b| b.is_ascii_digit())) {
        Some(("35", _)) => &[0.17],
        Some(("17", _)) => &[0.1],
        Some(("8", _)) => &[0.2, 1.0],
        _ => &[],
    }
}

/// Whether a layer may be called with a list of tensors: others stack them to one first, in which there is an axis more.
fn takes_lists(layer: &LayerDef, json: &Value) -> bool {
    if !matches!(layer.body, Body::Layer(_)) {
        return true;
    }
    match layer.class.as_str() {
        "TFOpLambda" => {
            let function = json.get("config").and_then(|c| c.get("function")).and_then(Value::as_str).unwrap_or_default();
            matches!(function.rsplit('.').next(), Some("concat" | "concatenate" | "stack" | "zeros" | "ones" | "fill"))
        }
        "Add"
        | "Subtract"
        | "Multiply"
        | "Average"
        | "Maximum"
        | "Minimum"
        | "Concatenate"
        | "Stack"
        | "Dot"
        | "Attention"
        | "CustomScaleLayer"
        | "Identity"
        | "ActivityRegularization" => true,
        // A single tensor is one of a list of one there.
        other => other.contains("Dropout") || other.contains("Noise") || layers::builtin(other).is_none(),
    }
}

/// The arguments of functions that are lists of tensors, by whatever name; others are numbers, some of which may be computed.
const JOINED: [&str; 3] = ["values", "tensors", "arrays"];

fn call(node: &Value, class: &str, index: &HashMap<String, usize>) -> Option<Call> {
    let mut call = Call::default();
    let is_tensor = |v: &Value| v.get("class_name").and_then(Value::as_str) == Some("__keras_tensor__");
    if let Some(object) = node.as_object() {
        // Networks may be called with dictionaries: in Keras 2 such a one is all there is.
        let Some(args) = object.get("args") else {
            for (key, value) in object {
                short_enough(key)?;
                call.named.push((key.clone(), Arg::Tensor(tensor(value, index)?)));
            }
            return Some(call);
        };
        for arg in args.as_array()? {
            match arg.as_object().filter(|map| map.values().any(is_tensor)) {
                Some(map) => {
                    for (key, value) in map {
                        short_enough(key)?;
                        let history = value.get("config")?.get("keras_history")?;
                        call.named.push((key.clone(), Arg::Tensor(tensor(history, index)?)));
                    }
                }
                None => {
                    call.listed |= arg.as_array().is_some_and(|list| list.iter().any(is_tensor));
                    modern(arg, index, &mut call.args)?;
                }
            }
        }
        for (key, value) in object.get("kwargs").and_then(Value::as_object).into_iter().flatten() {
            short_enough(key)?;
            let mut args = Vec::new();
            call.listed |= value.as_array().is_some_and(|list| list.iter().any(is_tensor));
            modern(value, index, &mut args)?;
            call.named.extend(args.into_iter().map(|a| (key.clone(), a)));
        }
        return Some(call);
    }
    let list = node.as_array()?;
    // Calls with one tensor may leave out the list around it; those of functions do, if it is none.
    let alone = list.first().is_some_and(Value::is_string);
    call.listed = class == "TFOpLambda" && !alone;
    let list = if alone { std::slice::from_ref(node) } else { list.as_slice() };
    for (i, entry) in list.iter().enumerate() {
        let mut tensors = Vec::new();
        call.args.push(match leading(entry, index, &mut tensors)? {
            Nest::Tensor(_) => Arg::Tensor(tensors[0]),
            nest if tensors.is_empty() => Arg::Value(Arc::new(nest.fill(&|_| Value::Null))),
            nest => Arg::Nest(nest, tensors),
        });
        // Every tensor repeats the keyword arguments.
        let mut first = entry;
        while let Some(inner) = first.get(0).filter(|v| v.is_array()) {
            first = inner;
        }
        let keywords = first.get(3).and_then(Value::as_object).filter(|_| i == 0);
        for (key, value) in keywords.into_iter().flatten() {
            short_enough(key)?;
            let is_list = |v: &Value| v.as_array().is_some_and(|l| !l.is_empty() && l.iter().all(|v| tensor(v, index).is_some()));
            let numbers = matches!(class, "TFOpLambda" | "SlicingOpLambda") && !JOINED.contains(&key.as_str());
            match tensor(value, index) {
                Some(t) => call.named.push((key.clone(), Arg::Tensor(t))),
                None if numbers => {
                    let mut tensors = Vec::new();
                    let nest = Nest::read(value, index, &mut tensors);
                    let fixed = tensors.is_empty();
                    call.named
                        .push((key.clone(), if fixed { Arg::Value(Arc::new(value.clone())) } else { Arg::Nest(nest, tensors) }));
                }
                None if is_list(value) => {
                    call.listed = true;
                    let all = value.as_array().into_iter().flatten().filter_map(|v| tensor(v, index));
                    call.named.extend(all.map(|t| (key.clone(), Arg::Tensor(t))));
                }
                None => call.named.push((key.clone(), Arg::Value(Arc::new(value.clone())))),
            }
        }
    }
    Some(call)
}

/// Something in the first argument of a call: a tensor, a constant, or a list of these.
fn leading(v: &Value, index: &HashMap<String, usize>, tensors: &mut Vec<TensorRef>) -> Option<Nest> {
    match v.as_array()?.as_slice() {
        [name, _, value, ..] if name.as_str() == Some("_CONSTANT_VALUE") => Some(Nest::Value(value.clone())),
        list if list.first().is_some_and(Value::is_array) => {
            list.iter().map(|v| leading(v, index, tensors)).collect::<Option<_>>().map(Nest::List)
        }
        _ => {
            tensors.push(tensor(v, index)?);
            Some(Nest::Tensor(tensors.len() - 1))
        }
    }
}

/// The name of an argument, which each tensor of a list has.
fn short_enough(key: &str) -> Option<()> {
    (key.len() <= MAX_CLASS).then_some(())
}

/// An argument as Keras 3 writes it; lists that hold tensors are flattened.
fn modern(v: &Value, index: &HashMap<String, usize>, into: &mut Vec<Arg>) -> Option<()> {
    let is_tensor = |v: &Value| v.get("class_name").and_then(Value::as_str) == Some("__keras_tensor__");
    if is_tensor(v) {
        into.push(Arg::Tensor(tensor(v.get("config")?.get("keras_history")?, index)?));
    } else if let Some(list) = v.as_array().filter(|l| l.iter().any(is_tensor)) {
        for item in list {
            modern(item, index, into)?;
        }
    } else {
        into.push(Arg::Value(Arc::new(v.clone())));
    }
    Some(())
}
