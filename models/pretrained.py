"""torchvision's published ImageNet weights for the networks that share its keys.

The files are those that torchvision's own ``IMAGENET1K_V1`` weights name. Each carries the first
digits of its SHA-256 in its name, and a download that does not match them is refused.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from urllib.error import URLError

import torch
from torch import Tensor, nn

BASE_URL = "https://download.pytorch.org/models"

FILES = {
    "densenet121": "densenet121-a639ec97.pth",
    "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    "googlenet": "googlenet-1378be20.pth",
    "lraspp_mobilenet_v3": "lraspp_mobilenet_v3_large-d234d4ea.pth",
    "mnasnet1_0": "mnasnet1.0_top1_73.512-f206786ef8.pth",
    "mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "mobilenet_v3_large": "mobilenet_v3_large-8738ca79.pth",
    "mobilenet_v3_small": "mobilenet_v3_small-047dcff4.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "shufflenet_v2_x1_0": "shufflenetv2_x1-5666bf0f80.pth",
    "squeezenet1_1": "squeezenet1_1-b8a52dc0.pth",
    "vgg11": "vgg11-8a719046.pth",
}


class PretrainedError(RuntimeError):
    """There are no published weights, they cannot be had, or they do not fit.

    Args:
        message: What happened and where.
        hint: What to do about it, where that is known.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message, self.hint = message, hint


def load_pretrained(name: str, network: nn.Module, base_url: str = BASE_URL) -> None:
    """Load the published weights of the zoo's network ``name`` into ``network``, in place.

    The file is downloaded once and kept in torch.hub's folder (``TORCH_HOME``).

    Raises:
        PretrainedError: There are none, they cannot be downloaded, or they do not fit.
    """
    if name not in FILES:
        raise PretrainedError(
            f"{name} has no published weights", f"these networks have: {', '.join(sorted(FILES))}"
        )
    state = download(f"{base_url}/{FILES[name]}")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise PretrainedError(
            f"the published weights of {name} fit its default options only", "leave the options out"
        ) from error


def download(url: str) -> dict[str, Tensor]:
    """Return a state dict from ``url``, or from the cache.

    The hash in the file's name is checked, and nothing but tensors is unpickled.

    Raises:
        PretrainedError: No network, no such file, a wrong hash, or a damaged file in the cache.
    """
    try:
        # torch.hub announces the download on standard output, where a caller may print JSON.
        with contextlib.redirect_stdout(io.StringIO()):
            state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise PretrainedError(
            f"{url} cannot be downloaded ({reason})",
            "check the connection, or pass a file with --weights",
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if "invalid hash" in str(error):
            raise PretrainedError(f"{url} is not the published file: its hash differs") from error
        file = f"{torch.hub.get_dir()}/checkpoints/{url.rpartition('/')[2]}"
        raise PretrainedError(f"{file} is damaged", "delete it and try again") from error
    return state
