"""What PyTorch's exporter cannot take is named, with its place in the user's source."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgeconv.errors import CaptureError, UnsupportedOperator, UsageError
from edgeconv.export.capture.module import capture_module
from edgeconv.export.verify.reference import module_outputs

X = np.linspace(-1, 2, 24, dtype=np.float32).reshape(1, 4, 6)
HERE = Path(__file__).name


class Singular(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(x)


class Special(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.digamma(x.abs() + 1)


class Deciding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            raise RuntimeError("\x1b[96mnot here\x1b[0m")
        return x


class Network(nn.Module):
    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv1d(4, 4, 1), last])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def refusal(last: nn.Module) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        capture_module(Network(last).eval(), [X], ["y"], 20)
    assert "\n" not in caught.value.message
    assert "\x1b" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("last", "what", "code"),
    [
        (Singular(), "aten._linalg_svd", "return torch.linalg.svdvals(x)"),
        pytest.param(
            *(Special(), "aten.digamma.default", "return torch.digamma(x.abs() + 1)"),
            marks=pytest.mark.slow,
        ),
        (Deciding(), "torch.export cannot trace Network", "if x.sum() > 0:"),
        (Broken(), "not here", 'raise RuntimeError("'),
    ],
)
def test_the_operator_the_module_and_the_line(
    last: nn.Module, what: str, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refusal(last)
    assert what in error.message
    assert f"blocks.1 ({type(last).__name__})" in error.message
    assert f"{HERE}:" in error.message
    assert code in error.message
    assert error.hint
    assert capfd.readouterr() == ("", "")


class Packing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(6, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(x, [4], batch_first=True)
        return pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)[0]


def test_packed_sequences_are_refused_by_name() -> None:
    error = refusal(Packing())
    assert "torch.nn.utils.rnn.PackedSequence" in error.message
    assert "blocks.1.recurrent (GRU)" in error.message
    assert "pad_packed_sequence(self.recurrent(packed)" in error.message
    assert "padded batch" in error.hint


def test_a_module_of_pytorch_is_laid_to_the_line_that_calls_it() -> None:
    error = refusal(nn.FractionalMaxPool2d(2, output_size=2))
    assert "blocks.1 (FractionalMaxPool2d)" in error.message
    assert "x = block(x)" in error.message


@pytest.mark.filterwarnings("ignore")  # torch.ao.quantization says that it is to be moved
def test_a_network_that_is_converted_to_integers_says_what_to_export() -> None:
    network = nn.Sequential(nn.Linear(6, 5)).eval()
    converted = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    error = refusal(converted)
    assert "torch.ao.quantization has converted" in error.message
    assert error.hint == (
        "export the network as it is before convert or quantize_dynamic, with --calibration, or "
        "with --precision int8-dynamic"
    )


class Loss(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.log_softmax(-1)[0][:, None]
        size = torch.tensor([2])
        return nn.functional.ctc_loss(rows, torch.tensor([[1, 2]]), size + 1, size)


def test_a_loss_is_named_by_its_function() -> None:
    error = refusal(Loss())
    assert "torch.nn.functional.ctc_loss" in error.message
    assert "blocks.1 (Loss)" in error.message
    assert error.hint.startswith("write it with other operators there")


class Transforming(nn.Module):
    def __init__(self, transform: Callable[..., Callable[..., torch.Tensor]]) -> None:
        super().__init__()
        self.inner, self.transform = nn.Linear(6, 1), transform

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.transform(lambda v: self.inner(v).pow(2).sum())(x)


@pytest.mark.parametrize(
    "transform", [torch.func.grad, torch.func.jacrev, torch.func.hessian, torch.func.jacfwd]
)
def test_a_transform_of_functions_is_named_with_its_line(
    transform: Callable[..., Callable[..., torch.Tensor]],
) -> None:
    error = refusal(Transforming(transform))
    assert f"it cannot follow torch.func.{transform.__name__} at" in error.message
    assert "return self.transform(lambda v:" in error.message
    assert "write out the derivative" in error.hint


class FourBits(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -8, 7)


def test_fake_quantization_to_other_bits_says_what_to_train() -> None:
    error = refusal(FourBits())
    assert "fake_quantize_per_tensor_affine" in error.message
    assert "train with torch.quint8 or torch.qint8 in full" in error.hint


class Moving(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(6, device="cuda")


class Differentiating(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(x.pow(2).sum(), x)[0]


@pytest.mark.parametrize(
    ("network", "code", "hint"),
    [
        (Moving(), 'device="cuda"', "put what it makes in forward on x.device"),
        (Differentiating(), "torch.autograd.grad", "files compute no gradients"),
    ],
)
def test_a_network_that_fails_is_shown_its_line(network: nn.Module, code: str, hint: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("one of them runs on a GPU")
    with pytest.raises(UsageError) as caught:
        module_outputs(network, (X,))
    assert f"{HERE}:" in caught.value.message
    assert code in caught.value.message
    assert hint in caught.value.hint


def test_a_list_of_modules_has_no_forward() -> None:
    with pytest.raises(UsageError, match='required "forward"') as caught:
        module_outputs(nn.ModuleList([nn.ReLU()]), (X,))
    assert " at " not in caught.value.message
    assert caught.value.hint == "pass a module that has a forward, such as one of those in it"


def test_a_scripted_layer_is_named() -> None:
    network = nn.Sequential(nn.Linear(6, 6), torch.jit.script(nn.Linear(6, 6)))
    with pytest.raises(CaptureError, match=r"its layer '1' \(Linear\) is a TorchScript module"):
        capture_module(network, (X,), ("y",), 20)


def test_a_hook_that_looks_at_values_is_shown() -> None:
    network = nn.Sequential(nn.Linear(6, 6))
    network[0].register_forward_hook(lambda module, given, made: np.abs(made.numpy()) and None)
    with pytest.raises(CaptureError, match=rf"into a NumPy array .*{HERE}:\d+") as caught:
        capture_module(network, (X,), ("y",), 20)
    assert "remove a hook" in caught.value.hint


class Returning(nn.Module):
    """Returns what a function makes of its weight and its input."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(self.weight, x)


def test_a_weight_may_be_an_output() -> None:
    made = module_outputs(Returning(lambda weight, x: (x, weight)), (X,))
    np.testing.assert_array_equal([*made.values()][1], np.ones((2, 2)))


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of prototypes
@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("nested", lambda weight, x: torch.nested.nested_tensor([x[0], x[0, :2]])),
        ("quantized", lambda weight, x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)),
        ("sparse", lambda weight, x: x[0].to_sparse()),
    ],
)
def test_outputs_that_are_not_dense(
    kind: str, function: Callable[[torch.Tensor, torch.Tensor], object]
) -> None:
    with pytest.raises(CaptureError, match=f"of Returning is a {kind} tensor") as caught:
        module_outputs(Returning(function), (X,))
    assert caught.value.hint.startswith("return ")


def test_a_network_that_exits_is_shown_its_line() -> None:
    network = Returning(lambda weight, x: sys.exit("no license"))
    with pytest.raises(UsageError, match=rf"ends Python at .*{HERE}:\d+ .*: no license"):
        module_outputs(network, (X,))


class Drawing(nn.Module):
    def __init__(self, draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.draw(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "operator"),
    [
        (lambda x: torch.randn(x.shape, generator=torch.Generator()), "aten.randn.generator"),
        (lambda x: torch.bernoulli(x.sigmoid(), generator=torch.Generator()), "aten.bernoulli"),
        (lambda x: torch.randperm(x.shape[-1]).float(), "aten.randperm"),
        (lambda x: torch.poisson(x.abs()), "aten.poisson"),
        (lambda x: torch.empty_like(x).random_(), "aten.random"),
        (lambda x: torch.empty_like(x).random_(0, 5), "aten.random_.from"),  # its name is a keyword
        (lambda x: nn.functional.rrelu(x, training=True), "aten.rrelu_with_noise_functional"),
    ],
)
def test_random_numbers_that_onnx_has_not_are_refused_as_such(
    draw: Callable[[torch.Tensor], torch.Tensor], operator: str
) -> None:
    error = refusal(Drawing(draw))
    assert error.message.startswith(operator)
    assert "_export_root" not in error.message
    assert "draws random numbers, to which no file can be compared" in error.message
    assert error.hint == "feed them as an input"


def test_attention_that_always_drops_is_refused() -> None:
    """PyTorch's exporter leaves the share out, and the file was taken for one with a jump."""

    def attended(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.3)

    with pytest.raises(UnsupportedOperator, match=r"dropout_p is 0\.3") as caught:
        capture_module(Network(Drawing(attended)).eval(), [X], ["y"], 20)
    assert "blocks.1 (Drawing)" in caught.value.message
    assert "self.training" in caught.value.hint


def test_recurrent_layers_drop_only_in_training() -> None:
    """nn.LSTM states its share in eval mode too."""
    layer = nn.LSTM(6, 6, 2, dropout=0.5, batch_first=True)
    capture_module(nn.Sequential(layer).eval(), [X], ["y", "h", "c"], 20)
