"""The zoo's front door: names, options, cards."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv import models
from edgeconv.models import registry
from edgeconv.models.families import find_families
from edgeconv.models.registry import register

FAMILY = """
from torch import nn
from edgeconv.models.registry import register

@register(
    family="Tiny", paper="none", parameters=12, macs=12, receptive_field=None, input_shape=(3,)
)
def tiny_net(num_classes: int = 4) -> nn.Module:
    return nn.Linear(3, num_classes, bias=False)
"""


def test_a_pattern_selects_names_in_order() -> None:
    names = models.list_models("resnet*")
    assert {"resnet8", "resnet18", "resnet50"} <= set(names)
    assert names == sorted(names)
    assert models.list_models("no such*") == []


def test_an_unknown_name_suggests_its_neighbors() -> None:
    with pytest.raises(models.UnknownNetwork, match=r"'mobilenetv2'.*mobilenet_v2"):
        models.create_model("mobilenetv2")


def test_a_name_like_no_other_points_to_the_list() -> None:
    with pytest.raises(models.UnknownNetwork, match="edgeconv models"):
        models.model_info("zzzzzz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 1.0}, "its options are dropout, in_channels, input_size, num_classes, width_mu"),
        ({"num_classes": "ten"}, "num_classes must be a whole number, not 'ten'"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"num_classes": 0}, "num_classes must be positive"),
        ({"width_mult": -0.5}, "width_mult must be positive"),
        ({"width_mult": float("nan")}, "width_mult must be positive"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(models.UnknownOption, match=message) as caught:
        models.create_model("mobilenet_v2", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("unet", 100, "unet: input_size must be a multiple of 16, not 100"),
        ("fastdepth", 48, "a multiple of 32"),
        ("vgg11", 31, "32 or more"),
    ],
)
def test_sizes_that_cannot_work_are_refused(name: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.create_model(name, input_size=size)


def test_only_square_inputs_have_a_size() -> None:
    with pytest.raises(models.UnknownOption, match="has no option 'input_size'"):
        models.input_shape("ds_cnn", input_size=32)


def test_options_reach_the_network_and_its_input() -> None:
    options = {"num_classes": 7, "in_channels": 1, "width_mult": 0.25, "input_size": 32}
    network = models.create_model("mobilenet_v1", **options)
    shape = models.input_shape("mobilenet_v1", **options)
    assert shape == (1, 32, 32)
    assert network(torch.zeros(2, *shape)).shape == (2, 7)
    assert not network.training


def test_preprocessing_follows_the_options() -> None:
    plain = models.preprocessing("resnet18")
    small = models.preprocessing("resnet18", input_size=112)
    gray = models.preprocessing("resnet18", in_channels=1)
    assert plain is not None
    assert small is not None
    assert gray is not None
    assert (plain.resize, small.resize, gray.resize) == (256, 128, 256)
    assert gray.mean == (pytest.approx(0.449),)
    assert models.preprocessing("resnet18", in_channels=5) is None


def test_a_name_is_registered_once() -> None:
    def resnet18() -> nn.Module:
        return nn.Identity()

    again = register(family="", paper="", parameters=0, macs=0, receptive_field=None)
    with pytest.raises(ValueError, match="'resnet18' is registered twice"):
        again(resnet18)


def test_a_new_file_is_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "zoo_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "arithmetic.py").write_text("# Registers nothing.", "utf-8")
    (package / "tiny.py").write_text(FAMILY, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_networks", registry._networks.copy())

    families = find_families(importlib.import_module("zoo_of_a_test"))

    assert [family.__name__ for family in families] == ["zoo_of_a_test.tiny"]
    assert models.create_model("tiny_net", num_classes=2)(torch.zeros(1, 3)).shape == (1, 2)


def test_a_new_file_in_the_folder_of_the_zoo_is_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny_in_the_zoo.py").write_text(FAMILY, "utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_networks", registry._networks.copy())

    families = find_families(models)

    new = set(families) - set(models.FAMILIES)
    assert [family.__name__ for family in new] == ["edgeconv.models.tiny_in_the_zoo"]
    assert "tiny_net" in models.list_models()
