"""Makes the small networks beside it, with onnx: `python make_networks.py`."""

from pathlib import Path

from onnx import TensorProto, checker, helper


def save(name, nodes, inputs, outputs):
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in side] for side in (inputs, outputs)]
    model = helper.make_model(helper.make_graph(nodes, name, *ports), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    Path(__file__).with_name(f"{name}.onnx").write_bytes(model.SerializeToString())


vector = [1, 4]
save(
    "two",
    [helper.make_node("Add", ["a", "b"], ["sum"], "add"), helper.make_node("Mul", ["a", "b"], ["product"], "mul")],
    [("a", vector), ("b", vector)],
    [("sum", vector), ("product", vector)],
)
save(
    "unsupported",
    [
        helper.make_node("NonZero", ["a"], ["where"], "where"),
        helper.make_node("Cast", ["where"], ["places"], "places", to=TensorProto.FLOAT),
    ],
    [("a", vector)],
    [("places", [2, None])],
)
picture = [1, 1 << 20, 16]
save("large", [helper.make_node("Abs", ["a"], ["b"], "abs")], [("a", picture)], [("b", picture)])
