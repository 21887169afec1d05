"""The grammar of compositions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter_stilts.engine.composition import (
    Call,
    Expression,
    build_stack,
    canonical,
    module_names,
    parse,
    rename_modules,
    top,
)
from adapter_stilts.errors import UserError


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("squad", "squad"),
        ("  stack( squad ,tydiqa )", "stack(squad, tydiqa)"),
        ("stack(stack(sw, squad), tydiqa)", "stack(sw, squad, tydiqa)"),
        ('stack("my zoo/squad (2)", tydiqa)', 'stack("my zoo/squad (2)", tydiqa)'),
        ("someone/xlmr-large-squad@v1.0", "someone/xlmr-large-squad@v1.0"),
        ("./zoo/embedded/squad", "./zoo/embedded/squad"),
        ("average( squad, mnli )", "average(mnli, squad)"),
        ("linear(0.3*squad, .7 * mnli)", "linear(0.7*mnli, 0.3*squad)"),
        ("linear(2*squad, 2*mnli)", "linear(mnli, squad)"),
        ("task-arithmetic(1*a, 1.0*b)", "task-arithmetic(a, b)"),
        ("task-arithmetic(2*a, 2*b)", "task-arithmetic(2*a, 2*b)"),
        ('linear(1e-3*"my squad", -2*"a*b")', 'linear(-2*"a*b", 0.001*"my squad")'),
        ("ties(density=0.50, squad, mnli, rank=4)", "ties(mnli, squad, rank=4)"),
        ("dare-ties(b, a, seed=3, density=.2)", "dare-ties(a, b, density=0.2, seed=3)"),
        ("stack(ties(b, average(d, c)), t)", "stack(ties(average(c, d), b), t)"),
        ("lr=1e-3", '"lr=1e-3"'),
        ("stack", "stack"),  # a module may have an operator's name
    ],
)
def test_canonical_form(text: str, written: str) -> None:
    assert canonical(parse(text)) == written
    assert parse(written) == parse(text)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", 1, "a module's name or an operator was expected"),
        ("stack(squad tydiqa)", 13, "a comma or a closing bracket"),
        ("stack(squad, tydiqa", 20, "a comma or a closing bracket"),
        ("stack(squad,, tydiqa)", 13, "expected, not ','"),
        ("stack(squad, tydiqa))", 21, "nothing more"),
        ("stak(squad, tydiqa)", 1, "did you mean 'stack'?"),
        ("blend(squad, tydiqa)", 1, "no operator 'blend'"),
        ("stack(squad)", 1, "at least 2 modules, not 1"),
        ('stack("squad, tydiqa)', 7, "a quote is left open"),
        ("squad tydiqa", 7, "nothing more"),
        ("0.3*squad", 4, "weights stand in merges"),
        ("squad-s*", 1, "all seeds of squad"),
        ("stack(mnli, squad-s*)", 13, "squad or squad-s1"),
        ("stack(0.3*squad, mnli)", 10, "weights stand in merges"),
        ("stack(a, average(0.3*b, 0.7*c))", 10, "linear is the weighted mean"),
        ("linear(x*a, b)", 8, "a number was expected before '*', not 'x'"),
        ("linear(1*a, b)", 1, "every module a weight, or none"),
        ("linear(1*, b)", 10, "expected, not ','"),
        ("linear(1*a, -1*b)", 1, "add up to 0"),
        ("task-arithmetic(0*a, 0*b)", 1, "all weights are 0"),
        ("slerp(a, b, c)", 1, "slerp merges 2 modules, not 3"),
        ("slerp(2*a, -1*b)", 1, "not below 0"),
        ("ties(a, density=0.3)", 1, "at least 2 modules, not 1"),
        ("ties(a, b, density=2)", 1, "above 0 and up to 1, not at 2"),
        ("ties(a, b, density=x)", 1, "density is a number, not 'x'"),
        ("ties(a, b, densty=0.2)", 1, "did you mean 'density'?"),
        ("average(a, b, density=0.2)", 1, "average keeps all values: density goes with"),
        ("ties(a, b, seed=1)", 1, "seed goes with dare-ties"),
        ("average(a, b, lora=facts)", 1, "did you mean 'factors'?"),
        ("average(a, b, lora=factors, rank=3)", 1, "factors keep the rank"),
        ("average(stack(a, b), c)", 1, "not stack(a, b)"),
        ("stack(c, fuse(a, average(b, c)))", 10, "not average(b, c): write it with"),
        ("averge(a, b)", 1, "did you mean 'average'?"),
    ],
)
def test_syntax_errors_name_the_place(text: str, place: int, what: str) -> None:
    with pytest.raises(UserError, match=re.escape(what)) as raised:
        parse(text)
    assert f"character {place}:" in str(raised.value)
    shown, caret = raised.value.detail.splitlines()
    assert shown[2:] == text
    assert caret.index("^") - 2 == place - 1


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\n\r'), min_size=1).filter(
    lambda name: name == name.strip() and name.strip()
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    NAMES, lambda parts: st.lists(parts, min_size=2, max_size=4).map(lambda p: build_stack(*p))
)


@given(EXPRESSIONS)
def test_what_is_written_reads_as_the_same(expression: Expression) -> None:
    assert parse(canonical(expression)) == expression


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except UserError as error:
        assert error.detail


def test_names_of_an_expression() -> None:
    expression = parse("stack(a, b, c)")
    assert module_names(expression) == ("a", "b", "c")
    assert top(expression) == "c"
    assert rename_modules(expression, str.upper) == Call("stack", ("A", "B", "C"))
