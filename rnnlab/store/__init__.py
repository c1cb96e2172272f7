"""Where runs live: a SQLite file with a folder of artifacts beside it, a PostgreSQL database, or an MLflow server.

Each kind of store has a module here, with the functions that `rnnlab.store.kinds` lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from rnnlab.refusal import BadInput
from rnnlab.spec import param

RUNS_FOLDER = Path(__file__).parents[2] / "runs"
DEFAULT_PATH = RUNS_FOLDER / "rnnlab.db"
LOCK_TIMEOUT = 60.0  # seconds to wait for another process that is writing
SQLITE, POSTGRES, SERVER = "sqlite", "postgres", "server"  # the kinds of store
KEYS = {  # kind -> the keys that conf/store/KIND.yaml has beside the kind
    SQLITE: ("path", "weights"),
    POSTGRES: ("uri", "folder", "weights"),
    SERVER: ("uri", "folder", "weights"),
}
SCHEMES = {POSTGRES: ("postgresql",), SERVER: ("http", "https")}
FORMS = {POSTGRES: "postgresql://USER@HOST/DATABASE", SERVER: "http://HOST:PORT"}

# Tags and descriptions of runs. The names without prefix are those that the MLflow UI shows well.
KIND_TAG, KEY_TAG, STATUS_TAG, NUMERICS_TAG = "rnnlab.kind", "rnnlab.key", "status", "rnnlab.numerics"
HOST_TAG, PID_TAG, ATTEMPT_TAG = "rnnlab.host", "rnnlab.pid", "rnnlab.attempt"
LAUNCH_TAG, HEARTBEAT_TAG = "rnnlab.launch", "rnnlab.heartbeat"  # who writes the run, and when last (seconds of 1970)
PREFIX_TAG = "rnnlab.prefix_key"  # equal for trials that differ in their budget alone
SHAPE_TAG = "rnnlab.shape_key"  # equal for trials that can train in one stack
SUPERSEDED_TAG = "superseded"  # by the run that it names, a newer one of the same trial
ERROR_TAG = "rnnlab.error"
NOTE_TAG = "mlflow.note.content"  # of runs and experiments; shown by the UI as Markdown
EXPERIMENT_KIND_TAG = "mlflow.experimentKind"
VIEW_VERSION_TAG = "rnnlab.view"  # of an experiment: version of what it is described and shown by, digest of its note
TRIAL, SWEEP = "trial", "sweep"  # values of KIND_TAG
PLAN_FILE = "plan.json"  # artifact of a sweep's run: its trials and their keys
REPORT_FILE = "report/index.html"  # artifact of a sweep's run: what was drawn of its experiment
DISTANCE = "distance"  # param of a run that its task's fields decide
DIAGNOSTICS = "diagnostics"  # the folder of what diagnostics found among a run's artifacts
NOTHING = "null"  # how a missing value is written in a param


class Unreachable(BadInput):
    """A database or server that does not answer, or no longer."""


@dataclass(frozen=True)
class StoreSettings:
    """The group `store` of the configuration; a member of it has the fields of its kind."""

    path: str = param(str(DEFAULT_PATH))  # of sqlite
    weights: str = param("both", choices=("both", "none"))  # which parameters of a run are kept as artifacts
    kind: str = param(SQLITE, choices=(SQLITE, POSTGRES, SERVER))
    uri: str | None = param(None)  # of postgres and server
    folder: str | None = param(None)  # of postgres and server: what lies on this machine; null: in the checkout


@dataclass(frozen=True)
class Place:
    """Where a store is, and where on this machine things lie that belong to it. As text: how a user says it."""

    kind: str
    shown: str  # what a user gives, without a password
    uri: str  # MLflow's tracking URI
    sweeps: Path  # the folder in which sweeps keep their state while they run
    lock: Path  # the file whose lock a process holds while it writes to the store
    artifacts: Path | None  # the folder of the runs' artifacts; None: the server keeps them
    path: Path | None  # the SQLite file

    def __str__(self) -> str:
        return f"store.{'uri' if self.path is None else 'path'}={self.shown}"


def place_of(settings: StoreSettings) -> Place:
    """The store that the settings mean; `BadInput` where they cannot mean one. Looks at nothing."""
    if settings.kind == SQLITE:
        return sqlite_place(_location(settings.path))
    uri, folder = settings.uri or "", Path(settings.folder or RUNS_FOLDER / settings.kind).expanduser().absolute()
    _check_uri(settings.kind, settings.uri)
    postgres = settings.kind == POSTGRES
    return Place(
        settings.kind,
        without_password(uri),
        # Before SQLAlchemy 2.1 the plain scheme means another driver.
        uri.replace("postgresql:", "postgresql+psycopg:", 1) if postgres else uri.rstrip("/"),
        sweeps=folder / "sweeps",
        lock=folder / "lock",
        artifacts=folder / "artifacts" if postgres else None,
        path=None,
    )


def sqlite_place(path: Path) -> Place:
    """The store in one SQLite file; all that belongs to it lies beside the file."""

    def beside(what: str) -> Path:
        return path.with_name(f"{path.name}.{what}")

    uri = f"sqlite:///{path.absolute()}"
    return Place(SQLITE, str(path), uri, beside("sweeps"), beside("lock"), beside("artifacts"), path)


def settings_of_uri(uri: str) -> StoreSettings:
    """The settings that `store.uri=URI` alone means; `BadInput` where it means none."""
    scheme = uri.partition("://")[0]
    kinds = [kind for kind, schemes in SCHEMES.items() if scheme in schemes]
    if not kinds:
        raise BadInput(f"store.uri={without_password(uri)}: must be {' or '.join(FORMS.values())}")
    return StoreSettings(kind=kinds[0], uri=uri)


def without_password(text: str) -> str:
    """`text` with the password of every URI in it hidden."""
    hidden = re.sub(r"(://[^:/@\s]*):[^/\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", hidden)


def reason(error: BaseException) -> str:
    """What an error says, in one line; of a failed request to a server only why the connection failed."""
    text = str(error)
    if refused := re.search(r"\[Errno -?\d+\] ([^'\")]+)", text):
        return refused[1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _location(text: str) -> Path:
    """The file that a user means by `store.path=TEXT`."""
    unusable = sorted(set(text) & set("?#%"))  # they mean something else in the address of a database
    if unusable or not text.strip():
        raise BadInput(f"store.path={text}: must be the path of a file, without {' '.join(unusable or '?#%')}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"store.path={text}: is in the home of nobody here; must be the path of a file") from error


def _check_uri(kind: str, uri: str | None) -> None:
    parts = _split(uri or "")
    needed = parts and (parts.path.strip("/") if kind == POSTGRES else parts.hostname)
    if parts is None or not needed or parts.scheme not in SCHEMES[kind]:
        shown = "null" if uri is None else without_password(uri)
        raise BadInput(f"store.uri={shown}: must be {FORMS[kind]} for store={kind}")


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts
