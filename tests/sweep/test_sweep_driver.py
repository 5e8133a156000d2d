"""The order of jobs, with measurements that are scripted: busy boards, lost boards, failures."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeconv.device import dispatch
from edgeconv.device.boards import open_pools
from edgeconv.device.dispatch import Failure
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.log_lines import WarningLines
from edgeconv.sweep import driver
from edgeconv.sweep.boards import boards_of
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.driver import Candidate, Driver
from edgeconv.sweep.jobs import CountJob, Job, MeasureJob
from edgeconv.sweep.plan import CountsOn, Exports, Measures, Models, Plan
from edgeconv.sweep.result import bundle_at, marked, rows_of
from edgeconv.sweep.work import RESULT, bundle_of, run_job
from edgeconv.sweep.workers import Workers
from support.results import made_counts, made_model, made_result
from support.tiny_models import write_onnx

SIZES = (8, 16, 24)  # of the networks
Script = Callable[[MeasureJob], Failure | None]


class Scripted(Workers):
    """Threads that carry out everything but measurements, which a script does."""

    def submit(self, job: Job, board: str | None) -> Future[Failure | None]:
        if isinstance(job, CountJob):
            return self.executor.submit(self._count, job)
        if not isinstance(job, MeasureJob):
            return super().submit(job, board)
        return self.executor.submit(self._measure, job)

    def probe(self, board: str, address: str) -> Future[str]:
        return self.executor.submit(asked, board)

    def _count(self, job: CountJob) -> Failure | None:
        if job.device == "emulated:pi3":
            return Failure("pi3: it could not be counted")
        with self.cache.writing("count", job.key()) as folder:
            made = made_counts({"m": len(job.device) * 1000}, sha256=job.files[0])
            made.save(folder / RESULT)
        return None

    def _measure(self, job: MeasureJob) -> Failure | None:
        failure = SCRIPT[0](job)
        if failure is None:
            with self.cache.writing("measure", job.key()) as folder:
                model = made_model("m", TIMES.get(job.device, [1000, 1001, 999]))
                file = model.file.model_copy(update={"sha256": job.files[0]})
                made_result(model.model_copy(update={"file": file})).save(folder / RESULT)
        return failure


SCRIPT: list[Script] = []
SOFTWARE: dict[str, str] = {}  # of boards that are not as others; empty of one that is off
TIMES: dict[str, list[int]] = {}  # medians of the processes on boards that are not as others


def asked(board: str) -> str:
    software = SOFTWARE.get(board, "Python 3.11.2, ai-edge-litert 2.1.0")
    if not software:
        raise MeasurementError(f"{board}: it does not answer")
    return software


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache with the exports of two networks, and their folder."""
    folder = tmp_path_factory.mktemp("exported")
    for size in SIZES:
        write_onnx(folder / f"net{size}.onnx", shape=(1, 3, size, size))
    cache = Cache(folder / "cache")
    for job in candidates(plan_of(folder, sizes=SIZES)):
        assert run_job(job, cache) is None
    return folder, cache.folder


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.02)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two boards in a pool."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeconv").mkdir()
    (tmp_path / "edgeconv" / "devices.toml").write_text(
        '[devices]\none = "ssh://one"\ntwo = "ssh://two"\n[pools]\npi = ["one", "two"]\n'
    )


def plan_of(
    folder: Path, *devices: str, wait: str = "1h", sizes: tuple[int, ...] = (8, 16)
) -> Plan:
    names = tuple(f"{folder}/net{size}.onnx" for size in sizes)
    measure = Measures(devices=devices, wait=wait) if devices else None  # type: ignore[arg-type]
    return Plan(model=(Models(name=names),), export=Exports(formats=("onnx",)), measure=measure)


@pytest.fixture
def swept(
    exported: tuple[Path, Path], tmp_path: Path
) -> Iterator[Callable[[Plan, Script], list[Candidate]]]:
    """Run a plan with scripted measurements, on exports that are there."""
    shutil.copytree(exported[1], tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    with ThreadPoolExecutor(4) as executor:

        def run(plan: Plan, script: Script) -> list[Candidate]:
            SCRIPT[:] = [script]
            return Driver(plan, cache, Scripted(executor, cache, 4)).run(candidates(plan))

        yield run


def test_the_number_of_jobs_is_known_from_the_start(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of a sweep that makes everything afresh, and of one that finds everything made."""
    plan = plan_of(exported[0], "ssh://pi").model_copy(
        update={"count": CountsOn(devices=("emulated:pi4",))}
    )
    cache = Cache(tmp_path / "cache")
    SCRIPT[:] = [lambda job: None]
    shown: list[tuple[int, int]] = []
    with ThreadPoolExecutor(1) as executor:
        for _ in range(2):
            drive = Driver(
                plan, cache, Scripted(executor, cache, 1), lambda _, *done: shown.append(done)
            )
            drive.run(candidates(plan))
    assert shown == [(done, 6) for done in range(1, 7)] * 2


def test_a_board_measures_one_thing_at_a_time(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]]
) -> None:
    lock, most = threading.Lock(), []

    def measure(job: MeasureJob) -> Failure | None:
        assert lock.acquire(blocking=False)
        threading.Event().wait(0.05)
        lock.release()
        most.append(job.device)
        return None

    done = swept(plan_of(exported[0], "ssh://pi"), measure)
    assert most == ["ssh://pi", "ssh://pi"]
    assert [each.failures for each in done] == [{}, {}]


@pytest.mark.usefixtures("pool")
def test_the_boards_of_a_pool_share_the_work(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]], tmp_path: Path
) -> None:
    """All measure the first file, which shows whether they agree; then each measures another."""
    meeting, made = threading.Barrier(2, timeout=30), list[tuple[str, tuple[str, ...]]]()

    def measure(job: MeasureJob) -> Failure | None:
        meeting.wait()  # both boards measure at the same time
        made.append((job.device, job.files))
        return None

    plan = plan_of(exported[0], "pi", sizes=SIZES)
    done = swept(plan, measure)
    assert {each.measured["pi"].device for each in done} == {"ssh://one", "ssh://two"}
    assert sorted(device for device, _ in made) == ["ssh://one"] * 2 + ["ssh://two"] * 2
    assert len({files for _, files in made[:2]}) == 1
    assert len({files for _, files in made}) == 3
    rows = list(rows_of(done, Cache(tmp_path / "cache")))
    assert [(row.device, row.threads, row.failures) for row in rows] == [("pi", 1, ())] * 3

    def never(job: MeasureJob) -> Failure | None:
        raise AssertionError("it is done already, on whichever board it was")

    again = swept(plan, never)
    assert [each.measured for each in again] == [each.measured for each in done]


@pytest.mark.usefixtures("pool")
def test_a_board_that_disagrees_is_set_aside(
    exported: tuple[Path, Path],
    swept: Callable[[Plan, Script], list[Candidate]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenth slower: it measures nothing but the file that shows it, also in a later sweep."""
    monkeypatch.setitem(TIMES, "ssh://one", [1100, 1102, 1099])
    plan, made = plan_of(exported[0], "pi", sizes=SIZES), list[str]()
    for _ in range(2):
        done = swept(plan, lambda job: made.append(job.device))  # type: ignore[func-returns-value]
        assert {each.measured["pi"].device for each in done} == {"ssh://two"}
        assert sorted(made) == ["ssh://one", *["ssh://two"] * 3]
        warning = "one is set aside: its latencies disagree with those of two by +10.0% [+"
        assert warning in caplog.text
        caplog.clear()


@pytest.mark.usefixtures("pool")
def test_one_repetition_shows_no_noise(
    exported: tuple[Path, Path],
    swept: Callable[[Plan, Script], list[Candidate]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = plan_of(exported[0], "pi")
    assert plan.measure is not None
    once = plan.model_copy(update={"measure": plan.measure.model_copy(update={"repetitions": 1})})
    made: list[tuple[str, ...]] = []
    swept(once, lambda job: made.append(job.files))  # type: ignore[func-returns-value]
    assert len(set(made)) == len(made) == 2
    assert "the boards of pi are not compared" in caplog.text


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("times", [[1000, 1001, 1002], [1100, 1102, 1099]])
def test_a_board_that_others_use_is_compared_later(
    exported: tuple[Path, Path],
    swept: Callable[[Plan, Script], list[Candidate]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    times: list[int],
) -> None:
    """The pool does not wait for it; it joins when it is free and agrees."""
    monkeypatch.setitem(TIMES, "ssh://one", times)
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.1)
    first_of_two, made = threading.Event(), list[str]()

    def measure(job: MeasureJob) -> Failure | None:
        if job.device == "ssh://one" and not first_of_two.is_set():
            return Failure("one: another edgeconv is measuring there", busy=True)
        made.append(job.device)
        if made.count("ssh://two") == 2:
            first_of_two.set()
        return None

    done = swept(plan_of(exported[0], "pi", sizes=SIZES), measure)
    assert [each.failures for each in done] == [{}] * 3
    assert made[:2] == ["ssh://two"] * 2
    assert "ssh://one" in made
    assert ("one is set aside" in caplog.text) == (times[0] == 1100)


@pytest.mark.usefixtures("pool")
def test_a_lost_board_gives_its_job_back_and_is_set_aside(
    exported: tuple[Path, Path],
    swept: Callable[[Plan, Script], list[Candidate]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost: list[str] = []

    def measure(job: MeasureJob) -> Failure | None:
        if job.device == "ssh://one":
            lost.append(job.key())
            return Failure("one: it does not answer")
        return None

    done = swept(plan_of(exported[0], "pi"), measure)
    assert {each.measured["pi"].device for each in done} == {"ssh://two"}
    assert [each.failures for each in done] == [{}, {}]
    assert len(lost) in (1, 2)
    assert "one is set aside" in caplog.text


@pytest.mark.usefixtures("pool")
def test_what_fails_on_every_board_says_why_and_stops_nothing_else(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]], tmp_path: Path
) -> None:
    bad: list[tuple[str, ...]] = []

    def measure(job: MeasureJob) -> Failure | None:
        bad.append(job.files)
        return Failure("no such operator") if job.files == bad[0] else None

    done = swept(plan_of(exported[0], "pi"), measure)
    assert bad.count(bad[0]) == 2  # on both boards
    rows = list(rows_of(done, Cache(tmp_path / "cache")))
    assert sorted(row.failures for row in rows) == [(), ("measure on pi: no such operator",)]
    assert [row.latency_ns is None for row in sorted(rows, key=lambda row: row.failures)] == [
        False,
        True,
    ]


def test_a_busy_board_is_waited_for(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]]
) -> None:
    answers = [Failure("pi: another edgeconv is measuring there", busy=True)] * 3

    def measure(job: MeasureJob) -> Failure | None:
        return answers.pop() if answers else None

    done = swept(plan_of(exported[0], "ssh://pi"), measure)
    assert [each.failures for each in done] == [{}, {}]
    assert answers == []


def test_a_busy_board_is_waited_for_with_a_limit(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]]
) -> None:
    busy = Failure("pi: another edgeconv is measuring there", busy=True)
    done = swept(plan_of(exported[0], "ssh://pi", wait="50ms"), lambda job: busy)
    for each in done:
        (failure,) = each.failures.values()
        assert "is measuring there (waited " in failure.message


def test_this_machine_is_quiet_while_it_measures_itself(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]]
) -> None:
    running: set[str] = set()

    def measure(job: MeasureJob) -> Failure | None:
        running.add(job.device)
        threading.Event().wait(0.05)
        assert running == {job.device}
        running.discard(job.device)
        return None

    done = swept(plan_of(exported[0], "local", "ssh://pi"), measure)
    assert [each.failures for each in done] == [{}, {}]
    assert [set(each.measured) for each in done] == [{"local", "ssh://pi"}] * 2


def test_a_board_that_was_updated_measures_again(
    exported: tuple[Path, Path],
    swept: Callable[[Plan, Script], list[Candidate]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan, made = plan_of(exported[0], "ssh://pi"), list[str]()

    def measured() -> int:
        made.clear()
        done = swept(plan, lambda job: made.append(job.key()))  # type: ignore[func-returns-value]
        assert [each.failures for each in done] == [{}, {}]
        return len(made)

    monkeypatch.setitem(SOFTWARE, "ssh://pi", "Python 3.11.2, ai-edge-litert 2.1.0")
    assert measured() == 2
    assert measured() == 0
    monkeypatch.setitem(SOFTWARE, "ssh://pi", "Python 3.11.2, ai-edge-litert 2.1.1")
    assert measured() == 2
    monkeypatch.setitem(SOFTWARE, "ssh://pi", "")  # it is off, and has what it had
    assert measured() == 0
    assert "it does not answer; ssh://pi is taken to have Python 3.11.2, ai-" in caplog.text


def test_counts_are_rows_of_their_boards(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]], tmp_path: Path
) -> None:
    count = CountsOn(devices=("emulated:zero2w", "emulated:pi3"))
    done = swept(plan_of(exported[0]).model_copy(update={"count": count}), lambda job: None)
    rows = marked(tuple(rows_of(done, Cache(tmp_path / "cache"))))
    assert [(row.device, row.instructions, row.failures) for row in rows] == [
        ("emulated:zero2w", 15_000, ()),
        ("emulated:pi3", None, ("count on emulated:pi3: pi3: it could not be counted",)),
    ] * 2
    assert all(row.cost == row.instructions and row.threads == 1 for row in rows)


def test_a_damaged_result_is_made_again(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]], tmp_path: Path
) -> None:
    plan = plan_of(exported[0], "ssh://pi")
    (first, _) = swept(plan, lambda job: None)
    key = first.measured["ssh://pi"].key()
    (tmp_path / "cache" / "measure" / key / RESULT).write_text('{"schema_version": 3')
    again: list[str] = []
    swept(plan, lambda job: again.append(job.key()))  # type: ignore[func-returns-value]
    assert again == [key]


def test_an_export_that_fails_is_a_row_with_the_reason(
    exported: tuple[Path, Path], swept: Callable[[Plan, Script], list[Candidate]], tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    good = plan_of(exported[0])
    names = (f"{tmp_path}/bad.onnx", *good.model[0].name)
    done = swept(good.model_copy(update={"model": (Models(name=names),)}), lambda job: None)
    rows = marked(tuple(rows_of(done, Cache(tmp_path / "cache"))))
    assert [row.file is None for row in rows] == [True, False, False]
    assert rows[0].failures[0].startswith("export: ")
    assert "bad.onnx" in rows[0].failures[0]


def test_devices_that_cannot_be(pool: None, exported: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no device 'nowhere'"):
        open_pools(["nowhere"])
    with pytest.raises(UsageError, match="emulated, and has no latencies"):
        boards_of(Measures(devices=("emulated:pi4",)))
    cache = Cache(exported[1])
    with ThreadPoolExecutor(1) as executor:
        workers = Workers(executor, cache, 1, shared=False)
        with pytest.raises(UsageError, match="another machine"):
            Driver(plan_of(exported[0], "local"), cache, workers)


@pytest.mark.usefixtures("pool")
def test_a_warning_about_boards_has_its_hint_on_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    boards_of(Measures(devices=("pi",), repetitions=1))
    (record,) = caplog.records
    assert WarningLines(io.StringIO()).format(record) == (
        "warning: the boards of pi are not compared: one repetition shows no noise\n"
        "hint: raise measure.repetitions"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[pools]\npi = ['one']", "no device"),
        ("[devices]\none = 'ssh://x'\n[pools]\npi = []", "not a list of devices"),
        ("[devices]\none = 'ssh://x'\n[pools]\none = ['one']", "cannot name a pool"),
        ("[devices]\none = 'ssh://x'\n[pools]\npi = ['one', 'one']", "there twice"),
        ("[devices]\none = 'ssh://x'\n[pools]\npi = [['one']]", "no device"),
        ("pools = 3", "not a table"),
    ],
)
def test_wrong_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeconv").mkdir()
    (tmp_path / "edgeconv" / "devices.toml").write_text(text)
    with pytest.raises(UsageError, match=why):
        open_pools(["pi"])


def test_a_row_names_a_file_of_its_bundle(exported: tuple[Path, Path]) -> None:
    """Its text may come from anywhere, and the path is one to deploy."""
    job = candidates(plan_of(exported[0]))[0]
    bundle = bundle_of(job.key(), Cache(exported[1]))
    assert bundle_at(bundle.path, bundle.manifest.artifacts[0].path).path == bundle.path
    for file in ("../failures.json", "manifest.json", None):
        with pytest.raises(UsageError, match=f"has no file {file}"):
            bundle_at(bundle.path, file)
