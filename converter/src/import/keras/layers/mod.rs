//! Layers: what a configuration asks for ([`parse`]), and the nodes it becomes ([`Layer::emit`]).
//!
//! A configuration is parsed in full before any shape is known, so that everything unsupported in a network is found in one
//! go; see [`Cfg::refuse`].

use crate::error::Result;
use crate::ir::ValueId;
use serde_json::Value;

pub(super) mod activation;
mod attention;
mod cfg;
mod conv;
mod dense;
mod derived;
mod emit;
mod function;
mod known;
mod merge;
mod moving;
mod nested;
mod norm;
mod numbers;
mod pool;
mod products;
mod resizing;
mod shape;
mod slicing;

pub(super) use cfg::{Cfg, flag, short, values, weight};
pub(super) use emit::{Constants, Emit, Kind, Made, Operand, Operands};

/// A variable of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Var {
    /// Keras's name: `kernel`, `moving_mean`; unique in its layer, of which a part may be before a slash.
    pub name: &'static str,
    /// The part of the layer that has it; empty if that is the layer itself.
    pub part: &'static str,
    /// Its number among those of the part in `.keras` files, if it is not the next one.
    pub number: Option<usize>,
    /// Whether training changes it (unless the layer is frozen).
    pub trainable: bool,
}

impl Var {
    /// One that training changes.
    pub const fn trained(name: &'static str) -> Var {
        Var { name, part: "", number: None, trainable: true }
    }

    /// One that training does not change.
    pub const fn fixed(name: &'static str) -> Var {
        Var { name, part: "", number: None, trainable: false }
    }

    /// The same of a part of the layer.
    pub const fn of(self, part: &'static str) -> Var {
        Var { part, ..self }
    }

    /// The name within the part.
    pub fn base(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }
}

/// What a layer makes of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integers {
    /// Floats, before it computes.
    Floats,
    /// It moves them, and does not compute.
    Kept,
    /// It computes in integers, which wrap and are cut, or nobody has looked.
    Computed,
}

/// A layer whose configuration has been understood.
pub(super) trait Layer {
    /// Its variables, in Keras's order: the trainable ones first.
    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }

    /// What it makes of integers, if it is called with any.
    fn integers(&self, _inputs: &Operands) -> Integers {
        Integers::Computed
    }

    /// The results of one call where they are numbers that follow from shapes alone, and no nodes.
    ///
    /// # Errors
    /// As [`Layer::emit`].
    fn known(&self, _e: &mut Emit<'_>, _inputs: &Operands) -> Result<Option<Vec<Value>>> {
        Ok(None)
    }

    /// Appends the nodes of one call and gives the result.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if shapes do not fit, [`crate::Error::Unsupported`] for what only the call can tell.
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId>;

    /// As [`Layer::emit`], with all results where there may be several.
    ///
    /// # Errors
    /// As [`Layer::emit`].
    fn results(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<Vec<ValueId>> {
        Ok(vec![self.emit(e, inputs)?])
    }
}

/// Keras's own name of a class or function; `None` for one that a program registered (`package>name`), which may do anything
/// whatever it and its package are called: Keras registers none of its own so, but for [`SCALED_ADD`].
pub(super) fn builtin(name: &str) -> Option<&str> {
    (!name.contains('>')).then_some(name)
}

/// How the last versions of Keras 2 register a layer of their InceptionResNetV2; anybody may register a class so, and in Keras 3, whose
/// own is not registered, only others do.
pub(super) const SCALED_ADD: &str = "Custom>CustomScaleLayer";

/// Stands for a layer that has been refused.
pub(super) fn nothing() -> Box<dyn Layer> {
    Box::new(shape::Nothing(Integers::Kept))
}

/// What changes pictures in training only, with the first number of the oldest Keras that has it.
const RANDOM: [(&str, u32); 25] = [
    ("RandomFlip", 2),
    ("RandomRotation", 2),
    ("RandomZoom", 2),
    ("RandomTranslation", 2),
    ("RandomContrast", 2),
    ("RandomHeight", 2),
    ("RandomWidth", 2),
    ("RandomBrightness", 2),
    ("RandomHue", 3),
    ("RandomSaturation", 3),
    ("RandomShear", 3),
    ("RandomErasing", 3),
    ("RandomGrayscale", 3),
    ("RandomInvert", 3),
    ("RandomGaussianBlur", 3),
    ("RandomSharpness", 3),
    ("RandomPerspective", 3),
    ("RandomColorJitter", 3),
    ("RandomPosterization", 3),
    ("RandomColorDegeneration", 3),
    ("RandomElasticTransform", 3),
    ("AugMix", 3),
    ("RandAugment", 3),
    ("MixUp", 3),
    ("CutMix", 3),
];

/// The first number of the oldest Keras that has such a layer; nothing for other layers.
fn random(class: &str) -> Option<u32> {
    RANDOM.iter().find(|(name, _)| *name == class).map(|&(_, first)| first)
}

/// Whether any Keras of the same first number as that which wrote a file has a layer class of its own of that name. In HDF5 files
/// classes of programs have their bare names: what Keras does not have is one of these, and may do anything.
fn has(class: &str, cfg: &Cfg<'_>) -> bool {
    match class {
        "Merge" | "Deconvolution2D" => cfg.keras < 2,
        "Convolution1D"
        | "Convolution2D"
        | "Convolution1DTranspose"
        | "Convolution2DTranspose"
        | "SeparableConvolution1D"
        | "SeparableConvolution2D" => cfg.keras < 3,
        "BatchNormalizationV1" | "BatchNormalizationV2" | "SyncBatchNormalization" => cfg.keras < 3,
        "MaxPool1D" | "AvgPool1D" | "GlobalMaxPool1D" | "GlobalAvgPool1D" => cfg.keras < 3,
        "MaxPool2D" | "AvgPool2D" | "GlobalMaxPool2D" | "GlobalAvgPool2D" => cfg.keras < 3,
        "Resizing"
        | "CenterCrop"
        | "RandomCrop"
        | "Rescaling"
        | "Normalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "UnitNormalization"
        | "SpectralNormalization"
        | "EinsumDense"
        | "MultiHeadAttention"
        | "Attention" => cfg.keras >= 2,
        "RMSNormalization" => cfg.keras >= 3,
        // ConvNeXt's.
        "LayerScale" => cfg.map.contains_key("projection_dim"),
        // Keras 2 registers its own, and names its module in `.keras` files.
        "CustomScaleLayer" => cfg.keras >= 3 || !cfg.module.is_empty(),
        _ => random(class).is_none_or(|first| cfg.keras >= first),
    }
}

/// Understands a configuration. Things that Sepal does not do are recorded in `cfg`.
///
/// # Errors
/// [`crate::Error::Invalid`] if an attribute is missing or of the wrong type.
pub(super) fn parse(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    // Keras 3 leaves out the module in HDF5 files; but only layers have these attributes, all but Pipeline. One without them may be a
    // program's own, or an operation with a layer's name that is not known.
    let layer = cfg.map.contains_key("trainable") || cfg.get("dtype").is_some() || cfg.class == "Pipeline";
    let operation = cfg.keras >= 3 && cfg.module.is_empty() && !layer;
    if operation || cfg.module.contains(".ops.") {
        return function::operation(cfg);
    }
    match builtin(cfg.class).filter(|class| has(class, cfg)).unwrap_or_default() {
        _ if cfg.class == SCALED_ADD && cfg.keras < 3 => merge::scaled_add(cfg),
        "Conv1D" | "Convolution1D" => conv::conv(cfg, 1),
        "Conv2D" | "Convolution2D" => conv::conv(cfg, 2),
        "DepthwiseConv1D" => conv::depthwise(cfg, 1),
        "DepthwiseConv2D" => conv::depthwise(cfg, 2),
        "SeparableConv1D" | "SeparableConvolution1D" => conv::separable(cfg, 1),
        "SeparableConv2D" | "SeparableConvolution2D" => conv::separable(cfg, 2),
        "Conv1DTranspose" | "Convolution1DTranspose" => conv::transposed(cfg, 1),
        "Conv2DTranspose" | "Convolution2DTranspose" | "Deconvolution2D" => conv::transposed(cfg, 2),
        "Dense" => dense::dense(cfg),
        "Embedding" => dense::embedding(cfg),
        "EinsumDense" => products::einsum_dense(cfg),
        "Dot" => products::dot(cfg),
        "MultiHeadAttention" => attention::multi_head(cfg),
        "Attention" => attention::attention(cfg),
        "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2" | "SyncBatchNormalization" => norm::batch(cfg),
        "LayerNormalization" => norm::layer(cfg),
        "GroupNormalization" => norm::group(cfg),
        "RMSNormalization" => norm::rms(cfg),
        "UnitNormalization" => derived::unit_normalization(cfg),
        "LayerScale" => norm::layer_scale(cfg),
        "Normalization" => norm::normalization(cfg),
        "Rescaling" => norm::rescaling(cfg),
        "Resizing" => resizing::resizing(cfg),
        "CenterCrop" => resizing::center_crop(cfg),
        "Activation" | "ReLU" | "LeakyReLU" | "ELU" | "Softmax" => activation::layer(cfg),
        "PReLU" => activation::prelu(cfg),
        "Add" | "Subtract" | "Multiply" | "Average" | "Maximum" | "Minimum" => merge::layer(cfg),
        "CustomScaleLayer" => merge::scaled_add(cfg),
        "Concatenate" => merge::concatenate(cfg),
        "Merge" => merge::old(cfg),
        "MaxPooling1D" | "MaxPool1D" | "AveragePooling1D" | "AvgPool1D" => pool::window(cfg, 1),
        "MaxPooling2D" | "MaxPool2D" | "AveragePooling2D" | "AvgPool2D" => pool::window(cfg, 2),
        "GlobalMaxPooling1D" | "GlobalMaxPool1D" | "GlobalAveragePooling1D" | "GlobalAvgPool1D" => pool::global(cfg, 1),
        "GlobalMaxPooling2D" | "GlobalMaxPool2D" | "GlobalAveragePooling2D" | "GlobalAvgPool2D" => pool::global(cfg, 2),
        "ZeroPadding1D" => shape::padding(cfg, 1),
        "ZeroPadding2D" => shape::padding(cfg, 2),
        "Cropping1D" => shape::cropping(cfg, 1),
        "Cropping2D" => shape::cropping(cfg, 2),
        "Flatten" => shape::flatten(cfg),
        "Reshape" => shape::reshape(cfg),
        "Permute" => shape::permute(cfg),
        "RepeatVector" => shape::repeat_vector(cfg),
        "UpSampling1D" => shape::upsampling(cfg, 1),
        "UpSampling2D" => shape::upsampling(cfg, 2),
        // What acts in training only.
        "Dropout"
        | "SpatialDropout1D"
        | "SpatialDropout2D"
        | "SpatialDropout3D"
        | "AlphaDropout"
        | "GaussianDropout"
        | "GaussianNoise"
        | "ActivityRegularization"
        | "Identity" => Ok(nothing()),
        "RandomCrop" => resizing::random_crop(cfg),
        "Pipeline" if cfg.keras >= 3 => nested::pipeline(cfg),
        "TimeDistributed" => nested::distributed(cfg),
        "SpectralNormalization" => nested::spectral(cfg),
        // They leave integers alone, and so do not make floats of them.
        "RandomHeight" | "RandomWidth" => Ok(Box::new(shape::Nothing(Integers::Computed))),
        class if random(class).is_some() => Ok(Box::new(shape::Nothing(Integers::Floats))),
        // They have an attribute that otherwise only layers have.
        "Cast" | "View" | "SaturateCast" | "ConvertToTensor" | "FullLike" | "ZerosLike" | "OnesLike" | "Cumsum" | "Cumprod"
            if cfg.keras >= 3 =>
        {
            function::operation(cfg)
        }
        "TFOpLambda" | "SlicingOpLambda" => function::lambda(cfg),
        "TensorFlowOpLayer" => function::graph_op(cfg),
        "Lambda" => {
            cfg.refuse("Python code", "replace the Lambda by built-in layers (Rescaling, Activation, Reshape, ...)");
            Ok(nothing())
        }
        "Bidirectional" | "LSTM" | "GRU" | "SimpleRNN" | "ConvLSTM2D" => {
            cfg.refuse("sequences", "cut the graph before it with `--outputs`");
            Ok(nothing())
        }
        _ => {
            cfg.refuse(
                "this layer class is not known",
                "replace it by built-in layers, or cut the graph before it with `--outputs`",
            );
            Ok(nothing())
        }
    }
}
