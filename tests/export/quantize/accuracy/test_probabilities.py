"""Probabilities close to 0 and 1 show which of two versions is better."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgeconv.export.quantize.accuracy.judge import Gain, Judge
from edgeconv.export.quantize.accuracy.probabilities import logits_of

CLASSES, SAMPLES = 12, 32
# Of logits; the largest probability is then 0.999 in most samples, and 0.6 in some.
SPREAD = 8.0


def network(kind: str, matrix: npt.NDArray[np.float32]) -> ir.Model:
    """Probabilities from a product, which a Reshape and a Transpose move."""
    x = ir.val("x", ir.DataType.FLOAT, [1, 1, len(matrix)])
    tape = ir.tape.Tape()
    logits = tape.op("MatMul", [x, tape.initializer(ir.tensor(matrix, name="weight"))])
    turned = tape.op("Transpose", [tape.op(kind, [logits])], {"perm": [0, 2, 1]})
    shape = tape.initializer(ir.tensor(np.int64([1, -1]), name="shape"))
    y = tape.op("Reshape", [turned, shape])
    y.name, y.type, y.shape = "y", x.type, ir.Shape([1, matrix.shape[1]])
    graph = ir.Graph(
        [x], [y], nodes=tape.nodes, initializers=tape.initializers, opset_imports={"": 20}, name="g"
    )
    return ir.Model(graph, ir_version=9)


@pytest.mark.parametrize(("kind", "most"), [("Softmax", 2.6), ("Sigmoid", 1.75)])
@pytest.mark.parametrize("seed", range(3))
def test_they_judge_as_surely_as_what_they_were_computed_from(
    kind: str, most: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.eye(CLASSES, dtype=np.float32) * np.float32(SPREAD)
    versions = [matrix + rng.normal(0, scale, matrix.shape) for scale in (0.2, 0.1)]
    batches = [(rng.standard_normal((1, 1, CLASSES)).astype(np.float32),) for _ in range(SAMPLES)]

    def gain(operator: str) -> Gain:
        judge = Judge.on(network(operator, matrix), batches)
        made = [network(operator, version.astype(np.float32)) for version in versions]
        return Gain.between(*(judge.noise(each, judge.kept) for each in made))

    logits, found = gain("Identity"), gain(kind)
    assert found.beyond_chance
    assert found.db == pytest.approx(logits.db, abs=1.5)  # two of its uncertainties, 0.7 dB
    # 1.5 to 1.9 times for a Softmax, whose sum adds noise of its own, and 1.1 to 1.5 for a Sigmoid.
    # Judged by the probabilities themselves it was 3.7 to 4.2 and 2.1 to 2.3 times.
    assert found.uncertainty_db < most * logits.uncertainty_db


def test_only_probabilities_have_logits() -> None:
    matrix = np.eye(3, dtype=np.float32)
    assert logits_of(network("Relu", matrix).graph.outputs[0]) is None
    (x,) = network("Softmax", matrix).graph.inputs
    assert logits_of(x) is None


def test_logits_are_those_of_the_network_up_to_a_constant() -> None:
    logits = np.float32([[2.0, -1.0, 0.5]])
    shares = np.exp(logits) / np.exp(logits).sum()
    inverse = logits_of(network("Softmax", np.eye(3, dtype=np.float32)).graph.outputs[0])
    assert inverse is not None
    got = inverse(shares)
    assert got - got[0, 0] == pytest.approx(logits - logits[0, 0], abs=1e-5)
    inverse = logits_of(network("Sigmoid", np.eye(3, dtype=np.float32)).graph.outputs[0])
    assert inverse is not None
    assert inverse(1 / (1 + np.exp(-logits))) == pytest.approx(logits, abs=1e-5)
    # 0 and 1 of an int8 file stay finite.
    assert np.isfinite(inverse(np.float32([0, 1]))).all()
