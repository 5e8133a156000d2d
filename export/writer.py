"""Make the files of each precision, and keep those that are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from edgeconv.bundle import Artifact, Format, IoType, Precision
from edgeconv.errors import EdgeconvError, UsageError, VerificationError
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.file_description import FileDescription
from edgeconv.export.image_input import Normalization, OnPictures
from edgeconv.export.output_head import OutputHead
from edgeconv.export.precision import Variant, make_variant
from edgeconv.export.quantize import (
    HeldBack,
    QuantizedModel,
    Surveyed,
    demand_quantizable,
    for_pictures,
    quantize,
    survey_part,
)
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.export.request import ResolvedRequest
from edgeconv.export.search import FrontPoint, find_front
from edgeconv.export.tflite.forms import forms_for
from edgeconv.export.verify.check_export import verified, warn_of_failures
from edgeconv.export.verify.expected import Reference
from edgeconv.export.write import write_artifact


@dataclass
class Writer:
    """Makes the files of each precision; one that fails does not keep the others from it.

    Attributes:
        request: What is asked for.
        folder: Where the files go.
        description: What the files say of themselves.
        pictures: How the files take pictures, if they do.
        head: What they make of scores, if anything.
        failures: Why files failed, by their names.
    """

    request: ResolvedRequest
    folder: Path
    description: FileDescription
    pictures: OnPictures | None = None
    head: OutputHead | None = None
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
                    self._with_ranges_of(precision, quantized),
                    request.asked.io,
                    request.existing,
                    half_arithmetic=request.half_arithmetic,
                    forms=forms_for(request.runtime, dynamic_batch=request.asked.dynamic_batch),
                )
            except EdgeconvError as error:
                self._note(error, precision, *request.formats)
            else:
                made.append(variant)
        return made

    def _with_ranges_of(
        self, precision: Precision, quantized: QuantizedModel | None
    ) -> QuantizedModel | None:
        """What was quantized for int8, with the ranges of another precision."""
        if quantized is None or quantized.fitted is None or precision is not Precision.INT16X8:
            return quantized
        roomy = quantized.with_room()
        return replace(roomy, model=self._headed(roomy.model))

    def demand_quantizable(self, graph: ir.Model) -> None:
        """Refuse now what :meth:`quantize` refuses whatever it is calibrated on.

        Raises:
            UsageError: No operator can be quantized, or options name one that is not there.
        """
        _, (graph, _, options) = self._quantizing(graph, ())
        demand_quantizable(graph, options)

    def quantize(
        self, graph: ir.Model, batches: SampleBatches, surveyed: Surveyed | None = None
    ) -> QuantizedModel | None:
        """The QDQ graph, where one is asked for: calibrated, or ``graph`` itself if it is one.

        Args:
            graph: The graph without the head, which is put behind what this returns.
            batches: What to calibrate on.
            surveyed: What :meth:`survey_part` found on all parts of them, if that was done.
        """
        found = self._quantized(graph, batches, surveyed)
        if found is None:
            return None
        return replace(found, model=self._headed(found.model))

    def _headed(self, qdq: ir.Model) -> ir.Model:
        """A QDQ graph of the scores with the head behind it."""
        if self.head is None:
            return qdq
        return self.head.behind(qdq, integer=self._integer_io)

    @property
    def _integer_io(self) -> bool:
        return self.request.asked.io not in (IoType.FLOAT32, IoType.FLOAT16)

    def survey_part(
        self, graph: ir.Model, batches: SampleBatches, index: int, parts: int
    ) -> Surveyed:
        """Observe what :meth:`quantize` needs on one of so many parts of the batches."""
        _, (graph, data, options) = self._quantizing(graph, batches)
        return survey_part(graph, data, options, index, parts, self.request.asked.progress)

    def _quantized(
        self, graph: ir.Model, batches: SampleBatches, surveyed: Surveyed | None
    ) -> QuantizedModel | None:
        request = self.request
        if request.calibrates:
            entrance, (graph, data, options) = self._quantizing(graph, batches)
            held_back = None
            if options.repair_to is not None:
                held_back = self._held_back(graph, batches, entrance)
            try:
                found = quantize(graph, data, options, request.asked.progress, surveyed, held_back)
                return replace(found, entrance=entrance)
            except EdgeconvError as error:
                for precision in filter(lambda each: each.calibrated, request.precisions):
                    self._note(error, precision, *request.formats)
        for _ in batches:
            pass  # keeps what verification needs
        return None if request.existing is None else QuantizedModel(graph, ())

    def _held_back(
        self, graph: ir.Model, batches: SampleBatches, entrance: Normalization | None
    ) -> HeldBack:
        """What measures on the samples that verify."""

        def samples() -> list[Batch]:
            if entrance is None:
                return list(batches.kept)
            return [[entrance.normalized(pictures)] for (pictures,) in batches.kept]

        expected = graph if self.head is None else self.head.behind(graph)
        return HeldBack(samples, expected, self._headed)

    def front(self, graph: ir.Model, batches: SampleBatches) -> tuple[FrontPoint, ...]:
        """What accuracy costs by layer."""
        request = self.request
        _, (graph, data, options) = self._calibrating(graph, batches)
        return find_front(
            graph,
            data,
            options,
            int16=request.may_have_int16,
            progress=request.asked.progress,
        )

    def _quantizing(
        self, graph: ir.Model, batches: Batches
    ) -> tuple[Normalization | None, tuple[ir.Model, Batches, QuantizeOptions]]:
        """What :meth:`_calibrating` says, for the files themselves."""
        entrance, (graph, data, options) = self._calibrating(graph, batches)
        if Precision.INT8 not in self.request.precisions:
            options = replace(options, repair=False)  # 16 bits lose less
        return entrance, (graph, data, options)

    def _calibrating(
        self, graph: ir.Model, batches: Batches
    ) -> tuple[Normalization | None, tuple[ir.Model, Batches, QuantizeOptions]]:
        """What is left to be done to pictures, and what is quantized, on which data, and how."""
        options = replace(self.request.quantization, integer_outputs=self._integer_io)
        if self.pictures is None:
            return None, (graph, batches, options)
        entrance = self.pictures.enter(integer=True, integer_io=self._integer_io)
        data, options = for_pictures(entrance, batches, options)
        return entrance.before, (entrance.graph, data, options)

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
                        forms=variant.forms,
                        dynamic_batch=request.asked.dynamic_batch,
                        description=self.description,
                    )
                except EdgeconvError as error:
                    path.unlink(missing_ok=True)
                    self._note(error, variant.precision, format)
                else:
                    artifacts.append(artifact if self.pictures is None else _of_bytes(artifact))
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
        checked, wrong = verified(self.folder, artifacts, reference, self.request.asked.progress)
        wrong = wrong | at_batches([each for each in checked if each.path not in wrong])
        if not self.request.asked.verify:
            warn_of_failures(wrong)
            return checked, []
        for error in wrong.values():
            if isinstance(error, VerificationError):
                error.hint += ", or pass --no-verify to keep the file"
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


def _of_bytes(artifact: Artifact) -> Artifact:
    """A file on pictures: the integers that it takes are their bytes, less 128 where they are int8.

    What they mean to the network, the file itself knows.
    """
    (taken,) = artifact.inputs
    if taken.dtype not in ("int8", "uint8"):
        return artifact
    meaning = {"scale": 1.0, "zero_point": 0 if taken.dtype == "uint8" else -128}
    return artifact.model_copy(update={"inputs": (taken.model_copy(update=meaning),)})
