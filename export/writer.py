"""Make the files of each precision, and keep those that are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from edgeconv.bundle import Artifact, Format, IoType, Precision
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.precision import Variant, make_variant
from edgeconv.export.quantize import QuantizedModel, quantize
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.export.request import ResolvedRequest
from edgeconv.export.search import FrontPoint, find_front
from edgeconv.export.verify.check_export import verified, warn_of_failures
from edgeconv.export.verify.parity import Reference
from edgeconv.export.write import write_artifact


@dataclass
class Writer:
    """Makes the files of each precision; one that fails does not keep the others from it.

    Attributes:
        request: What is asked for.
        folder: Where the files go.
        failures: Why files failed, by their names.
    """

    request: ResolvedRequest
    folder: Path
    failures: dict[str, EdgeconvError] = field(default_factory=dict)

    def variants(
        self, graph: ir.Model, quantized: QuantizedModel | None, *, calibrated: bool
    ) -> list[Variant]:
        """The network in the precisions whose scales are in the file, or else in the others."""
        request, made = self.request, []
        for precision in request.precisions:
            if precision.calibrated != calibrated or (calibrated and quantized is None):
                continue
            try:
                variant = make_variant(
                    precision,
                    graph,
                    quantized,
                    request.asked.io,
                    request.existing,
                    half_arithmetic=request.half_arithmetic,
                )
            except EdgeconvError as error:
                self._note(error, precision, *request.formats)
            else:
                made.append(variant)
        return made

    def quantize(self, graph: ir.Model, batches: SampleBatches) -> QuantizedModel | None:
        """The QDQ graph, where one is asked for: calibrated, or ``graph`` itself if it is one."""
        request = self.request
        if request.calibrates:
            options = self._options()
            if Precision.INT8 not in request.precisions:
                options = replace(options, repair=False)  # 16 bits lose less
            try:
                return quantize(graph, batches, options, request.asked.progress)
            except EdgeconvError as error:
                for precision in filter(lambda each: each.calibrated, request.precisions):
                    self._note(error, precision, *request.formats)
                return None
        for _ in batches:
            pass  # keeps what verification needs
        return None if request.existing is None else QuantizedModel(graph, ())

    def front(self, graph: ir.Model, batches: SampleBatches) -> tuple[FrontPoint, ...]:
        """What accuracy costs by layer."""
        request = self.request
        return find_front(
            graph,
            batches,
            self._options(),
            int16=request.may_have_int16,
            progress=request.asked.progress,
        )

    def _options(self) -> QuantizeOptions:
        integer = self.request.asked.io not in (IoType.FLOAT32, IoType.FLOAT16)
        return replace(self.request.quantization, integer_outputs=integer)

    def write(self, variants: Sequence[Variant]) -> list[Artifact]:
        """Write each variant in each format."""
        request, artifacts = self.request, []
        for variant in variants:
            for format in dict.fromkeys(request.formats):
                path = self._path(variant.precision, format)
                request.asked.progress(f"Writing {path.name}", 0, 1)
                try:
                    artifact = write_artifact(
                        path,
                        variant.onnx if format is Format.ONNX else variant.tflite,
                        format,
                        variant.precision,
                        layout=request.asked.layout,
                        runtime=request.runtime,
                        target=request.asked.target,
                        float_fallback=variant.float_fallback,
                        finish=variant.finish,
                        dynamic_batch=request.asked.dynamic_batch,
                    )
                except EdgeconvError as error:
                    path.unlink(missing_ok=True)
                    self._note(error, variant.precision, format)
                else:
                    artifacts.append(artifact)
        return artifacts

    def verify(
        self,
        artifacts: Sequence[Artifact],
        reference: Reference,
        at_batches: Callable[[Sequence[Artifact]], dict[str, EdgeconvError]],
    ) -> tuple[list[Artifact], list[Artifact]]:
        """Run the files, and remove those that are wrong unless the request keeps them.

        Args:
            artifacts: The files.
            reference: What they are held against.
            at_batches: Runs those that are right at other batches, and says which failed, and why.

        Returns:
            The files that remain, and those that were removed.

        Raises:
            EdgeconvError: Nothing is right, and there is no budget to try again for.
        """
        checked, wrong = verified(self.folder, artifacts, reference)
        wrong = wrong | at_batches([each for each in checked if each.path not in wrong])
        if not self.request.asked.verify:
            warn_of_failures(wrong)
            return checked, []
        self.failures.update(wrong)
        right = [artifact for artifact in checked if artifact.path not in wrong]
        failed = [artifact for artifact in checked if artifact.path in wrong]
        if not right and not self.request.asked.has_budget:
            raise next(iter(self.failures.values()))
        for artifact in failed:
            (self.folder / artifact.path).unlink()
        return right, failed

    def _path(self, precision: Precision, format: Format) -> Path:
        return self.folder / f"{self.request.name}_{precision.value}.{format.value}"

    def _note(self, error: EdgeconvError, precision: Precision, *formats: Format) -> None:
        """Note a failure; what is a wrong request, or fails in float32, fails altogether."""
        if isinstance(error, UsageError) or precision is Precision.FLOAT32:
            raise error
        for format in formats:
            self.failures[self._path(precision, format).name] = error
