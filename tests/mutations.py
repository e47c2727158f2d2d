"""Apply small faults to the two packages, one at a time, and report which of them the tests find.

    python tests/mutations.py coverage               # measure which test executes which line, and how long it takes
    python tests/mutations.py run                    # for each fault run the tests that execute its line
    python tests/mutations.py run --survivors-too    # then run the whole suite on the faults that survived
    python tests/mutations.py check                  # only check that every fault still applies

`--project DIR` names another checkout whose suite and packages are used. The results are written after each fault, so
the same command resumes an interrupted run; after a change of the tests, remove the results first. This is a
development tool, which pytest does not collect.
"""

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from coverage import CoverageData

PACKAGES = ("lesion_segmentation", "lesion_project")
BATCH_SECONDS = (15, 120, 600)
"""Cumulative time limits of the three batches, fastest tests first. Slower tests run only with the whole suite."""
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", ""]  # -m "" deselects no marker
SERIAL = ["-n", "0"] if find_spec("xdist") else []
FILES = ("coverage", "timings.xml", "results.json")
Results = dict[str, dict[str, Any]]


class Fault(NamedTuple):
    """A text that occurs exactly once in a file below src, and the wrong text that replaces it."""

    name: str
    file: str
    old: str
    new: str


# fmt: off
FAULTS = (
    Fault("sweep-removes-files-of-live-writers", "lesion_segmentation/core/atomic_files.py",
          "if found and not is_alive(int(found[1])):", "if found:"),
    Fault("fingerprint-ignores-modification", "lesion_segmentation/core/storage.py",
          'zlib.crc32(" ".join(marks).encode())', "0"),
    Fault("every-worker-gets-the-first-gpu", "lesion_segmentation/core/workers.py",
          "cards[number % len(cards)]", "cards[0]"),
    Fault("last-of-the-largest-components-kept", "lesion_segmentation/images/masks.py",
          "np.bincount(labels[component]).argmax()", "np.argwhere(np.bincount(labels[component]) == "
          "np.bincount(labels[component]).max())[-1][0]"),
    Fault("cubic-filter-is-linear", "lesion_segmentation/images/resize.py",
          "Resampling.BICUBIC", "Resampling.BILINEAR"),
    Fault("original-thread-count-forgotten", "lesion_segmentation/core/hardware.py",
          "_threads = _threads or torch", "_threads = torch"),
    Fault("local-env-has-a-data-root", "lesion_project/configuration.py",
          'OWN_DATA = ("base", "local")', 'OWN_DATA = ("base",)'),
    Fault("no-tta-option-ignored", "lesion_segmentation/cli.py",
          '"none"} if options["no_tta"] else {}', '"none"} if False else {}'),
    Fault("unknown-parameters-accepted", "lesion_segmentation/core/parameter_model.py",
          'extra="forbid"', 'extra="ignore"'),
    Fault("new-settings-not-compared", "lesion_segmentation/core/recorded_settings.py",
          "sorted({*earlier, *now})", "sorted({*earlier})"),
    Fault("validation-sampled-from-test", "lesion_segmentation/data/splits.py",
          "draw_validation(rest, ", "draw_validation(own, "),
    Fault("allowed-leak-reaches-test", "lesion_segmentation/data/leakage.py",
          "if leak.concerns_test or not meant", "if not meant"),
    Fault("mirrored-duplicates-missed", "lesion_segmentation/data/perceptual_hash.py",
          "(grey, grey[:, ::-1])", "(grey, grey)"),
    Fault("validation-on-reserved-cases", "lesion_segmentation/data/splits.py",
          '(subset != "test")', '(subset == "train")'),
    Fault("unpacked-size-unlimited", "lesion_segmentation/data/sources/archives.py",
          "if size > MAX_UNPACKED_BYTES or ", "if "),
    Fault("ph2-masks-not-verified", "lesion_segmentation/data/sources/ph2.py", '("mask", "mask_sha256"))', ")"),
    Fault("ids-read-as-numbers", "lesion_project/datasets/atomic.py", "return table.assign(**texts)", "return table"),
    Fault("isic-limit-off-by-equality", "lesion_segmentation/evaluation/scores.py",
          "iou < ISIC_LIMIT", "iou <= ISIC_LIMIT"),
    Fault("percentile-ci-at-90-percent", "lesion_segmentation/evaluation/intervals.py", "[2.5, 97.5]", "[5, 95]"),
    Fault("bins-closed-below", "lesion_segmentation/evaluation/calibration.py",
          "np.ceil(probabilities * BINS)", "np.floor(probabilities * BINS + 1)"),
    Fault("smallest-subgroup-unscored", "lesion_segmentation/evaluation/subgroups.py",
          "(members) >= TOO_FEW", "(members) > TOO_FEW"),
    Fault("difference-has-wrong-sign", "lesion_segmentation/evaluation/comparison.py",
          "= candidate - baseline", "= baseline - candidate"),
    Fault("failed-folds-reported-finished", "lesion_project/experiments/trials.py", 'end("FAILED")', 'end("FINISHED")'),
    Fault("best-epoch-is-the-objective", "lesion_project/experiments/sweep.py",
          "history[SCORE].iloc[-1]", "history[SCORE].max()"),
    Fault("export-without-temperature", "lesion_segmentation/export/onnx_file.py",
          " / self.metadata.temperature).sigmoid()", ").sigmoid()"),
    Fault("batch-of-all-samples-refused", "lesion_project/hooks/checks.py",
          "if batch_size > seen:", "if batch_size >= seen:"),
    Fault("two-mixed-runs-not-reported", "lesion_project/hooks/summary.py", "if len(found) > 1", "if len(found) > 2"),
    Fault("part-files-only-at-end", "lesion_segmentation/prediction/store.py",
          "if len(self._waiting) >= MAX_ROWS or", "if False and"),
    Fault("provenance-without-weights", "lesion_segmentation/prediction/request.py",
          "tensor.detach().cpu()", "(0 * tensor).detach().cpu()"),
    Fault("unpooling-indices-misordered", "lesion_segmentation/model/segnet.py",
          "repeat(1, 1, ", "repeat_interleave(dim=2, repeats="),
    Fault("rotated-mask-grows", "lesion_segmentation/paper/copies.py", "> 1 - 1e-4", "> 0.5"),
    Fault("calibrated-on-training-cases", "lesion_project/pipelines/training/nodes.py",
          '== "validation"]', '== "train"]'),
    Fault("temperature-inverted", "lesion_segmentation/prediction/predictor.py",
          "/ self.metadata.temp", "* self.metadata.temp"),
    Fault("released-scores-rounded", "lesion_segmentation/released/__init__.py",
          "return figures", "return {name: round(value, 2) for name, value in figures.items()}"),
    Fault("disagreement-colors-swapped", "lesion_segmentation/report/case_views.py",
          "*FALSE_POSITIVE, *FALSE_NEGATIVE", "*FALSE_NEGATIVE, *FALSE_POSITIVE"),
    Fault("headline-is-pooled", "lesion_segmentation/report/model_card.py",
          '["average"] == "per_image"', '["average"] == "pooled"'),
    Fault("body-limit-per-chunk", "lesion_segmentation/serving/limits.py",
          "if len(body) > max_bytes:", "if len(chunk) > max_bytes:"),
    Fault("token-prefix-accepted", "lesion_segmentation/serving/service.py",
          "hmac.compare_digest(credentials.encode(), token.encode())", "token.startswith(credentials)"),
    Fault("killed-run-reported-finished", "lesion_project/tracking/run.py", 'run_id, "KILLED"', 'run_id, "FINISHED"'),
    Fault("champion-without-significance", "lesion_project/tracking/registry.py",
          'if row["low"] > 0:', 'if row["difference"] > 0:'),
    Fault("same-order-in-every-epoch", "lesion_segmentation/training/trainer.py", "* 1_000_003 + epoch", "* 1_000_003"),
    Fault("initialized-from-seen-validation", "lesion_segmentation/training/initialization.py",
          '"subset"] != "train"]', '"subset"] == "test"]'),
    Fault("last-checkpoint-not-written", "lesion_segmentation/training/loop.py", "epoch == settings.epochs or ", ""),
    Fault("shift-limits-swapped", "lesion_segmentation/training/augmentation.py",
          "([width, height])", "([height, width])"),
)
# fmt: on


class Suite(NamedTuple):
    """The copy in which tests run, seconds per test in the order of the run, and tests that fail without any fault."""

    copy: Path
    seconds: dict[str, float]
    failing: set[str]
    timeout: float

    def limit(self, tests: Iterable[str]) -> float:
        """Return the seconds after which these tests are ended: the timeout and twice their usual time."""
        return self.timeout + 2 * sum(self.seconds.get(test, 0.0) for test in tests)


def read_suite(copy: Path, data: CoverageData, timings: Path, timeout: float) -> Suite:
    """Find the tests of the coverage data in the JUnit file, which names them by class name and name."""
    by_name = {}
    for test in {name.rpartition("|")[0] for name in data.measured_contexts()} - {""}:
        path, *parameters = re.split(r"(?=\[)", test, maxsplit=1)
        by_name[re.sub(r"\.py::|::|/", ".", path) + "".join(parameters)] = test
    seconds: dict[str, float] = defaultdict(float)
    failing = set()
    for case in ElementTree.parse(timings).iter("testcase"):
        if test := by_name.get(f"{case.get('classname')}.{case.get('name')}"):
            seconds[test] += float(case.get("time", 0))
            if case.find("failure") is not None or case.find("error") is not None:
                failing.add(test)
    print(f"{len(by_name)} tests, {len(seconds)} of them with timings, {len(failing)} of which fail without any fault")
    return Suite(copy, dict(seconds), failing, timeout)


def list_line_ranges(source: str, first: int, last: int) -> Iterator[range]:
    """Yield the lines to look up, the narrowest first: the statement, its function, the file.

    Statements outside of functions run on import, which coverage attributes to no test or to whichever came first.
    """
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    around = [node for node in nodes if node.lineno <= first and last <= (node.end_lineno or 0)]  # the innermost last
    functions = [node for node in around if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if functions:
        if around[-1] is not functions[-1]:
            body = getattr(around[-1], "body", None)  # a compound statement is looked up without its body
            end = body[0].lineno - 1 if body else around[-1].end_lineno or 0
            yield range(around[-1].lineno, max(end, last) + 1)
        yield range(functions[-1].body[0].lineno, (functions[-1].end_lineno or 0) + 1)
    yield range(1, source.count("\n") + 2)


def select_tests(fault: Fault, source: str, data: CoverageData) -> set[str]:
    """Return the node ids of the tests that execute the fault's line, or else its function, or else its file."""
    first = source[: source.index(fault.old)].count("\n") + 1
    contexts: dict[int, set[str]] = defaultdict(set)
    for path in data.measured_files():
        if path.endswith(f"/{fault.file}"):
            for line, names in data.contexts_by_lineno(path).items():
                contexts[line].update(names)
    for lines in list_line_ranges(source, first, first + fault.old.count("\n")):
        # Contexts end in |run, |setup or |teardown; the context of an import outside of tests is empty.
        if tests := {name.rpartition("|")[0] for line in lines for name in contexts[line]} - {""}:
            return tests
    return set()


def make_batches(suite: Suite, tests: Iterable[str]) -> Iterator[list[str]]:
    """Yield the fastest tests first. In a batch the tests of a file stay together and share fixtures."""
    ranked = sorted(tests, key=lambda test: (suite.seconds.get(test, 0.0), test))
    positions = {test: position for position, test in enumerate(suite.seconds)}
    ends = list(accumulate(suite.seconds.get(test, 0.0) for test in ranked))
    for start, stop in pairwise((0, *(bisect(ends, seconds) for seconds in BATCH_SECONDS))):
        if batch := ranked[start:stop]:
            yield sorted(batch, key=lambda test: (test.partition("::")[0], positions.get(test, 0), test))


def make_environment(checkout: Path) -> dict[str, str]:
    """Return an environment in which the checkout's packages shadow the installed ones, also in subprocesses."""
    former = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(checkout / "src"), former]))}


def copy_checkout(project: Path, copy: Path) -> None:
    """Copy every file that git does not ignore, link the data sets, and check that the copy's packages are imported."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, listed):
        if (project / name).is_file() and not name.startswith("data/01_raw/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, copy / name)
    (copy / "data").mkdir(exist_ok=True)
    (copy / "data" / "01_raw").symlink_to((project / "data" / "01_raw").resolve())
    for package in PACKAGES:
        command = [sys.executable, "-c", f"import {package}; print({package}.__file__)"]
        done = subprocess.run(command, cwd=copy, env=make_environment(copy), capture_output=True, text=True, check=True)
        found = done.stdout.strip()
        if not Path(found).resolve().is_relative_to(copy.resolve()):
            sys.exit(f"{package} is imported from {found}, not from the copy in {copy}. Uninstall it.")


def run_tests(suite: Suite, arguments: Sequence[str], limit: float) -> tuple[str, str]:
    """Run pytest until the first failure. Whatever happens, no process of its group is left.

    Returns:
        survived, timeout, found or error; and the first failing test, or what went wrong.
    """
    listed, log = suite.copy.with_name("arguments.txt"), suite.copy.with_name("log.txt")
    listed.write_text("\n".join(arguments), "utf-8")  # they may be too long for a command line
    command = [*PYTEST, "-x", "--tb=no", "-rfE", f"@{listed}"]
    environment = make_environment(suite.copy)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=suite.copy, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # so that pytest tears down its fixtures
                with suppress(subprocess.TimeoutExpired):
                    process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = log.read_text("utf-8", errors="replace")
    if code == 0:
        return "survived", ""
    if code in (4, 5):  # a usage error, or no test was collected: the coverage data belong to another suite
        return "error", text.strip()[-300:]
    summary = text.rpartition("short test summary info")[2]
    found = re.search(r"^(?:FAILED|ERROR) (.+)$", summary, re.MULTILINE)
    line = found[1] if found else f"exit status {code}"
    return "found", max((test for test in suite.seconds if line.startswith(test)), key=len, default=line)


def try_fault(fault: Fault, suite: Suite, tests: set[str] | None) -> tuple[str, str]:
    """Run these tests, or the whole suite for None. A failure counts only if the test passes without the fault."""
    path, kept = suite.copy / "src" / fault.file, suite.copy.with_name("kept")
    shutil.copy2(path, kept)
    if tests is None:
        jobs = [([f"--deselect={test}" for test in suite.failing], suite.limit(suite.seconds))]
    else:
        jobs = [([*SERIAL, *batch], suite.limit(batch)) for batch in make_batches(suite, tests - suite.failing)]
    for arguments, limit in jobs:
        try:
            path.write_text(path.read_text("utf-8").replace(fault.old, fault.new), "utf-8")
            status, failed = run_tests(suite, arguments, limit)
        finally:
            shutil.copy2(kept, path)  # with its former time, so that no bytecode of the fault is used
        known = failed in suite.seconds.keys() - suite.failing
        if known and run_tests(suite, [*SERIAL, failed], suite.limit([failed]))[0] in ("found", "timeout"):
            print(f"  {failed} also fails without the fault and is deselected", flush=True)
            suite.failing.add(failed)
            return try_fault(fault, suite, tests)
        if status != "survived":
            return status, failed
    return "survived", ""


def run(options: argparse.Namespace, faults: Sequence[Fault]) -> Results:
    """Try the faults that have no result yet; with `survivors_too` those that survived get the whole suite."""
    results: Results = json.loads(options.results.read_text("utf-8")) if options.results.exists() else {}
    data = CoverageData(str(options.coverage))
    data.read()
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        copy_checkout(options.project, Path(scratch, "copy"))
        suite = read_suite(Path(scratch, "copy"), data, options.timings, options.timeout)
        for whole in (False, True) if options.survivors_too else (False,):
            for fault in faults:
                former = results.get(fault.name, {})
                retried = {"error", "survived"} if whole and former.get("suite") != "whole" else {"error"}
                if former.get("new") == fault.new and former["status"] not in retried:
                    continue
                start = time.monotonic()
                source = (suite.copy / "src" / fault.file).read_text("utf-8")
                tests = None if whole else select_tests(fault, source, data)
                status, failed = try_fault(fault, suite, tests)
                results[fault.name] = {
                    "status": status,
                    "test": failed,
                    "suite": "whole" if tests is None else f"{len(tests)} tests",
                    "seconds": round(time.monotonic() - start, 1),
                    "new": fault.new,
                }
                options.results.with_suffix(".partial").write_text(json.dumps(results, indent=1), "utf-8")
                options.results.with_suffix(".partial").replace(options.results)
                print(f"{fault.name}: {status} {failed}", flush=True)
    return results


def report(faults: Sequence[Fault], results: Results) -> str:
    """Return the results as a Markdown table."""
    lines = ["| fault | package | found by | suite | seconds |", "|---|---|---|---|---|"]
    for fault in faults:
        found = results[fault.name]
        by = found["test"] if found["status"] == "found" else f"**{found['status']}** {found['test']}".strip()
        lines.append(f"| {fault.name} | {Path(fault.file).parent} | {by} | {found['suite']} | {found['seconds']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("coverage", "run", "check"))
    parser.add_argument("--project", type=Path, default=Path(__file__).parents[1], help="the checkout (default: this)")
    for name in FILES:
        parser.add_argument(f"--{Path(name).stem}", type=Path, help=f"default: build/mutations/{name} in the checkout")
    parser.add_argument("--only", nargs="+", choices=[fault.name for fault in FAULTS], metavar="NAME")
    parser.add_argument("--survivors-too", action="store_true", help="run the whole suite on faults that survived")
    parser.add_argument("--timeout", type=float, default=900, help="seconds beyond twice the usual time (default: 900)")
    options = parser.parse_args()
    project = options.project = options.project.resolve()
    faults = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    counts = {fault: (project / "src" / fault.file).read_text("utf-8").count(fault.old) for fault in faults}
    if wrong := [f"{fault.name}: {count} times in {fault.file}" for fault, count in counts.items() if count != 1]:
        sys.exit("\n".join(["These faults do not apply, because each old text must occur exactly once:", *wrong]))
    print(f"All {len(faults)} faults apply to {project}", flush=True)
    if options.command == "check":
        return
    for name in FILES:
        path = (getattr(options, Path(name).stem) or project / "build" / "mutations" / name).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        setattr(options, Path(name).stem, path)
    # A shell may start background commands with Ctrl-C ignored, which the tests would inherit. SIGTERM acts likewise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if options.command == "coverage":
        cover = [
            *(f"--cov={package}" for package in PACKAGES),
            "--cov-context=test",
            "--cov-report=",
            f"--junitxml={options.timings}",
        ]
        environment = make_environment(project) | {"COVERAGE_FILE": str(options.coverage)}
        sys.exit(subprocess.run([*PYTEST, *cover], cwd=project, env=environment, check=False).returncode)
    try:
        print(report(faults, run(options, faults)))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the same command to resume.")


if __name__ == "__main__":
    main()
