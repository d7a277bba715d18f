//! The bytes of every record, field by field, against `layout.txt`: a change of the layout cannot go unnoticed.

use core::mem::offset_of;
use sepal_format::act::ActRecord;
use sepal_format::preprocessing::Preprocessing;
use sepal_format::record::*;
use std::fmt::Write;

/// Size in bytes of a field of `T`.
fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($($record:ident { $($field:ident)* })*) => {{
        let mut text = String::new();
        $(
            let record = stringify!($record);
            writeln!(text, "{record}: {} bytes", size_of::<$record>()).unwrap();
            let mut end = 0;
            $(
                let (at, size) = (offset_of!($record, $field), size_of_field(|r: &$record| &r.$field));
                assert_eq!(at, end, "{record}.{} does not follow its neighbour", stringify!($field));
                end = at + size;
                writeln!(text, "  {at:>3} {size:>3} {}", stringify!($field)).unwrap();
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
        ConvParams { weights bias window groups act weight_dtype algorithm }
        DepthwiseParams { weights bias window pre_relu act weight_dtype reserved }
        SeparableParams { depthwise weights bias act weight_dtype }
        PoolParams { window kind reserved }
        ReduceParams { kind reserved }
        BinaryParams { op swapped act reserved }
        ScaleShiftParams { scale shift act reserved }
        ActivationParams { act reserved }
        PreluParams { slope }
        SoftmaxParams { log reserved }
        ResizeParams { kind places }
        CopyParams { dims in_strides out_strides in_offset out_offset filled fill }
        Preprocessing { input colour resize channels labels labels_len level crop bars reserved mean std }
    };
    let want = include_str!("layout.txt");
    assert!(text.trim_end() == want.trim_end(), "the layout of a record has changed; it is now\n\n{text}");
}

#[test]
fn codes_are_as_committed() {
    use sepal_format::op::Op;
    let codes: Vec<_> = Op::ALL.iter().map(|&op| (op as u32, op.name())).collect();
    let want = [
        (1, "conv"),
        (2, "depthwise"),
        (3, "separable"),
        (4, "pool"),
        (5, "reduce"),
        (6, "binary"),
        (7, "scale_shift"),
        (8, "activation"),
        (9, "prelu"),
        (10, "softmax"),
        (11, "copy"),
        (12, "resize"),
    ];
    assert_eq!(codes, want);
    assert_eq!(size_of::<Step>(), 256);
    assert_eq!(core::mem::offset_of!(Header, file_len), sepal_format::HASH_START);
}
