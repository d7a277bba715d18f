//! Which dataset holds which variable.
//!
//! * Legacy HDF5: a group per layer of the outermost model, whose attribute `weight_names` lists its datasets. A nested model
//!   is one group: first the trainable variables of all its layers, then the others.
//! * `.keras`: `layers/<name>/vars/<i>`, where `<name>` is the snake-case class name with `_1`, `_2`, ... for the further
//!   layers of the class; a nested model has `layers` of its own.

use super::config::{Body, LayerDef, Model};
use super::h5::File;
use super::layers::Var;
use crate::error::{Error, Result, invalid};
use crate::import::MAX_NAME;
use std::collections::HashMap;

/// Where the variables are.
pub(super) enum Store<'a> {
    /// A legacy HDF5 file.
    Legacy(&'a File),
    /// `model.weights.h5` of a `.keras` zip.
    Archive(&'a File),
}

impl<'a> Store<'a> {
    /// The file.
    pub fn file(&self) -> &'a File {
        match *self {
            Store::Legacy(file) | Store::Archive(file) => file,
        }
    }
}

/// Finds the variables of all layers, as Keras of this major version has written them.
///
/// # Errors
/// [`crate::Error::Invalid`] naming the layer whose variables are not all there.
pub(super) fn locate(model: &mut Model, store: &Store<'_>, keras: u32) -> Result<()> {
    in_running_order(model)?;
    match *store {
        Store::Archive(file) => archive(model, file, "", &mut HashMap::new()),
        Store::Legacy(file) => {
            let root = if file.has_group("model_weights")? { "model_weights" } else { "" };
            let names = if file.has_group(root)? { file.texts(root, "layer_names")? } else { None };
            let places: Option<HashMap<&str, usize>> =
                names.as_ref().map(|names| names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect());
            let mut last = 0;
            for layer in &mut model.layers {
                if !legacy(layer, file, root, keras)? {
                    continue;
                }
                // Keras takes the groups in the order of this list.
                let place = places.as_ref().map_or(Some(last), |places| places.get(layer.name.as_str()).copied());
                last = place.filter(|&place| place >= last).ok_or_else(|| {
                    invalid(format!("layer `{}` is not where it should be among `layer_names`; {AGAIN}", layer.name))
                })?;
            }
            Ok(())
        }
    }
}

/// What to do about weights of which it is not certain whose they are.
const AGAIN: &str = "load the network and save it again, as a .keras file";

/// Keras counts layers in the order in which they run, by which it also writes them down.
fn in_running_order(model: &Model) -> Result<()> {
    for (at, layer) in model.layers.iter().enumerate() {
        // One of the calls of a layer decides where it is.
        if !layer.calls.is_empty() && !layer.calls.iter().any(|call| call.tensors().all(|t| t.layer < at)) {
            return Err(invalid(format!("layer `{}` is listed before what it is called with; {AGAIN}", layer.name)));
        }
        if let Body::Model(inner) = &layer.body {
            in_running_order(inner)?;
        }
    }
    Ok(())
}

/// Keras's snake case: `SeparableConv2D` is `separable_conv2d`, `PReLU` is `p_re_lu`.
pub(super) fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    // A break before a capital with small letters after it, unless at the start. Words do not overlap.
    let mut words = String::new();
    let mut i = 0;
    while i < chars.len() {
        words.push(chars[i]);
        let capital = chars.get(i + 1).is_some_and(char::is_ascii_uppercase);
        if capital && chars.get(i + 2).is_some_and(char::is_ascii_lowercase) {
            words.push('_');
            words.push(chars[i + 1]);
            i += 2;
            while chars.get(i).is_some_and(char::is_ascii_lowercase) {
                words.push(chars[i]);
                i += 1;
            }
        } else {
            i += 1;
        }
    }
    // A break between a small letter and a capital.
    let mut out = String::new();
    let mut before = ' ';
    for c in words.chars() {
        if before.is_ascii_lowercase() && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        before = c;
    }
    out
}

/// Where the layers are that may be in the network once more, by their numbers and classes: their variables are written once.
type Shared = HashMap<(u64, String), String>;

fn archive(model: &mut Model, file: &File, prefix: &str, shared: &mut Shared) -> Result<()> {
    let join = |a: &str, b: &str| if a.is_empty() { b.to_string() } else { format!("{a}/{b}") };
    let mut folder = join(prefix, "layers");
    let mut listed: Option<HashMap<String, Vec<usize>>> = None;
    // The first versions of the format name the folder so, and count every layer with variables twice.
    let old = join(prefix, "_layer_checkpoint_dependencies");
    if file.has_group(&old)? {
        // `dense`, `dense_1`, ... by the class.
        let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
        for group in file.groups(&old)? {
            if let Some((class, Ok(number))) = group.rsplit_once('_').map(|(class, n)| (class, n.parse())) {
                numbers.entry(class.to_owned()).or_default().push(number);
            }
            numbers.entry(group).or_default().push(0);
        }
        numbers.values_mut().for_each(|n| n.sort_unstable());
        listed = Some(numbers);
        folder = old;
    }
    let mut used: HashMap<String, usize> = HashMap::new();
    for layer in &mut model.layers {
        let class = snake_case(&layer.class);
        let count = used.entry(class.clone()).or_insert(0);
        let nth = |n: usize| if n == 0 { class.clone() } else { format!("{class}_{n}") };
        let name = match &listed {
            None => nth(*count),
            Some(all) => nth(all.get(&class).and_then(|numbers| numbers.get(*count)).copied().unwrap_or(*count)),
        };
        *count += 1;
        let path = format!("{folder}/{name}");
        let path = match layer.shared {
            Some(id) => shared.entry((id, class)).or_insert(path).clone(),
            None => path,
        };
        match &mut layer.body {
            Body::Input(_) => {}
            Body::Model(inner) => archive(inner, file, &path, shared)?,
            Body::Layer(body) => {
                let mut parts: HashMap<&str, usize> = HashMap::new();
                for var in body.vars() {
                    let i = parts.entry(var.part).or_insert(0);
                    *i = var.number.unwrap_or(*i);
                    let mut place = path.clone();
                    if !var.part.is_empty() {
                        // Keras 2 writes the attribute's own name, which may begin with a line.
                        let plain = join(&path, var.part);
                        place = if file.has_group(&plain)? { plain } else { format!("{path}/_{}", var.part) };
                    }
                    let found = file.dataset(&format!("{place}/vars/{i}"));
                    *i += 1;
                    let found = found.map_err(|e| match e {
                        Error::Invalid(text) => invalid(format!("layer `{}` has no `{}`: {text}", layer.name, var.name)),
                        other => other,
                    })?;
                    layer.located.push((var.name, found));
                }
            }
        }
    }
    Ok(())
}

/// A variable: which of the leaves has it, and what it is.
type Listed = (usize, Var);

/// The variables of a layer in the order in which Keras lists them: those that training changes, and those that come after all
/// of these. `next` counts the leaves.
fn listed(layer: &LayerDef, keras: u32, next: &mut usize) -> (Vec<Listed>, Vec<Listed>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    match &layer.body {
        Body::Input(_) => {}
        // A frozen layer belongs to the rest as a whole.
        Body::Layer(body) => {
            for var in body.vars() {
                if var.trainable && layer.trainable { &mut first } else { &mut rest }.push((*next, var));
            }
            *next += 1;
        }
        Body::Model(model) => {
            for inner in &model.layers {
                let (one, other) = listed(inner, keras, next);
                first.extend(one);
                rest.extend(other);
            }
            // Keras 3 asks the variables, and a layer may be made trainable again.
            if !layer.trainable && keras < 3 {
                first.append(&mut rest);
                (first, rest) = (rest, first);
            }
        }
    }
    (first, rest)
}

/// The layers with variables inside a layer of the outermost model, in order.
fn leaves(layer: &mut LayerDef) -> Vec<&mut LayerDef> {
    if let Body::Layer(_) = layer.body {
        return vec![layer];
    }
    match &mut layer.body {
        Body::Model(model) => model.layers.iter_mut().flat_map(leaves).collect(),
        _ => Vec::new(),
    }
}

/// The first of some names.
fn some(names: &[String]) -> String {
    let mut text = format!("its {}", names.len());
    for (i, name) in names.iter().take(8).enumerate() {
        let start: String = name.chars().take(80).collect();
        text += &format!("{} `{}`", if i == 0 { ":" } else { "," }, start.escape_debug());
    }
    text
}

/// Whether all layers with variables inside a layer, and this one, are trainable, or none is: then nothing is left open about the order
/// of the variables.
fn alike(layer: &LayerDef) -> bool {
    fn all(layer: &LayerDef, trainable: bool) -> bool {
        match &layer.body {
            Body::Input(_) => true,
            Body::Layer(body) => layer.trainable == trainable || body.vars().is_empty(),
            Body::Model(model) => layer.trainable == trainable && model.layers.iter().all(|l| all(l, trainable)),
        }
    }
    all(layer, layer.trainable)
}

/// Finds the variables of a layer, and says whether it has any.
fn legacy(layer: &mut LayerDef, file: &File, root: &str, keras: u32) -> Result<bool> {
    let group = if root.is_empty() { layer.name.clone() } else { format!("{root}/{}", layer.name) };
    let outer = layer.name.clone();
    let (mut order, mut rest) = listed(layer, keras, &mut 0);
    order.append(&mut rest);
    if keras >= 3 && !layer.trainable {
        // All that a frozen network has is listed layer by layer, whatever its layers say of themselves.
        order.sort_by_key(|(leaf, _)| *leaf);
    }
    let certain = alike(layer);
    let mut leaves = leaves(layer);
    if order.is_empty() {
        return Ok(false);
    }
    let Some(mut names) = file.texts(&group, "weight_names")? else {
        return Err(invalid(format!("layer `{outer}`: group `{group}` has no attribute `weight_names`")));
    };
    // Each may be compared with each.
    if names.len() > 4 * order.len() + 1024 {
        return Err(invalid(format!("layer `{outer}`: group `{group}` names {} weights of {}", names.len(), order.len())));
    }
    if let Some(long) = names.iter().find(|name| name.len() > MAX_NAME) {
        return Err(invalid(format!("layer `{outer}`: a weight has a name of {} bytes; shorten it to {MAX_NAME}", long.len())));
    }
    // What layers that act in training only draw their numbers from.
    names.retain(|name| base(name) != "seed_generator_state");
    let bases: Vec<&str> = names.iter().map(|n| base(n)).collect();
    let owners = Owners::new(&leaves, &names);
    // Keras goes by the order, and layers may have been renamed since they gave their weights names.
    let in_order = names.len() == order.len() && (0..order.len()).all(|k| same(bases[k], order[k].1.base()));
    let owned = |k: usize| owners.allow(&names[k], &leaves[order[k].0].name);
    if in_order && !certain && !(0..order.len()).all(owned) {
        return Err(invalid(format!(
            "layer `{outer}`: by their names the weights in group `{group}` are in another order, and layers may have been renamed; {AGAIN}"
        )));
    }
    if names.len() == order.len() && !in_order && leaves.len() == 1 {
        return Err(invalid(format!(
            "layer `{outer}`: group `{group}` has its weights in an unknown order, {}; {AGAIN}",
            some(&names)
        )));
    }
    let mut found = Vec::with_capacity(order.len());
    for (k, (i, var)) in order.iter().enumerate() {
        let name = &leaves[*i].name;
        // Files in which the order is not the expected one are read by name.
        let by_name = || {
            let all: Vec<usize> = if leaves.len() == 1 { (0..names.len()).collect() } else { owners.of(name).to_vec() };
            let mut fits = all.into_iter().filter(|&j| same(bases[j], var.base()));
            fits.next().filter(|_| fits.next().is_none())
        };
        let Some(at) = (if in_order { Some(k) } else { by_name() }) else {
            return Err(invalid(format!("layer `{name}`: group `{group}` has no weight `{}` among {}", var.name, some(&names))));
        };
        found.push(file.dataset(&format!("{group}/{}", names[at]))?);
    }
    for ((i, var), dataset) in order.into_iter().zip(found) {
        leaves[i].located.push((var.name, dataset));
    }
    Ok(true)
}

/// The last part of a weight's name, without TensorFlow's `:0`.
fn base(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// Whether a base is Keras's name for a variable, or that name with a counter, or in the words of the first Keras versions.
fn same(base: &str, var: &str) -> bool {
    let counted = base.strip_prefix(var).and_then(|r| r.strip_prefix('_'));
    let old = base.rsplit('_').next().unwrap_or(base);
    base == var
        || counted.is_some_and(|n| n.parse::<u32>().is_ok())
        || matches!((old, var), ("W", "kernel") | ("b", "bias"))
        // Keras 3 calls the kernel of a DepthwiseConv2D so; separable layers have no `kernel`.
        || (base == "kernel" && var == "depthwise_kernel")
        || (base.ends_with("running_mean") && var == "moving_mean")
        || (base.ends_with("running_std") && var == "moving_variance")
        || (base.ends_with("_gamma") && var == "gamma")
        // Some versions of ConvNeXt give their factors no name.
        || (base == "Variable" && var == "gamma")
        || (base.ends_with("_beta") && var == "beta")
        || (base.ends_with("_alphas") && var == "alpha")
}

/// Whose weights are whose, by their names.
struct Owners<'a> {
    /// The weights of each layer's name, those of them that are looked at.
    by_layer: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Owners<'a> {
    /// A layer has some few weights; where more say that they are of one name, several layers have it.
    const MOST: usize = 64;

    fn new(leaves: &'a [&mut LayerDef], names: &[String]) -> Self {
        let mut by_layer: HashMap<&str, Vec<usize>> = leaves.iter().map(|l| (l.name.as_str(), Vec::new())).collect();
        for (j, name) in names.iter().enumerate() {
            for owner in possible_owners(name) {
                if let Some(all) = by_layer.get_mut(owner).filter(|all| all.len() < Self::MOST) {
                    all.push(j);
                }
            }
        }
        Owners { by_layer }
    }

    /// The weights that say that they belong to a layer.
    fn of(&self, layer: &str) -> &[usize] {
        self.by_layer.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Whether a weight may belong to a layer: unless it says that it is another's.
    fn allow(&self, name: &str, layer: &str) -> bool {
        possible_owners(name).any(|owner| owner == layer) || !possible_owners(name).any(|owner| self.by_layer.contains_key(owner))
    }
}

/// The names of layers that a weight's name may say that it belongs to: its folder, and what of that is behind a slash.
fn possible_owners(name: &str) -> impl Iterator<Item = &str> {
    let folder = name.rsplit_once('/').map_or("", |(f, _)| f);
    // As many folders as anybody has.
    let slashes = folder.rmatch_indices('/').take(64).map(|(at, _)| &folder[at + 1..]);
    std::iter::once(folder).chain(slashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_in_snake_case() {
        for (class, snake) in [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("PReLU", "p_re_lu"),
            ("ReLU", "re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ELU", "elu"),
            ("BatchNormalization", "batch_normalization"),
            ("TFOpLambda", "tf_op_lambda"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("UpSampling2D", "up_sampling2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("ZeroPadding2D", "zero_padding2d"),
            ("AddV2", "add_v2"),
            ("TrueDivide", "true_divide"),
        ] {
            assert_eq!(snake_case(class), snake);
        }
    }
}
