"""A saved model that was damaged, by chance or by design, loads or is refused by name: no hang, no memory, no code."""

import json
import resource
import shutil
import signal
import sys
import time
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError
from isthmus.persistence import describe

KEPT = sorted(path for path in (Path(__file__).parent / "fixtures").glob("format_*/*") if path.is_dir())
JSON = ("spec.json", "learnt.json", "history.json")
FEW, MANY = 60, 1000
SECONDS, MEGABYTES = 5.0, 400
CODE = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
VALUES = [
    *(None, True, -1, 0, 1, 3, 65, 10**5, 2**31, 2**53, 2**63, 10**30, -(2**63), 1e308, -0.5, 1e-320),
    *("", "adam", "mlp", "os.system", "__import__('os').system('true')", "../../etc/passwd", "\x00", "é" * 10**5),
    *([], {}, [[]], [0] * 10**4, [10**9] * 5, {"dict": []}, {"tuple": 3}, {"float": "nan"}, {"array": "x"}),
    *({"part": "Module", "kind": "encoder", "params": {}}, {"part": "MLPEncoder", "kind": "encoder", "params": {}}),
    *({"labels": ["a"], "shape": [10**9, 10**9], "dtype": "U"}, {"labels": ["a"], "shape": [-1], "dtype": "O"}),
    *({"estimator": "Autoencoder", "params": {}, "line": None, "learnt": {}, "prefix": ""}, {"tensor": "encoder"}),
]
DEEP = ["[" * 10**5 + "]" * 10**5, '{"a":' * 5000 + "1" + "}" * 5000, "[" * 10**6, '"' + "\\" * 10**5]


# ---------------------------------------------------------------------- damage


def places(value, path=()):
    """Where every value of a tree of JSON stands."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def flip_bytes(folder, random):
    path = random.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 9)):
        content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def cut_file(folder, random):
    path = random.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))] + random.bytes(random.integers(0, 3)))


def lose_file(folder, random):
    path = random.choice(sorted(folder.iterdir()))
    path.unlink()
    if random.random() < 0.5:
        path.mkdir()


def change_values(folder, random):
    path = folder / random.choice(JSON)
    tree = json.loads(path.read_text())
    for _ in range(random.integers(1, 3)):
        where = places(tree) or [("new",)]
        *way, key = where[random.integers(len(where))]
        place = at(tree, way)
        if random.random() < 0.15:
            place.pop(key, None) if isinstance(place, dict) else place.pop(key)
        else:
            place[key] = VALUES[random.integers(len(VALUES))]
    path.write_text(json.dumps(tree))


def swap_values(folder, random):
    path = folder / random.choice(JSON)
    tree = json.loads(path.read_text())
    where = places(tree)
    (*one, a), (*other, b) = (where[random.integers(len(where))] for _ in range(2))
    first, second = json.dumps(at(tree, [*one, a])), json.dumps(at(tree, [*other, b]))
    at(tree, one)[a] = json.loads(second)
    with suppress(LookupError, TypeError):  # one stood within the other
        at(tree, other)[b] = json.loads(first)
    path.write_text(json.dumps(tree))


def enlarge(folder, random):
    """A number of spec.json, a width or a count, becomes huge."""
    path = folder / "spec.json"
    tree = json.loads(path.read_text())
    where = [way for way in places(tree) if type(at(tree, way)) is int and "format_version" not in way]
    *way, key = where[random.integers(len(where))]
    at(tree, way)[key] = int(10 ** random.integers(3, 19))
    path.write_text(json.dumps(tree))


def enlarge_tensors(folder, random):
    """The header of the tensors names other shapes, types or places."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = random.choice(sorted(header))
    change = random.integers(4)
    if change == 0:
        header[name]["shape"] = [int(10 ** random.integers(1, 12)) for _ in range(random.integers(0, 4))]
    elif change == 1:
        header[name]["dtype"] = str(random.choice(["F64", "I64", "BOOL", "BF16", "U8", "X9"]))
    elif change == 2:
        header[name]["data_offsets"] = [int(one) for one in random.integers(0, 10**9, 2)]
    else:
        header[str(random.choice(sorted(header)))] = header.pop(name)
    changed = json.dumps(header).encode()
    size = len(changed) if random.random() < 0.8 else int(random.integers(2**40))
    path.write_bytes(size.to_bytes(8, "little") + changed + content[8 + length :])


def nest(folder, random):
    path = folder / random.choice(JSON)
    deep = DEEP[random.integers(len(DEEP))]
    text = path.read_text()
    path.write_text(deep if random.random() < 0.5 else f'{{"deep": {deep}, {text.lstrip()[1:]}')


DAMAGES = [flip_bytes, cut_file, lose_file, change_values, change_values, swap_values, enlarge, enlarge_tensors, nest]


def sign(folder):
    """Digests that fit what stands there, as someone would write them who means harm."""
    path = folder / "spec.json"
    try:
        spec = json.loads(path.read_text())
        for name in spec["files"]:
            spec["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
        path.write_text(json.dumps(spec))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass


def damaged(number, target):
    """The folder number so, made from one that is kept; the same each time."""
    random = np.random.default_rng(number)
    shutil.copytree(KEPT[number % len(KEPT)], target)
    damage = DAMAGES[random.integers(len(DAMAGES))]
    damage(target, random)
    if random.random() < 0.85:
        sign(target)
    return damage.__name__


# ---------------------------------------------------------------------- the test


class TooSlowError(BaseException):
    """Not caught by any ``except Exception``."""


@contextmanager
def at_most(seconds):
    def stop(*_):
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Watch:
    """Remembers what looks like code that is run, or a file that is written; hooks stay for good."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, args):
        if self.on and (event in CODE or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"))):
            self.seen.append((event, args))


WATCH = Watch()


def outcome(folder):
    """What became of it: "loads", or the name of the error; what else is raised ends the test."""
    started, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WATCH.on, WATCH.seen = True, []
    try:
        with at_most(SECONDS):
            with suppress(IsthmusError):
                describe(folder)
            isthmus.load(folder)
        result, told = "loads", ""
    except IsthmusError as error:
        result, told = type(error).__name__, str(error)
    finally:
        WATCH.on = False
    assert "\n" not in told
    assert len(told) < 5000
    assert WATCH.seen == []
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 1024 * MEGABYTES
    return result


@pytest.mark.parametrize("n", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_damaged_folders_load_or_are_refused_by_name(n, tmp_path):
    for kept in KEPT:
        isthmus.load(kept)
    results = {}
    for number in range(n):
        folder = tmp_path / str(number)
        damage = damaged(number, folder)
        try:
            result = outcome(folder)
        except BaseException as error:
            error.add_note(f"folder {number} of {KEPT[number % len(KEPT)].name}, {damage}")
            raise
        results[result] = results.get(result, 0) + 1
        shutil.rmtree(folder)
    assert sum(results.values()) == n
    assert results["FileError"] > n / 2
    print(results)
