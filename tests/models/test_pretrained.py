"""Published weights, from a server on loopback."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgeconv import models
from edgeconv.errors import DataError
from edgeconv.export.capture.weights import load_weights
from edgeconv.models import pretrained
from edgeconv.models.pretrained import PretrainedError, load_pretrained
from edgeconv.models.randomize import randomize_


def publish(
    folder: Path, name: str, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Put a checkpoint on the server under a name that carries its hash."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path = folder / f"{name}-{digest[:8]}.pth"
    path.write_bytes(buffer.getvalue())
    monkeypatch.setitem(pretrained.FILES, name, path.name)
    return path


def test_weights_arrive_and_are_cached(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    source = randomize_(models.create_model("resnet8"), seed=3)
    file = publish(folder, "resnet8", source.state_dict(), monkeypatch)
    for _ in range(2):
        network = models.create_model("resnet8")
        load_pretrained("resnet8", network, url)
        for key, value in network.state_dict().items():
            assert torch.equal(value, source.state_dict()[key])
        file.unlink(missing_ok=True)  # the second time there is only the cache


def test_a_changed_file_is_refused(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    file = publish(folder, "resnet8", {"x": torch.zeros(3)}, monkeypatch)
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(PretrainedError, match="its hash differs"):
        load_pretrained("resnet8", models.create_model("resnet8"), url)


def test_a_missing_file_and_a_dead_server_say_what_to_do(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pretrained.FILES, "resnet8", "resnet8-00000000.pth")
    network = models.create_model("resnet8")
    with pytest.raises(
        PretrainedError, match=r"cannot be downloaded \(File not found\).*--weights"
    ):
        load_pretrained("resnet8", network, server[0])
    with pytest.raises(PretrainedError, match=r"cannot be downloaded .*refused.*--weights"):
        load_pretrained("resnet8", network, "http://127.0.0.1:9")


def test_a_damaged_cache_names_the_file(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cached = tmp_path / "cache" / "hub" / "checkpoints" / "resnet8-00000000.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"not a checkpoint")
    monkeypatch.setitem(pretrained.FILES, "resnet8", cached.name)
    with pytest.raises(PretrainedError, match=f"{cached} is damaged; delete it"):
        load_pretrained("resnet8", models.create_model("resnet8"), server[0])


def test_code_in_a_checkpoint_never_runs(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    url, folder = server
    publish(folder, "resnet8", {"x": Trap()}, monkeypatch)  # type: ignore[dict-item]
    with pytest.raises(PretrainedError):
        load_pretrained("resnet8", models.create_model("resnet8"), url)
    assert not (tmp_path / "sprung").exists()


def test_weights_that_do_not_fit_say_why(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    publish(folder, "resnet8", models.create_model("resnet8").state_dict(), monkeypatch)
    with pytest.raises(PretrainedError, match="default options only"):
        load_pretrained("resnet8", models.create_model("resnet8", num_classes=3), url)


def test_a_network_without_weights_lists_those_with() -> None:
    with pytest.raises(PretrainedError, match=r"ghostnet has no published weights.*mobilenet_v2"):
        load_pretrained("ghostnet", nn.Identity())


def early_release(source: nn.Module) -> dict[str, Tensor]:
    """The state of a densenet121 under the names that torchvision's published file has."""
    old = {}
    for key, value in source.state_dict().items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    return old


@pytest.mark.slow
def test_published_files_load_as_they_are(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    source = models.create_model("densenet121")
    file = publish(folder, "densenet121", early_release(source), monkeypatch)
    downloaded, loaded = (models.create_model("densenet121") for _ in range(2))
    load_pretrained("densenet121", downloaded, url)
    load_weights(loaded, file)
    for key, value in source.state_dict().items():
        assert torch.equal(downloaded.state_dict()[key], value)
        assert torch.equal(loaded.state_dict()[key], value)


def test_auxiliary_heads_are_optional(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    full = models.create_model("googlenet", aux_logits=True)
    file = publish(folder, "googlenet", full.state_dict(), monkeypatch)
    for aux_logits in (False, True):
        downloaded, loaded = (
            models.create_model("googlenet", aux_logits=aux_logits) for _ in range(2)
        )
        load_pretrained("googlenet", downloaded, url)
        load_weights(loaded, file)
        for network in (downloaded, loaded):
            assert torch.equal(network.fc.weight, full.fc.weight)


def test_missing_heads_are_missed(tmp_path: Path) -> None:
    plain = models.create_model("googlenet").state_dict()
    torch.save(plain, tmp_path / "plain.pth")
    with pytest.raises(DataError, match=r"lacks 'aux1\."):
        load_weights(models.create_model("googlenet", aux_logits=True), tmp_path / "plain.pth")


def test_file_names_carry_a_hash_of_eight_digits_or_more() -> None:
    assert all(torch.hub.HASH_REGEX.search(name) for name in pretrained.FILES.values())
    assert set(pretrained.FILES) <= set(models.list_models())
