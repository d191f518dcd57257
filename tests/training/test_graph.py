"""A simplified graph: fewer operations, the same bits, and nothing lost that leaves a mark."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from isthmus.training.graph import simplify


def traced(function, *inputs):
    graph = make_fx(function, tracing_mode="fake")(*inputs)
    n_before = len(graph.graph.nodes)
    return simplify(graph), n_before - len(graph.graph.nodes)


def test_drops_what_nobody_reads_and_aliases():
    def function(x):
        _ = x.exp() - 1  # two operations that nobody reads
        return [x.detach().t().t() * 2]

    x = torch.arange(6.0).view(2, 3)
    run, dropped = traced(function, x)
    assert dropped == 5  # exp, sub, detach, t, t
    torch.testing.assert_close(run(x)[0], 2 * x, rtol=0, atol=0)


def test_keeps_a_draw_that_nobody_reads():
    def function(x):
        torch.randn_like(x)
        return [torch.randn_like(x)]

    x = torch.zeros(5)
    run, dropped = traced(function, x)
    assert dropped == 0
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
    run, _ = traced(function, x, total)
    run(x, total)
    run(x, total)
    assert total.item() == 8.0
