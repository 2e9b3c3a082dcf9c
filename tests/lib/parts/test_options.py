"""The declared types and ranges of options, and their check."""

import functools
from typing import Annotated

import pytest
from builders import input_error
from pydantic import Field

from nes2net.lib.parts.options import check_model, check_options


class Declared:
    def __init__(self, undeclared, *, size: Annotated[int, Field(ge=1, le=8)], pair: tuple[int, int] = (1, 2)) -> None:
        pass


def unresolved(*, size: Annotated[int, Field(ge=1, le=8)] = 1, unknown: "NotImportedHere" = None) -> None:  # noqa: F821
    """A part one of whose annotations cannot be resolved."""


@pytest.mark.parametrize(
    "factory", [Declared, functools.partial(Declared, 1), functools.partial(Declared, pair=(1, 1))]
)
def test_options_of_a_class_or_its_partial_must_fit_their_declared_types_and_ranges(factory):
    check_options(factory, {"size": 8, "pair": [3, 4]}, "part")  # a list stands for a tuple
    with input_error("^part: size must be a whole number from 1 to 8, not 9$"):
        check_options(factory, {"size": 9}, "part")
    with input_error("^part: pair must be "):
        check_options(factory, {"pair": [3, 4, 5]}, "part")


def test_an_option_without_a_declared_type_is_not_checked():
    check_options(Declared, {"undeclared": object()}, "part")


def test_no_option_is_checked_if_a_declared_type_cannot_be_resolved():
    check_options(unresolved, {"size": "large"}, "part")


@pytest.mark.parametrize(
    "model, message",
    [
        ([], "a model must be a mapping of frontend, aggregation, backend, not \\[\\]"),
        ({"back_end": "sls"}, "no part 'back_end'; did you mean 'backend'"),
        ({"backend": None}, "the model's backend has no name.*, not None"),
    ],
)
def test_a_model_that_is_no_mapping_of_front_end_aggregation_and_back_end_with_names_is_refused(model, message):
    with input_error(message):
        check_model(model)
