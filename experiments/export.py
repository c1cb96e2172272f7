"""A trained model as a program of its own: one step of a stream, which needs torch alone.

python -m experiments.export run=RUN_ID out=model.pt2 [store.path=FILE | store.uri=URI]

RUN_ID: the beginning of the id of a trial's run, which `experiments.train` prints and the UI shows.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rnnlab.checkpoints import replace_synced
from rnnlab.collector import run_name
from rnnlab.refusal import BadInput, unknown_key
from rnnlab.store import DEFAULT_PATH, Place, StoreSettings, place_of, settings_of_uri
from rnnlab.store.files import unwritten
from rnnlab.store.reader import Reader
from rnnlab.stored import network
from rnnlab.streaming import exported

KEYS = ("run", "out", "store.path", "store.uri")


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    run: str  # the beginning of its id
    out: Path
    place: Place


def parse(words: Sequence[str]) -> Request:
    """The request; `BadInput` names every word that is wrong."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in KEYS:
            problems.append(unknown_key(key, KEYS, value))
        elif key in values:
            problems.append(f"{key}: is given twice; must be given once")
        else:
            values[key] = value
    needed = {"run": "the beginning of the id of a run", "out": "the path of a file"}
    problems += [f"{key}=: must be {what}" for key, what in needed.items() if not values.get(key)]
    if {"store.path", "store.uri"} <= values.keys():
        problems.append("store.path: is given beside store.uri; must be one of them")
    if problems:
        raise BadInput(*problems)
    uri, path = values.get("store.uri"), values.get("store.path", str(DEFAULT_PATH))
    settings = StoreSettings(path) if uri is None else settings_of_uri(uri)
    return Request(values["run"], Path(values["out"]).expanduser(), place_of(settings))


def export(request: Request) -> str:
    """Write the program; return the line that says what it is. Raises `BadInput`."""
    if not request.out.absolute().parent.is_dir() or request.out.is_dir():
        raise BadInput(f"out={request.out}: must be a file in a folder that exists")
    _, trial, weights = network(Reader(request.place), request.run)
    program = exported(trial, weights)
    content = io.BytesIO()
    torch.export.save(program, content)
    try:
        replace_synced(request.out, content.getvalue())
    except OSError as error:
        raise BadInput(unwritten("out", request.out, error, "a file")) from error
    return f"{request.out}: {run_name(trial)}; {usage(program, request.out)}"


def usage(program: torch.export.ExportedProgram, file: Path) -> str:
    """How to load and call the program, with the form of all that goes in and out; B is the number of sequences."""
    tensors = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    x_t, *state = (_form(tensors[name]) for name in program.graph_signature.user_inputs)
    y_t = _form(tensors[program.graph_signature.user_outputs[0]])
    (_, *begun), _ = program.example_inputs
    zeros = ", at first as in example_inputs" if any(tensor.any() for tensor in begun) else ", zeros at first"
    return (
        f"y_t, *state = torch.export.load({str(file)!r}).module()(x_t, *state) with "
        f"x_t {x_t}, y_t {y_t}, state [{', '.join(state)}]{zeros}"
    )


def _form(tensor: torch.Tensor) -> str:
    sizes = ", ".join(str(size) if isinstance(size, int) else "B" for size in tensor.shape)
    return f"{str(tensor.dtype).removeprefix('torch.')} ({sizes})"


def main() -> None:
    """Write the program and say how to load it; 2 is the exit status where the input is not possible."""
    if "--help" in sys.argv[1:]:
        print(__doc__)
        return
    try:
        print(export(parse(sys.argv[1:])))
    except BadInput as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
