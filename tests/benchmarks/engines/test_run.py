"""Tests a complete run: scores before speed, the number of rounds, the output files, and the exit code."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.engines import run as engine
from benchmarks.engines import saturation
from benchmarks.engines.memory import Gpu, members
from benchmarks.engines.process import Spec
from benchmarks.engines.roofline import Floor
from benchmarks.engines.run import execute
from benchmarks.engines.spec import RunSpec, SpecBounds
from benchmarks.loads import BenchLoad
from shortlist.bench.markdown import markers
from shortlist.bench.outputs import Outputs, can_draw
from shortlist.errors import BadSetting, InputTooLong, ModelRefused
from tests.support import contender as fake
from tests.support.fixtures import ModelFactory
from tests.support.process import wait_until

pytestmark = pytest.mark.full  # every run starts processes for seconds

MEASURED = {"flops_per_s": 1e9, "linear_flops_per_token": 1e6, "attention_flops_per_pair": 1e3}


def run_spec_of(
    folder: Path, *contenders: Spec, loads: tuple[str, ...] = ("2x20", "1x50"), floor: list[str] | None = None
) -> RunSpec:
    return RunSpec(
        model=str(folder),
        loads=[BenchLoad.parse(load) for load in loads],
        contenders=contenders or (fake.spec("ours"), fake.spec("peer", "--shift", "0.1")),
        reference="ours",
        bounds=SpecBounds.parse([]),
        repeats=2,
        floor=floor,
        ready_s=60,
        answer_s=20,
    )


@pytest.fixture(scope="module")
def folder(make_model: ModelFactory) -> Path:
    return make_model()


def quiet() -> Progress:
    return Progress(disable=True)


def test_warm_up_round_does_not_count(folder: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    report = execute(run_spec_of(folder, fake.spec("ours", "--journal", str(journal))), quiet())
    assert {load: len(rounds) for load, rounds in report.rounds.items()} == {"2x20": 2, "1x50": 2}
    queries = [json.loads(line)[1] for line in journal.read_text().splitlines()]
    num_checks = len(queries) - 1 - 2 * 2
    assert num_checks > 0
    assert len(set(queries[num_checks:])) == 5  # no request repeats


def test_dropped_contenders_are_in_the_report(folder: Path) -> None:
    far = fake.spec("far", "--shift", "3")
    report = execute(run_spec_of(folder, fake.spec("ours"), far, fake.spec("gone", "--start", "dead")), quiet())
    assert [entry.name for entry in report.entries] == ["ours", "far", "gone"]
    assert [entry.why_not is None for entry in report.entries] == [True, False, False]
    assert [row.name for row in report.rows("2x20")] == ["ours"]
    assert report.num_checked > 10


def test_check_only_contender_is_in_the_report_but_not_timed(folder: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    judge = fake.spec("judge", "--journal", str(journal))
    run_spec = replace(run_spec_of(folder, fake.spec("ours"), judge), reference="judge", check_only=["judge"])
    report = execute(run_spec, quiet())
    [entry] = [entry for entry in report.entries if entry.name == "judge"]
    assert (entry.why_not, entry.agreement is not None, bool(entry.peak_bytes)) == (None, True, True)
    assert [row.name for row in report.rows("2x20")] == ["ours"]
    assert len(journal.read_text().splitlines()) < report.num_checked
    with pytest.raises(BadSetting, match="check-only"):
        replace(run_spec, check_only=["ours"])


def test_concurrency_is_measured_for_every_timed_contender(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saturation, "TURN_S", 0.01)
    journals = [tmp_path / name for name in ("ours", "peer")]
    specs = [
        fake.spec("ours", "--at-once", "4", "--journal", str(journals[0])),
        fake.spec("peer", "--shift", "0.1", "--journal", str(journals[1])),
        fake.spec("judge"),
    ]
    run_spec = replace(run_spec_of(folder, *specs), is_saturated=True, reference="judge", check_only=["judge"])
    report = execute(run_spec, quiet())
    assert report.many.keys() == report.rounds.keys() == {"2x20", "1x50"}
    for results in report.many.values():
        assert {name: each.at_once for name, each in results.items()} == {"ours": 4, "peer": 1}
        assert all(len(each.documents_per_s) == saturation.TURNS and min(each.documents_per_s) > 0 for each in results.values())
        assert all(len(each.answer_s) >= saturation.MIN_ARRIVALS and min(each.answer_s) > 0 for each in results.values())
    for journal in journals:
        queries = [json.loads(line)[1] for line in journal.read_text().splitlines()]
        assert len(set(queries)) > 2 * (saturation.TURNS * 2 + saturation.MIN_ARRIVALS)
        after_checks = queries[-2 * (saturation.TURNS * 2 + saturation.MIN_ARRIVALS) :]
        assert len(set(after_checks)) == len(after_checks)  # no request repeats


def test_contender_failing_under_concurrency_is_dropped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "TURN_S", 0.01)
    without_saturation = execute(
        run_spec_of(folder, fake.spec("ours"), fake.spec("peer", "--journal", str(tmp_path / "journal"))), quiet()
    )
    num_alone = len((tmp_path / "journal").read_text().splitlines())
    assert without_saturation.many == {}
    weak = fake.spec("peer", "--answer", "dead", "--well", str(num_alone + 3))
    report = execute(replace(run_spec_of(folder, fake.spec("ours"), weak), is_saturated=True), quiet())
    assert [entry.name for entry in report.entries if entry.why_not] == ["peer"]
    assert report.many["1x50"].keys() == {"ours"}


def test_report_has_the_gpu_memory_of_each_contender(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a file is the used GPU memory; the fake contender appends the bytes that it allocates."""
    memory, output_file = tmp_path / "memory", tmp_path / "report.json"
    memory.write_text("x" * 1000)
    monkeypatch.setattr(engine, "gpu_of", lambda device: Gpu(f"Example {device}", lambda: memory.stat().st_size))
    specs = fake.spec("ours", "--takes", str(memory), "--journal", str(tmp_path / "ours")), fake.spec("peer")
    engine.run(replace(run_spec_of(folder, *specs), device="cuda", max_model_len=2000), Outputs(json=output_file))
    report = json.loads(output_file.read_text())
    assert report["machine"]["gpu"] == "Example cuda"
    num_asked = len((tmp_path / "ours").read_text().splitlines())
    assert {entry["name"]: entry["gpu_bytes"] for entry in report["entries"]} == {"ours": 100 + 10 * num_asked, "peer": 0}
    assert all(entry["ready"]["version"].endswith("cuda 2000") for entry in report["entries"])


def test_missing_gpu_is_an_error_before_the_run(folder: Path, tmp_path: Path) -> None:
    run_spec = replace(run_spec_of(folder, fake.spec("ours", "--journal", str(tmp_path / "ours"))), device="cuda:99")
    with pytest.raises(BadSetting, match="cuda:99"):
        engine.run(run_spec, Outputs())
    assert not (tmp_path / "ours").exists()


def test_max_model_len_allows_longer_prompts(folder: Path) -> None:
    run_spec = run_spec_of(folder, fake.spec("ours"), loads=("1x9000",))
    with pytest.raises(InputTooLong):
        execute(run_spec, quiet())
    report = execute(replace(run_spec, max_model_len=10_000, repeats=1), quiet())
    assert report.rounds["1x9000"][0].work.num_tokens > 9000


def test_floor_is_measured_before_and_after(folder: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"import json; f = open({str(count)!r}, 'a'); f.write('x'); f.close(); print(json.dumps({MEASURED!r}))"
    report = execute(run_spec_of(folder, floor=[sys.executable, "-c", code]), quiet())
    assert count.read_text() == "xx"
    assert report.floors == [Floor(**MEASURED)] * 2
    share = report.rows("2x20")[[row.name for row in report.rows("2x20")].index("ours")].floor_share
    assert share is not None
    assert share > 0


def test_run_continues_without_a_floor(folder: Path) -> None:
    report = execute(run_spec_of(folder, floor=["/no/program"]), quiet())
    assert report.floors == []
    assert len(report.rounds["2x20"]) == 2


def test_oversized_load_is_an_error_before_the_run(folder: Path) -> None:
    with pytest.raises(InputTooLong):
        execute(run_spec_of(folder, Spec("ours", ("/no/program",)), loads=("1x9000",)), quiet())


def test_invalid_model_is_refused_with_a_reason(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="does not exist"):
        execute(run_spec_of(tmp_path / "nowhere"), quiet())
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(ModelRefused, match=r"tokenizer\.json"):
        execute(run_spec_of(tmp_path), quiet())


@pytest.mark.parametrize(("shift", "code"), [("0", engine.EXIT_RANKED), ("3", engine.EXIT_NOT_RANKED)])
def test_exit_code_reflects_unranked_contenders(folder: Path, shift: str, code: int) -> None:
    assert engine.run(run_spec_of(folder, fake.spec("ours"), fake.spec("peer", "--shift", shift)), Outputs()) == code


def test_unwritable_output_is_an_error_before_the_run(folder: Path, tmp_path: Path) -> None:
    run_spec = run_spec_of(folder, Spec("ours", ("/no/program",)))
    with pytest.raises(BadSetting, match="no folder"):
        engine.run(run_spec, Outputs(json=tmp_path / "nowhere" / "a.json"))


COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # SIGINT is ignored in a background job of a shell
from dataclasses import replace
from pathlib import Path
from benchmarks.engines import run as engine
from benchmarks.loads import BenchLoad
from benchmarks.engines.spec import RunSpec, SpecBounds
from shortlist.bench.outputs import Outputs
from tests.support import contender as fake
slow = fake.spec("peer", "--journal", sys.argv[2], *sys.argv[3:])
run_spec = RunSpec(model=sys.argv[1], loads=[BenchLoad.parse("2x20")], contenders=[fake.spec("ours"), slow], reference="ours",
                   bounds=SpecBounds.parse([]), repeats=1, floor=None)
sys.exit(engine.run(run_spec, Outputs()))
"""


def command(folder: Path, journal: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder), str(journal), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": "src:.", "COLUMNS": "80"},
    )


def test_tables_are_on_stdout_and_progress_on_stderr(folder: Path, tmp_path: Path) -> None:
    shown, log = command(folder, tmp_path / "journal").communicate(timeout=90)
    assert "2x20" in shown
    assert "tokens/s" in shown
    assert "starting" not in shown
    assert "starting" in log
    assert "tokens/s" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM)])
def test_stopped_run_leaves_no_process(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    journal = tmp_path / "journal"
    run = command(folder, journal, "--answer", "mute", "--well", "1")
    wait_until(lambda: journal.exists() or run.poll() is not None, 60)
    started = members(run.pid) - {run.pid}
    assert len(started) == 2
    run.send_signal(number)
    run.communicate(timeout=20)
    wait_until(lambda: not any((Path("/proc") / str(pid) / "exe").exists() for pid in started))


def test_command_compares_two_real_engines_end_to_end(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "TURN_S", 0.01)
    twin = shlex.join([sys.executable, "-m", "benchmarks.engines.builtin", "--dtype", "float32"])
    files = {"--json": tmp_path / "a.json", "--markdown": tmp_path / "a.md"}
    if can_draw():
        files["--plot"] = tmp_path / "a.png"
    flags = [
        "--load",
        "3x30",
        "--load",
        "mixed",
        "--repeats",
        "2",
        "--dtype",
        "float32",
        "--no-floor",
        "--threads",
        "1",
        "--saturate",
    ]
    output_file = [word for flag, path in files.items() for word in (flag, str(path))]
    result = CliRunner().invoke(app, [str(folder), *flags, "--contender", f"twin={twin}", *output_file])
    assert result.exit_code == 0, result.output
    written_json = json.loads(files["--json"].read_bytes())
    assert [entry["name"] for entry in written_json["entries"]] == ["ours", "twin"]
    assert all(entry["agreement"]["rms"] < 1e-3 and entry["peak_bytes"] > 10_000_000 for entry in written_json["entries"])
    assert {row["name"] for row in written_json["figures"]["mixed"]} == {"ours", "twin"}
    written_markdown = files["--markdown"].read_text(encoding="utf-8")
    assert written_markdown.startswith(markers(Path("a.md"))[0])
    assert written_markdown.count("| contender | at once | documents/s |") == 2
    assert "3x30, concurrent requests" in result.stdout
    assert written_json["many"]["3x30"]["twin"]["at_once"] == 16
    assert all(path.stat().st_size for path in files.values())
