"""What `blame` prints where the bundle's int8 file differs from what it measures."""

from __future__ import annotations

import pytest

from edgeconv.export.blame.report import Blame, LayerBlame, Span
from edgeconv.report.blame import print_blame


@pytest.mark.parametrize(("file_db", "noted"), [(18.5, False), (20.4, True)])
def test_the_note_names_what_blame_leaves_out(
    file_db: float, noted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = LayerBlame(
        name="conv",
        position=0,
        node="conv",
        operator="Conv",
        alone_db=18.0,
        share=1.0,
        own_db=30.0,
        in_place_db=30.0,
        inherited=False,
        inputs=(),
        output=Span(low=0.0, high=1.0),
        reason="nothing stands out",
    )
    found = Blame(
        model="net",
        data="cal",
        calibration_samples=40,
        samples=16,
        method="minmax",
        sqnr_db=18.0,
        file_sqnr_db=file_db,
        layers=(layer,),
        float_fallback=(),
    )
    print_blame(found)
    said = " ".join(capsys.readouterr().out.split())
    assert ("The bundle's int8 file has 20.4 dB on these samples" in said) is noted
    assert ("leaves out: bias correction, layer reconstruction and repair" in said) is noted
