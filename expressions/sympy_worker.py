"""SymPy behind a time limit: one worker process that is kept, and killed when it takes too long.

SymPy's algorithms have no time limit of their own and some inputs run for hours, so they run in a process that
can be killed. The worker is started when it is first needed, or a little before (`start`), since importing SymPy
takes a second or two. It forks a child for every rewriting or comparison: a child that is out of time is killed
without losing the import, and none finds what another has left behind in SymPy's caches. Nodes it counts itself,
under an alarm: that takes 2 ms, and a fork takes 40. Expressions cross the pipe as tokens and constants in JSON
lines; no text of an equation and no pickle is ever evaluated, on either side.

The worker is an ordinary subprocess and not a `multiprocessing` one: daemonic pool workers may start it, it never
imports the caller's main module, and nothing is left to join at exit. It ends by itself as soon as its input
closes, which happens however its parent dies, at the latest when the child is out of time; an alarm ends a child
that has lost its worker. They have a session of their own, so that Ctrl-C in the terminal reaches only the parent.
After a fork of the caller, its child leaves the worker alone and starts its own.

Needs POSIX pipes; where there are none, every request is answered with "no answer in time".
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from expressions.expression import Expression
from expressions.operators import OPERATORS, TOKEN

__all__ = ["count_nodes", "is_recovered", "rewritings", "shut_down", "start"]

_START_SECONDS = 60.0  # importing SymPy on a busy machine
_MARGIN = 3.0  # seconds beyond the time limit after which a worker that does not answer is killed

# A request: {"task": name, "expressions": [[tokens, constants], …], "seconds": limit}
# An answer: any number of lines {"item": …}, then {"done": true}.


class _Worker:
    """The process, its pipes and the protocol."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        code = "import sys; sys.path.insert(0, sys.argv[1]); from expressions.sympy_worker import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.buffer = b""
        self.ready = False

    def ask(self, request: dict[str, Any]) -> Iterator[Any]:
        """Yield the items of the answer as they come.

        Raises:
            TimeoutError: the worker does not keep to `request["seconds"]`.
            EOFError: the worker died.
        """
        if not self.ready:
            self._line(time.monotonic() + _START_SECONDS)
            self.ready = True
        deadline = time.monotonic() + request["seconds"] + _MARGIN
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise EOFError from error
        while True:
            message = json.loads(self._line(deadline))
            if "item" not in message:
                return
            yield message["item"]

    def _line(self, deadline: float) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise TimeoutError
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process and its child now, and reap it."""
        self._close_pipes()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def abandon(self) -> None:
        """Forget a process that belongs to our parent: close our copies of its pipes, and do not touch it."""
        self._close_pipes()
        self.process.returncode = 0  # or the Popen object would wait for it

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_worker: _Worker | None = None
_lock = threading.Lock()


def start() -> None:
    """Let a worker import SymPy in the background, so that the first question need not wait for it."""
    with _lock, contextlib.suppress(OSError):
        _running_worker()


def _running_worker() -> _Worker:
    """The worker, a new one if there is none or it has died."""
    global _worker
    if _worker is None or _worker.process.poll() is not None:
        shut_down()
        _worker = _Worker()
    return _worker


def shut_down() -> None:
    """End the worker, if there is one; the next request starts another."""
    global _worker
    worker, _worker = _worker, None
    if worker is not None:
        worker.kill()


def _after_fork() -> None:
    global _worker, _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    worker, _worker = _worker, None
    if worker is not None:
        worker.abandon()


atexit.register(shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _ask(task: str, expressions: Sequence[Expression], seconds: float) -> Iterator[Any]:
    """Items of the answer, as many as come within the time limit."""
    request = {
        "task": task,
        "expressions": [[e.tokens.tolist(), e.constants.tolist()] for e in expressions],
        "seconds": seconds,
    }
    finished = started = False
    with _lock:
        try:
            for _ in range(2):
                worker = _running_worker()
                try:
                    for item in worker.ask(request):
                        started = True
                        yield item
                    finished = True
                    return
                except EOFError:  # someone killed it since the last request: once more with a new one
                    shut_down()
                    if started:
                        return
        except (TimeoutError, OSError):
            return
        finally:  # also on Ctrl-C: the answer to an abandoned request must not be read as the next one's
            if not finished:
                shut_down()


def rewritings(expression: Expression, seconds: float) -> list[Expression]:
    """SymPy's rewritings of an expression, as many as come within the time limit.

    None for an expression with protected operators: SymPy has no such functions.
    """
    if not _PLAIN_TOKEN.keys().isdisjoint(expression.tokens.tolist()):
        return []
    return [Expression(tokens, constants) for tokens, constants in _ask("rewrite", [expression], seconds)]


def is_recovered(model: Expression, truth: Expression, seconds: float) -> bool | None:
    """SRBench's rule, see `expressions.equivalence.recovered`; None if SymPy has no answer in time."""
    answers = list(_ask("recovered", [model, truth], seconds))
    return bool(answers[-1]) if answers else None


def count_nodes(expression: Expression, seconds: float = 5.0) -> int | None:
    """Nodes of the SymPy tree, as SRBench counts them; None if SymPy has not built the tree in time.

    SymPy decides signs and orders by evaluating numbers to any precision needed, which may take forever.
    """
    answers = list(_ask("count", [expression], seconds))
    return int(answers[-1]) if answers else None


def _plain(expression: Expression) -> Expression:
    """Protected operators as the plain ones, as SRBench reads them; SymPy's Piecewise grows beyond all bounds."""
    tokens = [_PLAIN_TOKEN.get(token, token) for token in expression.tokens.tolist()]
    return Expression(tokens, expression.constants)


_PLAIN_TOKEN = {TOKEN[row.name]: TOKEN[row.protects] for row in OPERATORS if row.protects}


# --- the worker's side ------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests on standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # a stray print must not reach the pipe
    import sympy  # noqa: F401  before the first request, outside its time limit

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    send({"ready": True})
    signal.signal(signal.SIGALRM, _raise_out_of_time)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _count_in_time if request["task"] == "count" else _items_of_a_child
        for item in answer(request):
            send({"item": item})
        send({"done": True})


class _OutOfTime(BaseException):
    """The time of a request is over. Not an Exception, since SymPy catches those."""


def _raise_out_of_time(*_: Any) -> None:
    raise _OutOfTime


def _count_in_time(request: dict[str, Any]) -> list[int]:
    """The nodes of an expression, or nothing if SymPy fails or is out of time."""
    try:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        try:
            return [_count(*(Expression(*pair) for pair in request["expressions"]))]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    except (Exception, _OutOfTime):  # SymPy raises all kinds: no answer is an answer
        return []


def _count(expression: Expression) -> int:
    import sympy

    return sum(1 for _ in sympy.preorder_traversal(_plain(expression).to_sympy()))


def _items_of_a_child(request: dict[str, Any]) -> Iterator[Any]:
    """What a child answers within the time limit."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the child
            signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _MARGIN)
            _answer(request, writing)
        finally:  # whatever happens, a child never goes on as a second worker
            os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + request["seconds"]
    buffer = b""
    try:
        while (left := deadline - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
            data = os.read(reading, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from map(json.loads, lines)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(request: dict[str, Any], writing: int) -> None:
    """Write the items of an answer, as they are found, as lines of JSON."""
    tasks: dict[str, Callable[..., Iterator[Any]]] = {"rewrite": _rewrite, "recovered": _recovered}
    with contextlib.suppress(Exception):  # SymPy raises all kinds: no answer is an answer
        for item in tasks[request["task"]](*(Expression(*pair) for pair in request["expressions"])):
            os.write(writing, json.dumps(item).encode() + b"\n")


def _rewrite(expression: Expression) -> Iterator[tuple[list[int], list[float]]]:
    """Cheap strategies first; each is tried on the tree with its constants as symbols, and then as numbers.

    SymPy's polynomial algorithms are exact: with floats in them they are slow and leave terms like 1.0e-17*x.
    """
    import sympy as sp

    tree = expression.to_sympy()
    floats = sorted(tree.atoms(sp.Float), key=abs)
    stand_ins: dict[Any, Any] = {}
    for number in floats:
        stand_ins.setdefault(abs(number), sp.Symbol(f"c{len(stand_ins)}", positive=True))
    general = tree.xreplace({f: stand_ins[abs(f)] * (-1 if f < 0 else 1) for f in floats})
    back = {symbol: number for number, symbol in stand_ins.items()}

    def collected(e: Any) -> Any:
        return sp.collect(sp.expand(e), sorted(tree.free_symbols, key=str))

    strategies: list[Callable[[Any], Any]] = [
        lambda e: e, sp.together, sp.cancel, sp.factor_terms, sp.factor, sp.expand, collected, sp.powsimp,
        sp.trigsimp, sp.simplify,
    ]  # fmt: skip
    sent = set()
    for strategy in strategies:
        for start in (general,) if general == tree else (general, tree):
            with contextlib.suppress(Exception):
                result = strategy(start).xreplace(back)
                if result not in sent:
                    sent.add(result)
                    rewritten = Expression.from_sympy(result)
                    yield rewritten.tokens.tolist(), rewritten.constants.tolist()


def _recovered(model: Expression, truth: Expression) -> Iterator[bool]:
    import sympy as sp

    true = _plain(truth).to_sympy()
    found = _rounded(sp.simplify(_plain(model).to_sympy(), ratio=1))
    if found == 0 or true == 0:
        yield bool(found == true)
        return
    for combined in (true - found, found / true):
        combined = _rounded(combined)
        if combined.is_constant() or _rounded(sp.simplify(combined, ratio=1)).is_constant():
            yield True
            return
    yield False


def _rounded(tree: Any) -> Any:
    """Constants rounded to 3 decimals; whole ones become integers, so that they can cancel."""
    import sympy as sp

    def rounded(number: Any) -> Any:
        value = round(float(number), 3)
        return sp.Integer(int(value)) if value.is_integer() else sp.Float(value)

    return tree.xreplace({number: rounded(number) for number in tree.atoms(sp.Float)})
