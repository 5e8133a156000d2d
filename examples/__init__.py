"""Examples that train small networks on real data, export them and measure the files."""

from importlib.util import find_spec

# The folder `edgeconv` of a clone hides a copy that pip has installed, and lacks two of its parts.
if find_spec("edgeconv") is not None and find_spec("edgeconv.export") is None:
    raise SystemExit(
        "error: this clone is not what Python imports as edgeconv\n"
        "hint: run `make setup`, or `pip install -e .` in your environment"
    )
