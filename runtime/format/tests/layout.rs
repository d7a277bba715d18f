//! The bytes of every record, field by field, against `layout.txt`: a change of the layout cannot go unnoticed.

use core::mem::offset_of;
use sepal_format::act::ActRecord;
use sepal_format::preprocessing::Preprocessing;
use sepal_format::record::*;
use sepal_format::unary::UnaryRecord;
use std::fmt::Write;

/// Size in bytes and type of a field of `T`.
fn field<T, F>(_: impl Fn(&T) -> &F) -> (usize, String) {
    (size_of::<F>(), std::any::type_name::<F>().replace("sepal_format::", "").replace("record::", ""))
}

macro_rules! layout {
    ($($record:ident { $($field:ident)* })*) => {{
        let mut text = String::new();
        $(
            let record = stringify!($record);
            writeln!(text, "{record}: {} bytes", size_of::<$record>()).unwrap();
            let mut end = 0;
            $(
                let (at, (size, kind)) = (offset_of!($record, $field), field(|r: &$record| &r.$field));
                assert_eq!(at, end, "{record}.{} does not follow its neighbour", stringify!($field));
                end = at + size;
                writeln!(text, "  {at:>3} {size:>3} {}: {kind}", stringify!($field)).unwrap();
            )*
            assert_eq!(end, size_of::<$record>(), "{record} has fields that are not listed");
            writeln!(text).unwrap();
        )*
        text
    }};
}

#[test]
fn records_are_as_committed() {
    let text = layout! {
        Header { magic major minor byte_order structure_hash file_len weights_hash sections reserved }
        Section { kind flags plan reserved offset len }
        Plan { tensor_bytes scratch_bytes macs reserved }
        Tensor { dtype place offset dims pixel first last zero_point scale rows reserved }
        Pipeline { first steps band reserved }
        Io { role tensor name name_len rank layout dtype reserved dims }
        Step { op flags inputs output name name_len reserved params }
        Range { offset len }
        ActRecord { code a b }
        WindowRecord { kernel stride dilation pad pad_end }
        ConvParams { weights bias window groups act weight_dtype algorithm take reserved }
        DepthwiseParams { weights bias window pre_relu act weight_dtype reserved }
        SeparableParams { depthwise weights bias act weight_dtype }
        PoolParams { window kind reserved }
        ReduceParams { kind over }
        BinaryParams { op swapped act reserved }
        ScaleShiftParams { scale shift act reserved }
        ActivationParams { act reserved }
        PreluParams { slope }
        SoftmaxParams { log reserved }
        ResizeParams { kind places }
        UnaryRecord { code a b }
        UnaryParams { function reserved }
        LayerNormParams { scale shift epsilon kind }
        MatmulParams { reserved }
        CopyParams { dims in_strides out_strides in_offset out_offset filled fill }
        Preprocessing { input colour resize channels labels labels_len level crop bars reserved mean std }
    };
    let want = include_str!("layout.txt");
    assert!(text.trim_end() == want.trim_end(), "the layout of a record has changed; it is now\n\n{text}");
}

/// A line for each constant of a module.
macro_rules! codes {
    ($($module:ident { $($name:ident)* })*) => {{
        let mut text = String::new();
        $(
            writeln!(text, "{}", stringify!($module)).unwrap();
            $(writeln!(text, "  {:>3} {}", $module::$name, stringify!($name)).unwrap();)*
            writeln!(text).unwrap();
        )*
        text
    }};
}

/// Every number in a file that means something, against `codes.txt`. A new code is a new line in both; a line is never changed.
#[test]
fn codes_are_as_committed() {
    use sepal_format::act::ActRecord;
    use sepal_format::op::Op;
    use sepal_format::preprocessing::{self, colour, fit};
    use sepal_format::{layout, limits, strassen, winograd};
    let mut text = codes! {
        section { PLAN TENSORS STEPS IO WEIGHTS NAMES PROVENANCE FOLDS PIPELINES PREPROCESSING VALUES }
        dtype { F32 F16 BF16 I8 U8 }
        place { ARENA WEIGHTS ROWS }
        role { INPUT OUTPUT }
        take { PLAIN GATED PLANES }
        io_layout { UNKNOWN NHWC NCHW }
        pool_kind { MAX AVERAGE AVERAGE_WITH_PAD }
        reduce_kind { MEAN SUM MAX MIN PRODUCT }
        binary_op { ADD SUB MUL DIV MIN MAX POW GREATER AT_LEAST EQUAL WHERE }
        resize_kind { NEAREST BILINEAR }
        resize_places { EDGES MIDDLES CORNERS }
        norm_kind { CENTRED PLAIN }
        colour { RGB BGR }
        fit { STRETCH CROP BARS }
    };
    writeln!(text, "operator").unwrap();
    for &op in Op::ALL {
        writeln!(text, "  {:>3} {}", op as u32, op.name()).unwrap();
    }
    writeln!(text, "\nactivation").unwrap();
    for code in 0..1000 {
        let parameters = [(0.25, 0.5), (0.25, 0.0), (0.0, 0.0)];
        if let Some(act) = parameters.iter().find_map(|&(a, b)| ActRecord { code, a, b }.act()) {
            writeln!(text, "  {code:>3} {act:?}").unwrap();
        }
    }
    writeln!(text, "\nfunction").unwrap();
    for code in 0..1000 {
        if let Some(function) = (UnaryRecord { code, a: 0.25, b: 0.5 }).unary() {
            writeln!(text, "  {code:>3} {function:?}").unwrap();
        }
    }
    writeln!(text, "\nwinograd: kernel, tile, code").unwrap();
    for (kernel, tile) in winograd::TILES {
        writeln!(text, "  {kernel:?} {tile:?} {}", winograd::code(tile)).unwrap();
    }
    writeln!(text, "\nstrassen\n  {:>3}", strassen::CODE).unwrap();
    writeln!(text, "\nfile").unwrap();
    let file: [(&str, u64); 10] = [
        ("magic", u64::from_le_bytes(MAGIC)),
        ("major", MAJOR.into()),
        ("byte order", BYTE_ORDER.into()),
        ("hash starts", sepal_format::HASH_START as u64),
        ("weights align", WEIGHTS_ALIGN as u64),
        ("channels of a block", layout::BLOCK as u64),
        ("tensors align", layout::ALIGN as u64),
        ("bytes of a step's parameters", PARAMS as u64),
        ("in place", IN_PLACE.into()),
        ("none", NONE.into()),
    ];
    for (name, value) in file {
        writeln!(text, "  {value:#x} {name}").unwrap();
    }
    // A limit may grow, never shrink: files that were written would be refused.
    writeln!(text, "\nlimits").unwrap();
    let limits: [(&str, u64); 12] = [
        ("sections", limits::SECTIONS as u64),
        ("plans", limits::PLANS as u64),
        ("tensors", limits::TENSORS as u64),
        ("steps", limits::STEPS as u64),
        ("steps of a pipeline", limits::PIPELINE_STEPS as u64),
        ("rows of a pipeline", limits::PIPELINE_ROWS.into()),
        ("inputs and outputs", limits::IO as u64),
        ("bytes of names", limits::NAMES as u64),
        ("bytes of labels", preprocessing::LABELS as u64),
        ("threads", limits::THREADS as u64),
        ("arena bytes per byte", limits::ARENA_PER_BYTE),
        ("work per byte", limits::WORK_PER_BYTE),
    ];
    for (name, value) in limits {
        writeln!(text, "  {value} {name}").unwrap();
    }
    let want = include_str!("codes.txt");
    assert!(text.trim_end() == want.trim_end(), "a code of the file has changed; they are now\n\n{text}");
    assert_eq!(core::mem::offset_of!(Header, file_len), sepal_format::HASH_START);
}
