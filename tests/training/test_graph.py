"""A record of operations: run again with the same bits, fewer operations, and nothing lost that leaves a mark."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from isthmus.training.graph import Recorder, replayed

MADE = torch.ones(3)


def recorded(function, *tensors):
    """The function's replay, and the operations that it calls by name."""
    with Recorder(tensors) as recorder:
        outputs = function(*tensors)
    assert recorder.obstacle is None
    run = replayed(recorder.graph(outputs))
    calls = [node.name for node in run.__self__.graph.nodes if node.op == "call_function"]
    return run, calls


def test_drops_what_nobody_reads_and_aliases():
    def function(x):
        _ = x.exp() - 1  # two operations that nobody reads
        return [x.detach().t().t() * 2]

    x = torch.arange(6.0).view(2, 3)
    run, calls = recorded(function, x)
    assert calls == ["mul_tensor"]
    torch.testing.assert_close(run(x + 1)[0], 2 * x + 2, rtol=0, atol=0)


def test_keeps_a_draw_that_nobody_reads():
    def function(x):
        torch.randn_like(x)
        return [torch.randn_like(x)]

    x = torch.zeros(5)
    run, _ = recorded(function, x)
    torch.manual_seed(3)
    torch.randn(5)
    second = torch.randn(5)
    torch.manual_seed(3)
    torch.testing.assert_close(run(x)[0], second, rtol=0, atol=0)


def test_keeps_a_write_in_place():
    def function(x, total):
        total.add_(x.sum())
        return [x + 1]

    x, total = torch.ones(4), torch.zeros(())
    run, _ = recorded(function, x, total)
    run(x, total)
    run(x, total)
    assert total.item() == 12.0  # written while it was recorded, too


def test_records_a_backward_pass_and_parts_of_results():
    def function(x, w):
        low, high = (x[torch.arange(3, -1, -1)] @ w).tanh().sort(0)[0].chunk(2)
        return list(torch.autograd.grad((low * high.square()).sum(), [w]))

    generator = torch.Generator().manual_seed(0)
    x, other = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    w = torch.randn(3, 2, generator=generator).requires_grad_()
    run, _ = recorded(function, x, w)
    with torch.no_grad():
        gradient = run(other, w)[0]
    torch.testing.assert_close(gradient, function(other, w)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: [x * float(x.sum())], "looks at a tensor's values"),
        (lambda x: [x[x > 0].sum()], "looks at a tensor's values"),
        (lambda x: [x + MADE], r"\(3,\) is neither parameter, buffer nor made in the step"),
    ],
)
def test_says_what_it_cannot_record(function, said):
    with Recorder([x := torch.arange(3.0)]) as recorder:
        function(x)
    assert re.search(said, recorder.obstacle or "")


def test_recording_does_not_import_the_compiler():
    code = "import sys, torch\nfrom isthmus.training.graph import Recorder, replayed\n"
    code += "with Recorder([x := torch.ones(2)]) as r: y = x + 1\n"
    code += "replayed(r.graph([y]))(x); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
