"""Files that take pictures are measured on the bytes of one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeconv.bench.inputs import pixels
from edgeconv.bench.protocol import measure
from edgeconv.device import open_device
from edgeconv.export import export
from edgeconv.preprocessing import Preprocessing
from edgeconv.runner.inputs import structured
from support.scripted_device import QUICK


@pytest.mark.slow
def test_floats_from_0_to_255_where_the_manifest_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 5))
    how = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    wanted = {}
    for name, inputs in (("pictures", ["image"]), ("normalized", [])):
        bundle = export(
            network.eval(), out=tmp_path / name, name="net", input_size=16, preprocessing=how,
            inputs=inputs, formats=["onnx"], precisions=["float32"],
        )  # fmt: skip
        file = bundle.file(bundle.manifest.artifacts[0])
        session = ort.InferenceSession(str(file))
        (info,) = session.get_inputs()
        assert pixels(file) == ((info.name,) if inputs else ())
        random = np.random.RandomState(QUICK.seed)
        fed = structured(random, info.name, info.shape, "uint8" if inputs else "float32")
        assert (fed.max() > 200) == bool(inputs)
        (output,) = session.run(None, {info.name: fed.astype(np.float32)})
        wanted[name] = hashlib.sha256(output.tobytes()).hexdigest()
        result = measure([file], QUICK, open_device("local"))
        hashes = {out.sha256 for run in result.models[0].processes for out in run.outputs}
        assert hashes == {wanted[name]}
    assert wanted["pictures"] != wanted["normalized"]
