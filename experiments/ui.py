"""Browse the runs: the MLflow UI on 127.0.0.1 over the store, and the links that show them.

python -m experiments.ui [store.path=runs/rnnlab.db] [port=5000]
python -m experiments.ui store.uri=postgresql://USER@HOST/DATABASE [port=5000]
python -m experiments.ui store.uri=http://HOST:PORT    starts nothing: that server has the UI
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping

from rnnlab.refusal import BadInput, unknown_key
from rnnlab.store import DEFAULT_PATH, SERVER, Place, StoreSettings, place_of, settings_of_uri
from rnnlab.store.experiment import refresh
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import link

HOST = "127.0.0.1"
START_LIMIT = 60  # seconds until the server must answer
# By default the server starts 15 processes; it needs two to show runs.
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def arguments(words: list[str]) -> tuple[Place, int]:
    """(store, port) from `key=value` words; raises `BadInput`."""
    values = {"store.path": "", "store.uri": "", "port": "5000"}
    for word in words:
        key, _, value = word.partition("=")
        if key not in values:
            raise BadInput(unknown_key(key, list(values), value))
        values[key] = value
    port, given = values["port"], [word.partition("=")[0] for word in words]
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise BadInput(f"port={port}: must be an integer >= 1 and <= 65535")
    if {"store.path", "store.uri"} <= set(given):
        raise BadInput("store.path: is given beside store.uri; must be one of them")
    if "store.uri" in given:
        return place_of(settings_of_uri(values["store.uri"])), int(port)
    return place_of(StoreSettings(values["store.path"] if "store.path" in given else str(DEFAULT_PATH))), int(port)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, min(first + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BadInput(f"port={first}: it and the 99 after it are in use; must be a free port")


def start(place: Place, port: int) -> subprocess.Popen[bytes]:
    """Start the server and return it when it answers; raises `BadInput` with its last words where it does not."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.uri]
    if place.artifacts:  # of experiments that others make through this server
        command += ["--artifacts-destination", str(place.artifacts.absolute())]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(command, env={**os.environ, **LIGHT}, stdout=said, stderr=said)  # noqa: S603
        deadline = time.monotonic() + START_LIMIT
        while server.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                return server
            time.sleep(0.2)
        server.terminate()
        server.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
    kind_of(place).check_usable(place)  # says it better, where MLflow may not write to the store
    raise BadInput(f"{place}: the MLflow server did not start ({lines[-1]})")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1):
            return True
    except OSError:
        return False


def main() -> None:
    """Serve until Ctrl-C or a signal to end."""
    if "--help" in sys.argv[1:]:
        print(__doc__)
        sys.exit(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = None
    try:
        place, wanted = arguments(sys.argv[1:])
        reader = Reader(place)
        refresh(reader)
        numbers, names = reader.experiment_ids(), reader.experiments()
        experiments = {name: numbers[name] for name in names}
        if place.kind == SERVER:
            _announce(place.uri, "", experiments)
            return
        port = free_port(wanted)
        server = start(place, port)
        _announce(f"http://{HOST}:{port}", " (Ctrl-C ends it)", experiments)
        status = server.wait()
        print(f"{place}: the MLflow server ended by itself with status {status}", file=sys.stderr)
        sys.exit(1)
    except BadInput as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print()
    finally:
        if server is not None:
            server.terminate()
            server.wait()


def _announce(base: str, how: str, experiments: Mapping[str, str]) -> None:
    """Print the links; `experiments` maps names to MLflow's ids."""
    print(f"The MLflow UI is at {base}{how}. The runs of each experiment:")
    for name, number in experiments.items():
        print(f"  {name:<16} {link(base, number)}")
    if not experiments:
        print("  none yet: run a sweep first, for example: make demo")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
