"""timm and torchvision for tests, where they are installed."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest
from torch.library import Library

_SHARED = "Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width"
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_SHARED}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({_SHARED}) -> (Tensor, Tensor)",
    f"ps_roi_align({_SHARED}, int sampling_ratio) -> (Tensor, Tensor)",
    f"ps_roi_pool({_SHARED}) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    "int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, "
    "int groups, int offset_groups, bool use_mask) -> Tensor",
    "_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, int pooled_height, "
    "int pooled_width, int batch_size, int channels, int height, int width, int sampling_ratio, "
    "bool aligned) -> Tensor",
    "_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, "
    "int pooled_height, int pooled_width, int batch_size, int channels, int height, int width) "
    "-> Tensor",
    "_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, int pooled_height, int pooled_width, int sampling_ratio, "
    "int batch_size, int channels, int height, int width) -> Tensor",
    "_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, int pooled_height, int pooled_width, int batch_size, int channels, "
    "int height, int width) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, "
    "Tensor mask, Tensor bias, int stride_h, int stride_w, int pad_h, int pad_w, "
    "int dilation_h, int dilation_w, int groups, int offset_groups, bool use_mask) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor)",
)
# A library ends with its last reference.
_declared: list[Library] = []


def library(name: str) -> ModuleType:
    """Import timm or torchvision, or skip the test.

    They are looked for in the folder of packages without their dependencies, too.
    A torchvision of another build than torch lacks its compiled operators. No test needs them, so
    they are declared, which is enough for its import.
    """
    folder = os.environ.get("EDGECONV_REALNETS", "build/realnets")
    if folder not in sys.path:
        sys.path.append(folder)
    pytest.importorskip("torchvision", exc_type=ModuleNotFoundError) if _is_whole() else _declare()
    return pytest.importorskip(name)


def _is_whole() -> bool:
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        return False
    except ModuleNotFoundError:
        return True
    return True


def _declare() -> None:
    if not _declared:
        _declared.append(Library("torchvision", "DEF"))
        for operator in _OPERATORS:
            _declared[0].define(operator)
