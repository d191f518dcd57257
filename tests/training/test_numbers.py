"""Numbers of a recorded step that become tensors: the same function as before, of one argument more."""

import pytest
import torch
from torch import fx

from isthmus.training.graph import Recorder
from isthmus.training.numbers import arguments, free, of_tensors, put


def of_two_numbers(function, value):
    """The function recorded at one number, and run at another as a tensor."""
    x = torch.tensor([[-1.5, 0.25, 2.0], [0.5, -0.5, 3.0]])
    with Recorder([x]) as recorder:
        result = function(x, 0.75)
    graph = recorder.graph([result])
    first = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(first):
        number = graph.placeholder("number")
    for node in list(graph.nodes):
        if node.op == "call_function":
            for name in free(node.target):
                if arguments(node)[name] == 0.75:
                    put(node, name, number)
    assert number.users, "no number was found free"
    of_tensors(graph)
    found = fx.GraphModule({}, graph)(x, torch.tensor(value, dtype=torch.float64))[0]
    torch.testing.assert_close(found, function(x, value))
    assert found.dtype == function(x, value).dtype


@pytest.mark.parametrize(
    "function",
    [
        lambda x, value: x + value,
        lambda x, value: x.clone().mul_(value),
        lambda x, value: torch.add(x, x.exp(), alpha=value),
        lambda x, value: torch.sub(x, x.exp(), alpha=value),
        lambda x, value: value - x,
        lambda x, value: (x < value).float(),
        lambda x, value: x.masked_fill((x > 0), value),
        lambda x, value: torch.full_like(x, value) * x,
        lambda x, value: x.new_full((2, 1), value) * x,
        lambda x, value: x.clamp(min=value),
        lambda x, value: x.clamp(value, 1.0),
        lambda x, value: value**x,
    ],
    ids=[
        "add",
        "mul_",
        "alpha",
        "alpha_of_sub",
        "rsub",
        "lt",
        "masked_fill",
        "full_like",
        "new_full",
        "clamp_min",
        "clamp",
        "pow",
    ],
)
def test_an_operation_of_a_number_is_one_of_a_tensor(function):
    of_two_numbers(function, 0.5)


def test_sizes_and_truth_values_are_not_free():
    for operation, names in {
        "sum.dim_IntList": ["self"],
        "narrow.default": ["self"],
        "mm.default": ["self", "mat2"],
    }.items():
        packet, _, overload = operation.partition(".")
        assert free(getattr(getattr(torch.ops.aten, packet), overload)) == names


def test_a_view_that_is_written_through_stays_one():
    def function(x):
        (x * 2).view(-1)
        x.view(6).add_(1)
        return x.view(3, 2) * 2

    x = torch.zeros(2, 3)
    with Recorder([x]) as recorder:
        result = function(x)
    graph = recorder.graph([result])
    of_tensors(graph)
    kinds = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert kinds == ["aten.view.default", "aten.add_.Tensor", "aten.reshape.default", "aten.mul.Tensor"]
