"""Shared by all tests: parallel processes, the real images, and a browser."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovocr.processes.cores import available_cores
from ovocr.processes.memory import available_memory
from tests.object_store import bucket, endpoint, proxy  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parent.parent
# Real images with known text. They are stored next to the checkout and are not part of the repository.
SHARED_DATA = Path(os.environ.get("OVOCR_SHARED_DATA", ROOT.parent / "shared" / "data"))
# Bytes that a pytest process and the processes under test need: torch, an OCR engine, a training run.
MEMORY_PER_WORKER = 3 * 2**30

# `make check` leaves out slow tests: the tests of these modules, tests with these fixtures, kernels that Triton
# interprets, and tests with the marker `slow`. The rest needs about a minute of one core.
SLOW_MODULES = frozenset(
    {
        "dataset/test_shard_fence.py",
        "documents/test_commands.py",
        "documents/test_reading_records.py",
        "faults/hosts/test_training_hosts.py",
        "faults/hosts/test_unshared_locks.py",
        "faults/parsers/test_found_cases.py",
        "faults/power_cut/test_labelling.py",
        "faults/power_cut/test_other_commands.py",
        "faults/power_cut/test_replay.py",
        "faults/power_cut/test_server.py",
        "faults/power_cut/test_steps.py",
        "faults/power_cut/test_training.py",
        "interop/test_dali.py",
        "interop/test_dali_loader.py",
        "interop/test_mxnet.py",
        "interop/test_transformers.py",
        "labelgen/engines/test_openvino.py",
        "labelgen/executors/test_ray.py",
        "labelgen/executors/test_slurm_example.py",
        "labelgen/relabel/test_policy.py",
        "labelgen/relabel/test_relabel.py",
        "labelgen/shards/test_destination.py",
        "labelgen/sources/test_whole_runs.py",
        "labelgen/store/test_store_commands.py",
        "labelgen/store/test_store_data_set.py",
        "labelgen/store/test_store_sources.py",
        "labelgen/test_build.py",
        "labelgen/test_failing_disks.py",
        "labelgen/test_given_text.py",
        "labelgen/test_resume.py",
        "labelgen/test_tag_limits.py",
        "labelgen/test_hostile_input.py",
        "labelgen/test_kills.py",
        "labelgen/test_ocr_accuracy.py",
        "labelgen/test_pack.py",
        "labelgen/verification/test_verify.py",
        "labelgen/workers/test_limits.py",
        "labelgen/workers/test_pool.py",
        "test_pack_and_train.py",
        "test_readme.py",
        "trainer/data/test_legible_share.py",
        "trainer/evaluation/test_evaluate.py",
        "trainer/evaluation/test_head_reading.py",
        "trainer/export/test_encoder_document.py",
        "trainer/evaluation/test_read.py",
        "trainer/evaluation/test_sampling_correction.py",
        "trainer/heads/test_partial_fc_ranks.py",
        "trainer/kernels/test_kernels.py",
        "trainer/measures/test_interval_coverage.py",
        "trainer/measures/test_word_measures_ranks.py",
        "trainer/ranks/test_rank_failures.py",
        "trainer/ranks/test_slurm_example.py",
        "trainer/tracking/test_tracked_runs.py",
        "trainer/training/test_block_order_runs.py",
        "trainer/training/test_embedding_statistics.py",
        "trainer/training/test_evaluator.py",
        "trainer/training/test_extension.py",
        "trainer/training/test_head_objectives.py",
        "trainer/training/test_initial_centers.py",
        "trainer/training/test_loop.py",
        "trainer/training/test_rank_embeddings.py",
        "trainer/training/test_sample_counts.py",
        "trainer/training/test_skipped_samples.py",
        "trainer/training/test_stages.py",
        "vocab/building/test_stopping.py",
        "website/test_site.py",
    }
)
SLOW_FIXTURES = frozenset({"browser", "bucket", "runs"})

BROWSER_TIMEOUT_S = 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns the number of pytest processes for `-n auto`: one per core, fewer if memory is short."""
    return max(1, min(available_cores(), available_memory() // MEMORY_PER_WORKER))


def pytest_configure(config: pytest.Config) -> None:
    """Prepares the process for tests that start commands."""
    # A shell ignores Ctrl-C in background jobs, and commands under test inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Libraries read these when they are first imported. Threads that spin and threads without a core waste time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // worker["workercount"])))
        return
    # All processes of a run share a cache: the lexicon is made once and the user's cache is not changed.
    cache = tempfile.TemporaryDirectory(prefix="ovocr-tests-cache-")
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks slow tests, and leaves out tests with the marker `faults` unless they are selected with `-m`."""
    if "faults" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        module = item.path.relative_to(Path(__file__).parent).as_posix()
        interpreted = getattr(item, "callspec", None) and item.callspec.params.get("implementation") == "triton"
        if module in SLOW_MODULES or SLOW_FIXTURES.intersection(item.fixturenames) or interpreted:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Returns the folder of real images. Skips the test if it does not exist."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA}: no folder of real images (set OVOCR_SHARED_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def example_shards() -> Path:
    """Returns the folder of the project's example shards."""
    return ROOT / "examples" / "shards"


class Browser:
    """A page in Chromium, driven by the DevTools protocol through two pipes.

    events: messages of the browser since the page was opened.
    """

    def __init__(self, program: str, profile: Path) -> None:
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        commands_in, self._commands = os.pipe()
        self._answers, answers_out = os.pipe()
        options = ["--headless=new", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        options += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # the sandbox does not run as root
        command = f'exec "$@" 3<&{commands_in} 4>&{answers_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", program, *options, "about:blank"],
            pass_fds=(commands_in, answers_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_in)
        os.close(answers_out)
        self._read = b""
        self._last = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """Closes the browser."""
        self._session = None
        with contextlib.suppress(OSError, AssertionError):
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + BROWSER_TIMEOUT_S
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            read = os.read(self._answers, 1 << 20)
            assert read, "the browser has ended"
            self._read += read
        message, _, self._read = self._read.partition(b"\0")
        value: dict[str, Any] = json.loads(message)
        return value

    def open(self, address: str) -> None:
        """Opens a page and waits until it has loaded."""
        self.events.clear()
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        deadline = time.monotonic() + BROWSER_TIMEOUT_S
        while self.value("document.readyState") != "complete" or self.value("location.href") == "about:blank":
            assert time.monotonic() < deadline, f"{address} does not load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Evaluates a JavaScript expression on the page and returns its value."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def type(self, words: str) -> None:
        """Types words at the cursor."""
        self.send("Input.insertText", text=words)

    def press(self, key: str, code: int) -> None:
        """Presses a key. code: its Windows key code."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def point(self, x: float, y: float) -> None:
        """Moves the mouse to a position in the window, in CSS pixels."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """Emulates a screen of this size, in CSS pixels, until ``reset_screen`` is called."""
        mobile = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def reset_screen(self) -> None:
        """Ends the emulation of a screen."""
        self.send("Emulation.clearDeviceMetricsOverride")
        self.send("Emulation.setEmulatedMedia", media="", features=[])

    def screenshot(self) -> bytes:
        """Returns the content of the window as a PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def console_messages(self) -> list[dict[str, Any]]:
        """Returns the messages of the console: errors, warnings, exceptions."""
        names = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [event for event in self.events if event.get("method") in names]

    def requests(self) -> list[str]:
        """Returns the addresses that the page requested, without the empty page and data URLs."""
        sent = (event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent")
        addresses = [each["request"]["url"] for each in sent]
        return [address for address in addresses if address != "about:blank" and not address.startswith("data:")]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Starts Chromium. Skips the test if it is not installed."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    opened = Browser(program, tmp_path_factory.mktemp("browser"))
    try:
        yield opened
    finally:
        opened.close()
