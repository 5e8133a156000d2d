"""``edgeconv models`` and ``edgeconv cost``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeconv import models
from edgeconv.cli import cli
from support.command_line import as_printed


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def output(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_models_lists_the_zoo() -> None:
    lines = output("models", "--wide").splitlines()
    assert len(lines) == 1 + len(models.list_models())
    row = next(line for line in lines if line.startswith("mobilenet_v2 "))
    for figure in ("3x224x224", "3.50 M", "301 M", "491 px", "71.878 % top-1", "1801.04381"):
        assert figure in row


def test_models_takes_a_pattern() -> None:
    names = [
        line.split()[0] for line in output("models", "*_early_exit", "--wide").splitlines()[1:]
    ]
    assert names == ["mobilenet_v2_early_exit", "resnet_early_exit"]


def test_one_model_shows_its_card() -> None:
    text = output("models", "mobilenet_v1_025")
    for figure in ("213,586", "Visual Wake Words", "width_mult", "3x96x96"):
        assert figure in text


def test_columns_line_up() -> None:
    header, *rows = output("models", "resnet*", "--wide").splitlines()
    for name in ("parameters", "MACs", "field"):
        end = header.index(name) + len(name)
        # A number ends where its heading ends, and a gap follows.
        assert all(row[end - 1] != " " and row[end : end + 2] == "  " for row in rows)


def test_the_card_of_an_early_exit_tells_of_its_stages() -> None:
    text = output("models", "resnet_early_exit")
    assert "exit1, exit2, final" in text
    assert "0 to 2; --model-arg stage=0" in text


def test_the_card_says_whether_weights_are_published() -> None:
    assert "with --pretrained" in output("models", "resnet18")
    assert "none are published" in output("models", "ghostnet")


def test_models_as_json() -> None:
    document = json.loads(output("models", "--json"))
    assert document["schema_version"] == 1
    cards = {card["name"]: card for card in document["networks"]}
    assert cards["resnet50"]["pretrained"]
    assert not cards["ghostnet"]["pretrained"]
    assert cards["resnet50"]["parameters"] == 25_557_032
    assert cards["resnet50"]["accuracy"]["value"] == pytest.approx(76.13)
    assert cards["ds_cnn"]["input_shape"] == [1, 49, 10]
    assert cards["fpn_resnet18"]["outputs"] == ["p2", "p3", "p4", "p5"]


def test_no_match_is_an_error() -> None:
    result = run("models", "zzz*")
    assert "no network matches 'zzz*'" in str(result.exception)


def test_a_slip_in_a_name_is_met_with_near_names() -> None:
    assert "hint: did you mean 'mobilenet_v2'" in str(run("models", "mobilenet_v9").exception)


def test_the_card_tells_the_options_and_their_defaults() -> None:
    options = next(line for line in output("models", "ds_cnn").splitlines() if "options" in line)
    assert options.split(maxsplit=1)[1].strip() == "num_classes=12, in_channels=1, dropout=0.4"


@pytest.mark.parametrize(
    ("arguments", "stray"),
    [
        (("--conv", "32,64,3", "--precision", "int8"), "--precision"),
        (("--conv", "32,64,3", "--model-arg", "width_mult=1"), "--model-arg"),
        (("resnet8", "--dilation", "3"), "--dilation"),
    ],
)
def test_cost_refuses_what_it_would_not_read(arguments: tuple[str, ...], stray: str) -> None:
    assert f"{stray} applies to" in as_printed(run("cost", *arguments).exception)


def test_cost_of_the_textbooks_convolution() -> None:
    text = output("cost", "--conv", "32,64,3", "--wide")
    for figure in ("18,432", "288", "2,048", "2,336", "12.7%", "rank one"):
        assert figure in text
    assert "MACs" not in text
    assert "57,802,752" in output("cost", "--conv", "32,64,3", "--size", "56")
    document = json.loads(output("cost", "--conv", "16,32,3", "--json"))
    assert document["schema_version"] == 1
    kinds = {kind["name"]: kind for kind in document["convolutions"]}
    assert kinds["depthwise separable"]["parameters"] == 656


def test_cost_tells_from_which_kernel_on_the_frequency_domain_is_cheaper() -> None:
    arguments = ("cost", "--conv")
    text = output(*arguments, "3,64,3", "--size", "32")
    # 64 x 64 points: 4 C M 64 33 products and 67 transforms of 4096 times 12.
    assert f"{4 * 3 * 64 * 64 * 33 + 67 * 4096 * 12:,} multiplications" in text
    assert "at 32x32 fewer for kernels from 7x7 on" in " ".join(text.split())
    document = json.loads(output("cost", "--conv", "3,64,7", "--size", "32", "--json"))
    assert document["frequency_domain"]["fewer_from"] == 7
    assert document["frequency_domain"]["direct_macs"] == 49 * 3 * 64 * 32**2
    assert "frequency" not in output(*arguments, "3,64,3")
    # Between the two ranges the transforms are of 64 x 64 points and not of 32 x 32.
    text = " ".join(output(*arguments, "1,8,5", "--size", "28").split())
    assert "at 28x28 fewer for kernels of 5x5 and from 11x11 on" in text


def test_cost_of_a_network_by_layer() -> None:
    text = output("cost", "resnet8")
    for figure in ("blocks.1.shortcut", "conv 1x1", "78,186", "12,501,632", "25 px", "17.7%"):
        assert figure in text
    assert "blocks.1" not in output("cost", "resnet8", "--no-layers")


def test_cost_as_json_follows_the_options() -> None:
    arguments = ("cost", "mobilenet_v1", "--json", "--input-size", "64")
    full = json.loads(output(*arguments))
    narrow = json.loads(output(*arguments, "--model-arg", "width_mult=0.25"))
    int8 = json.loads(output(*arguments, "--precision", "int8"))
    assert narrow["parameters"] < full["parameters"] / 4
    assert sum(layer["macs"] for layer in full["layers"]) == full["macs"]
    assert int8["peak_bytes"] * 4 == full["peak_bytes"]
    assert full["schema_version"] == 1


def test_cost_of_a_stage() -> None:
    arguments = ("cost", "resnet_early_exit", "--json", "--model-arg")
    stages = [json.loads(output(*arguments, f"stage={index}")) for index in range(3)]
    card = models.model_info("resnet_early_exit")
    assert sum(stage["parameters"] for stage in stages) == card.parameters
    assert sum(stage["macs"] for stage in stages) == card.macs


def test_cost_of_the_users_own_module(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("from torch import nn\n\ndef net():\n    return nn.Conv2d(1, 2, 3)\n")
    text = output("cost", f"{file}:net", "--input-size", "1x8x8")
    assert "conv 3x3" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a MODEL, or pass --conv"),
        (("resnet8", "--conv", "3,4,3"), "cost takes either a MODEL or --conv"),
        (("--conv", "3,4"), "channels in, channels out, kernel side"),
        (("--conv", "3,4,0"), "must be positive"),
        (("--conv", "3,4,3", "--groups", "2"), "2 groups do not divide 3 and 4 channels"),
        (("resnet9",), "resnet8"),
        (("resnet8", "--model-arg", "depth=3"), "resnet8 has no option 'depth'"),
        (("vgg11", "--input-size", "100x224"), "cannot be traced on an input of 1x3x100x224"),
    ],
)
def test_bad_requests_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run("cost", *arguments)
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert "\n" not in str(result.exception).replace("\nhint: ", "", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["models", "mobile*"],
        ["models", "mobilenet_v2"],
        ["cost", "resnet18"],
        ["cost", "mobilenet_v3_small"],
        ["cost", "--conv", "32,64,3", "--size", "56"],
    ],
)
def test_tables_fit_80_columns(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_wide_tables_are_whole() -> None:
    assert "arXiv:1801.04381" not in CliRunner().invoke(cli, ["models", "mobile*"]).stdout
    assert "arXiv:1801.04381" in CliRunner().invoke(cli, ["models", "mobile*", "--wide"]).stdout
