"""Weights & Biases: a server that goes away costs a run nothing, and one sentence says how to send the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from callbacks.logging.search_log import SearchLog
from foundation.errors import UserError
from rediscover.wiring.loggers import RunLogger, _finish, _mode, code_version, flat
from runs.record import read_results
from tests.wandb_records import wandb_records

ROOT = Path(__file__).resolve().parents[1]


RUN = """
import sys
from rediscover.wiring import loggers
loggers.START_SECONDS, loggers.FINISH_SECONDS = 60.0, 5.0
import train
sys.exit(train.main(sys.argv[1:]))
"""
SHORT = (
    "experiment=smoke",
    "search=none",
    "threads=1",
    "trainer.accelerator=cpu",
    "data.max_rows=100",
    "logger.mode=online",
    "hydra.run.dir=run",
)


class Server(BaseHTTPRequestHandler):
    """Answers what W&B asks when a run begins; gone as soon as the run has sent something."""

    def do_POST(self) -> None:
        """Answer a question in GraphQL, or end the server with the first part of the history."""
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        if "file_stream" in self.path:
            threading.Thread(target=self.server.shutdown).start()
            return
        project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "e"}}
        name = re.search(r'"name": ?"(\w+)"', asked)
        bucket = {"id": "1", "name": name and name[1], "displayName": "d", "config": "{}", "project": project}
        answer: dict[str, Any] = {}
        if "upsertBucket" in asked:
            answer = {"upsertBucket": {"bucket": bucket, "inserted": True}}
        elif "createRunFiles" in asked:
            answer = {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}}
        elif "viewer" in asked:
            answer = {"viewer": {"id": "1", "entity": "e", "flags": "{}", "teams": {"edges": []}}}
        content = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a server on this machine that goes away in the middle of a run."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)

    def serve() -> None:
        with server:
            server.serve_forever(poll_interval=0.02)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(timeout=10)


@pytest.mark.long
def test_a_server_that_goes_away_in_mid_run(address: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *SHORT],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert read_results(tmp_path / "run")["phase"] == "done"
    said = re.search(r"warning: W&B has not got everything .*: `wandb sync (\S+)` sends it", ended.stderr)
    assert said is not None, ended.stderr
    files = list((tmp_path / said[1]).glob("run-*.wandb"))
    assert len(files) == 1, said[0]
    kinds = [record.WhichOneof("record_type") for record in wandb_records(files[0])]
    assert kinds.count("history") >= 3, "everything that was logged after the server had gone, too"


class Gone:
    """A W&B run whose server is gone."""

    def __init__(self, folder: Path) -> None:
        self.settings = type("Settings", (), {"sync_dir": str(folder)})()

    def finish(self, exit_code: int) -> None:
        """As W&B does when it has waited long enough."""
        raise TimeoutError("Timed out finishing run.")


def test_what_a_server_has_not_got_can_be_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _finish(Gone(tmp_path / "logs" / "wandb" / "run-1"), 0)
    said = capsys.readouterr().err
    assert (
        said == "warning: W&B has not got everything (no answer in time): `wandb sync logs/wandb/run-1` sends it\n"
    )


def test_a_configuration_is_flat() -> None:
    config = OmegaConf.create({"seed": 1, "model": {"latents": 2, "hidden": [1, 2]}, "search": {"a": {"b": None}}})
    assert flat(OmegaConf.to_container(config)) == {
        "seed": 1,
        "model.latents": 2,
        "model.hidden": [1, 2],
        "search.a.b": None,
    }


@pytest.mark.parametrize("folder", ["wandb", ".wandb"])
def test_no_file_in_the_working_directory_says_where_the_key_is_sent(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    asked: list[bool] = []
    monkeypatch.setattr("wandb.login", lambda prompt: asked.append(prompt))
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "settings"
    path.write_text("[default]\nproject = mine\n")
    assert _mode("auto") == "offline"
    path.write_text("[default]\nBase_URL = http://127.0.0.1:9\n")
    for mode in ("auto", "online"):
        with pytest.raises(UserError, match="names a W&B server, to which your key would be sent"):
            _mode(mode)
    assert len(asked) == 1, "W&B was not asked while the file was there"
    assert _mode("offline") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert _mode("online") == "online"


def test_the_version_of_the_code_is_a_commit() -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        assert (code_version() or "").removesuffix("-dirty") == head.stdout.strip()
    else:
        assert code_version() is None


class Broken:
    """A W&B run that fails as soon as it is asked for one thing."""

    id, summary = "abc", {}  # type: tuple[str, dict[str, Any]]

    def __init__(self, fails: str) -> None:
        self.fails, self.called = fails, []  # type: tuple[str, list[str]]

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> None:
            self.called.append(name)
            if name == self.fails:
                raise BrokenPipeError("its process is gone")

        return call


@pytest.mark.parametrize("fails", ["define_metric", "log", "log_artifact"])
def test_a_fault_of_wandb_ends_no_search_and_is_said_once(
    fails: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Broken(fails)
    logger = RunLogger(experiment=run, save_dir=str(tmp_path))
    (tmp_path / "equations.csv").touch()

    def report() -> None:
        trainer = type("Trainer", (), {"loggers": [logger], "is_global_zero": True})()
        log = SearchLog(trainer)
        log.generations("y", [{"generation": 1, "best": 0.5}, {"generation": 2, "best": 0.4}])
        log.improvements([{"generation": 1, "equation": "x"}])
        log.numbers({"map/distance": 1.0})
        log.findings(tmp_path, [], ["x"], [])

    report()
    called = list(run.called)
    assert called[-1] == fails
    report()  # another search of the same run
    assert run.called == called
    logger.log_metrics({"a": 1.0})
    assert run.called == called
    assert re.fullmatch(
        r"warning: W&B has stopped \(BrokenPipeError\): the search goes on, .*\n", capsys.readouterr().err
    )
